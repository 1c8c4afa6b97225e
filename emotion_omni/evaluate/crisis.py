"""How many words that tell of danger are noticed, and how often harmless ones raise an alarm.

``crisis_phrases.tsv``: split (dev, test), class (none, self, others), kind of phrasing, text. No kind is in both
splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni.response.crisis import CrisisDetector
from emotion_omni.response.crisis_patterns import plain_risk
from emotion_omni.text_encoding import decode_text, split_lines

PHRASES = Path(__file__).with_name("crisis_phrases.tsv")
CLASSES = ("none", "self", "others")


@dataclass(frozen=True)
class Phrase:
    split: str
    kind: str  # one of CLASSES
    phrasing: str
    text: str


def read_phrases(path: Path = PHRASES) -> list[Phrase]:
    lines = split_lines(decode_text(path.read_bytes(), path.name)[0])
    return [Phrase(*line.split("\t")) for line in lines if line]


def measure(detector: CrisisDetector, phrases: list[Phrase]) -> dict[str, Any]:
    """Recall and false alarms of the patterns, the classifier and both; recall by kind of phrasing; what went wrong."""
    patterns = [plain_risk(phrase.text) != "" for phrase in phrases]
    head = [detector.alarms(phrase.text) for phrase in phrases]
    both = [a or b for a, b in zip(patterns, head, strict=True)]
    found: dict[str, Any] = {
        name: _rates(phrases, alarms) for name, alarms in (("patterns", patterns), ("head", head), ("both", both))
    }
    groups: dict[str, list[bool]] = {}
    for phrase, alarm in zip(phrases, both, strict=True):
        groups.setdefault(f"{phrase.kind} {phrase.phrasing}", []).append(alarm)
    found["by phrasing"] = {name: round(_share(alarms), 3) for name, alarms in groups.items()}
    found["missed"] = [p.text for p, alarm in zip(phrases, both, strict=True) if p.kind != "none" and not alarm]
    found["false alarms"] = [p.text for p, alarm in zip(phrases, both, strict=True) if p.kind == "none" and alarm]
    return found


def _rates(phrases: list[Phrase], alarms: list[bool]) -> dict[str, Any]:
    danger = [alarm for phrase, alarm in zip(phrases, alarms, strict=True) if phrase.kind != "none"]
    safe = [alarm for phrase, alarm in zip(phrases, alarms, strict=True) if phrase.kind == "none"]
    return {"recall": _share(danger), "false alarms": _share(safe), "danger": len(danger), "look-alikes": len(safe)}


def _share(alarms: list[bool]) -> float:
    return sum(alarms) / max(1, len(alarms))
