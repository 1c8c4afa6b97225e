"""The twenty domains of daily life that dialogues are about, their situations, and the styles of speakers.

``domains.tsv`` holds a situation a line: domain, the themes of the written exchanges that belong to it, situation.
Knows nothing of plans.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("domains.tsv")
STYLES = (
    "blunt and brief",
    "rambling, with false starts",
    "dry and ironic",
    "polite and guarded",
    "young and slangy",
    "old-fashioned",
    "warm and chatty",
    "precise and matter-of-fact",
)
CUES = {  # non-verbal cue → how it is written, for a voice that reads what it is given
    "sigh": "Hah…",
    "laugh": "Haha,",
    "gasp": "Oh!",
    "groan": "Ugh,",
    "hesitation": "Um,",
}
CUES_OF = {  # emotion → cues that people give with it
    "neutral": ("hesitation",),
    "happy": ("laugh",),
    "sad": ("sigh",),
    "angry": ("groan",),
    "fearful": ("gasp", "hesitation"),
    "disgusted": ("groan",),
    "surprised": ("gasp",),
    "calm": ("sigh",),
}


@dataclass(frozen=True)
class Domain:
    """``themes``: files of the written exchanges. ``situations``: what may have happened."""

    name: str
    themes: tuple[str, ...]
    situations: tuple[str, ...]


@functools.cache
def domains() -> dict[str, Domain]:
    """All domains by name, in the order of the table."""
    themes: dict[str, dict[str, None]] = {}  # ordered sets
    situations: dict[str, list[str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        name, named, situation = line.split("\t")
        themes.setdefault(name, {}).update(dict.fromkeys(named.split(",")))
        situations.setdefault(name, []).append(situation)
    return {name: Domain(name, tuple(themes[name]), tuple(found)) for name, found in situations.items()}


def domain_of(theme: str) -> str:
    """The domain that a theme of the written exchanges belongs to; ``everyday`` for one that no domain lists."""
    return next((one.name for one in domains().values() if theme in one.themes), "everyday")
