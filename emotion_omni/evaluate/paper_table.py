"""The paper's table (UTMOS, word errors, emotional score, opinion of people) with the row of an engine.

What cannot be had here is named, and nothing stands in its place under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Report = Mapping[str, Any]

HEAD = [
    "",
    "UTMOS",
    "DistillMOS",
    "DNSMOS",
    "word errors of the reply",
    "emotional score (1 to 5)",
    "opinion of people (1 to 5)",
]
PUBLISHED = (
    ["Emotion Omni, as published", "4.41", "–", "–", "4.61 %", "3.97", "4.23"],
    ["without fusion, as published", "–", "–", "–", "6.42 %", "3.15", "3.85"],
    ["OpenS2S, as published", "–", "–", "–", "–", "3.37", "4.11"],
    ["GLM-4-Voice, as published", "3.88", "–", "–", "–", "2.43", "–"],
)


def rows(report: Report) -> tuple[list[str], list[list[str]]]:
    found = [_row(report["engine"], _values(report))]
    if "parent" in report:
        found.append(_row(report["parent"], _values(report, "parent")))
    return HEAD, [*found, *map(list, PUBLISHED)]


def notes(report: Report) -> list[str]:
    """What is missing in the row, with the reason."""
    measures = {row["name"]: row for row in report["measures"]}
    found = [
        "UTMOS: its weights cannot be had from any package; DistillMOS and DNSMOS are other predictors, not comparable."
    ]
    for name, what in (("voice", "DistillMOS, word errors"), ("judge", "Emotional score")):
        if "why_not" in (row := measures.get(name, {"why_not": "not asked for"})):
            found.append(f"{what}: {row['why_not']}.")
        elif name == "judge":
            found.append("The published score is GPT-4o's; another judge's is not comparable without calibration.")
    found.append("Opinion of people: from a study of the studio (template empathy); no machine can give it.")
    return found


def _values(report: Report, side: str = "") -> dict[tuple[str, str], float]:
    found = {}
    for row in report["measures"]:
        for one in row.get("figures", ()):
            value = one.get(side) if side else one
            if value:
                found[row["name"], one["name"]] = value["value"]
    return found


def _row(name: str, values: Mapping[tuple[str, str], float]) -> list[str]:
    keys = (("voice", "mos"), ("voice", "dnsmos"), ("voice", "wer"), ("judge", "empathy"))
    mos, dnsmos, wer, score = (values.get(key) for key in keys)
    return [
        name,
        "–",
        "–" if mos is None else f"{mos:.2f}",
        "–" if dnsmos is None else f"{dnsmos:.2f}",
        "–" if wer is None else f"{100 * wer:.1f} %",
        "–" if score is None else f"{score:.2f}",
        "–",
    ]
