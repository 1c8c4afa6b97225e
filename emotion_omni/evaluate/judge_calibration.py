"""How far a judge agrees with people, by ratings that the studio exported: ``ratings.jsonl`` and ``items.jsonl``.

Agreement is measured as raters are measured among themselves: each against the mean of the others on the items they
share. A judge that agrees less than they do is marked. Beside it: does it prefer length, the first place, and does it
leave people more where they heard the voice than where they read the words?
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from emotion_omni import json_lines
from emotion_omni.evaluate.judge import RUBRICS, Case, Judge, Rubric, share_of_scale
from emotion_omni.evaluate.measure import Say
from emotion_omni.types import EmotionOmniError

SCALE, RUBRIC, LEVELS = "empathy", "empathy", (1, 5)  # of the studio's template, and what the judge is asked
FEWEST = 5  # items that two must share
PAIR = Rubric(
    "pair",
    "Two replies to the same words. Which would the speaker rather hear, by how well it meets the emotion and the "
    "content? "
    "Length is no merit. One sentence of reasons, then [[1]] for the first or [[2]] for the second.",
    (1, 2),
)


@dataclass(frozen=True)
class Rated:
    """``ratings``: by rater, from 0 to 1. ``mode``: ``words``, ``voice`` or ``both``."""

    item: str
    mode: str
    case: Case
    ratings: Mapping[str, float]

    @property
    def mean(self) -> float:
        return mean(self.ratings.values())


def read(folder: Path) -> tuple[list[Rated], list[tuple[Case, Case]]]:
    """Rated replies, and pairs of comparisons. Raises :class:`EmotionOmniError` (codes ``missing``, ``no-data``)."""
    items = {row["item"]: row for row in _rows(folder, "items.jsonl")}
    given: dict[str, dict[str, float]] = defaultdict(dict)
    for row in _rows(folder, "ratings.jsonl"):
        if row["scale"] == SCALE and row.get("value_number") is not None:
            low, high = LEVELS
            given[row["item"]][row["rater"]] = (float(row["value_number"]) - low) / (high - low)
    rated = [
        Rated(name, items[name].get("mode") or "both", case_of(items[name], "reply"), ratings)
        for name, ratings in given.items()
        if name in items and items[name].get("reply_text")
    ]
    pairs = [
        (case_of(row, "a"), case_of(row, "b")) for row in items.values() if row.get("a_text") and row.get("b_text")
    ]
    if not rated and not pairs:
        raise EmotionOmniError(
            f"{str(folder)!r} holds no rated replies with their words. Export a study of the template empathy or "
            f"compare "
            "whose items have texts.",
            "no-data",
        )
    return rated, pairs


def _rows(folder: Path, name: str) -> Iterable[dict[str, Any]]:
    if not (folder / name).is_file():
        raise EmotionOmniError(
            f"{str(folder)!r} has no {name}. Name a folder that python -m annotation export has written.", "missing"
        )
    return [row for _, row in json_lines.read_file(folder / name)]


def case_of(row: Mapping[str, Any], role: str) -> Case:
    about = json.loads(row.get("about") or "{}")
    return Case(row.get("query_text") or "", tone_of(about) or "unknown", row.get(f"{role}_text") or "")


def tone_of(about: Any) -> str:
    """The likeliest emotion of the first ``heard`` in what an item keeps of its engine."""
    if isinstance(about, dict):
        heard = about.get("heard")
        if isinstance(heard, dict) and heard:
            return max(heard, key=heard.__getitem__)
        return next(filter(None, map(tone_of, about.values())), "")
    return ""


def calibrate(judge: Judge, folder: Path, say: Say) -> dict[str, Any]:
    """The report. Raises :class:`EmotionOmniError`."""
    rated, pairs = read(folder)
    found: dict[str, Any] = {}
    if rated:
        scores = {}
        for number, one in enumerate(rated, 1):
            value = judge.rate(RUBRICS[RUBRIC], one.case)
            if value is not None:
                scores[one.item] = share_of_scale(value, RUBRICS[RUBRIC])
            if number % 10 == 0:
                say(f"  {number} of {len(rated)} rated replies judged")
        found |= agreement(rated, scores)
    if pairs:
        found["position"] = position(judge, pairs)
    return found


def agreement(rated: Sequence[Rated], scores: Mapping[str, float]) -> dict[str, Any]:
    """``scores``: the judge's, from 0 to 1."""
    known = [one for one in rated if one.item in scores]
    people = among_raters(known)
    own = against_raters(known, scores)
    off = [scores[one.item] - one.mean for one in known]
    modes = {
        mode: [o for o, one in zip(off, known, strict=True) if one.mode == mode] for mode in ("words", "voice", "both")
    }
    heard, read_only = modes["voice"] + modes["both"], modes["words"]
    return {
        "items": len(known),
        "without_a_number": len(rated) - len(known),
        "judge_with_raters": _rounded(own),
        "raters_among_themselves": _rounded(people),
        "agrees_less_than_raters": None if math.isnan(own) or math.isnan(people) else own < people,
        "mean_offset": _rounded(mean(off)) if off else None,
        "length_bias": _rounded(correlation([float(len(one.case.reply.split())) for one in known], off)),
        "audio_offset_minus_text_offset": _rounded(mean(heard) - mean(read_only)) if heard and read_only else None,
    }


def among_raters(rated: Sequence[Rated]) -> float:
    """Mean over raters of the correlation with the mean of the others."""
    raters = sorted({name for one in rated for name in one.ratings})
    return _mean([_correlation_of(rated, {o.item: o.ratings[n] for o in rated if n in o.ratings}, n) for n in raters])


def against_raters(rated: Sequence[Rated], scores: Mapping[str, float]) -> float:
    """The judge in the place of each rater in turn, so that both are compared with means of as many people."""
    raters = sorted({name for one in rated for name in one.ratings})
    found = []
    for name in raters:
        own = {one.item: scores[one.item] for one in rated if name in one.ratings}
        found.append(_correlation_of(rated, own, name))
    return _mean(found)


def _correlation_of(rated: Sequence[Rated], own: Mapping[str, float], left_out: str) -> float:
    pairs = []
    for one in rated:
        others = [value for name, value in one.ratings.items() if name != left_out]
        if one.item in own and others:
            pairs.append((own[one.item], mean(others)))
    return correlation(*map(list, zip(*pairs, strict=True))) if len(pairs) >= FEWEST else math.nan


def position(judge: Judge, pairs: Sequence[tuple[Case, Case]]) -> dict[str, Any]:
    """Both orders of each pair: how often the first place wins, and how often the verdict follows the place."""
    first, flipped, count = 0, 0, 0
    for one, other in pairs:
        values = [judge.rate(PAIR, _both(*order)) for order in ((one, other), (other, one))]
        if None not in values:
            count += 1
            first += sum(value == 1 for value in values)
            flipped += values[0] == values[1]
    if not count:
        return {"pairs": 0}
    return {
        "pairs": count,
        "first_place_wins": _rounded(first / (2 * count)),
        "follows_the_place": _rounded(flipped / count),
    }


def _both(one: Case, other: Case) -> Case:
    return Case(one.words, one.tone, f"\nFirst: {one.reply}\nSecond: {other.reply}")


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    if len(one) < 2 or np.std(one) == 0 or np.std(other) == 0:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return mean(known) if known else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
