"""The full circle, scripted: a study is rated, bad raters are found, a child is trained, raters judge it blind.

``python -m annotation circle`` on a home folder of its own. The raters are simulated and say so; everything else is
what people use: sessions with checks and proof of hearing, quality control, export, training, blind re-rating.
Their queries' sounds are tones, for nobody hears them: the answers are read. What the raters like is stated in
:mod:`annotation.bench.circle.rubric`, and told to no model.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotation.analysis.blind_verdict import blind_verdict
from annotation.bench.circle import people, pool, rubric, simulation
from annotation.bench.circle.people import Person
from annotation.bench.circle.pool import Candidates, Pool
from annotation.export.writing import export_study
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.items import Item, make_item
from annotation.study.rules import Study
from emotion_omni import processors
from emotion_omni.types import Audio

Tell = Callable[[str], None]
PARENT, CHILD = "parent", "child"


@dataclass(frozen=True)
class Size:
    """``honest``: raters who rate and train; one lazy and one hostile come beside them. ``judges``: others, who judge.
    ``controls``, ``curve_runs``: simulated runs."""

    items: int = 200
    ratings_per_item: int = 5
    honest: int = 8
    locked: int = 60
    judges: int = 8
    steepness: float = 1.5
    controls: int = 100
    curve: tuple[int, ...] = (10, 25, 50, 100, 200)
    curve_runs: int = 20


def run(size: Size, seed: int = 0, tell: Tell = lambda text: None, home: Path | None = None) -> dict[str, Any]:
    """The whole of it → the report."""
    from emotion_omni.response.reranker import Reranker

    began = time.monotonic()
    tell("reading the candidates")
    reranker = Reranker.load()
    candidates = pool.gather(reranker, size.items, size.locked, seed)
    with tempfile.TemporaryDirectory() as folder:
        studio = people.simulated(Studio.open(home or Path(folder) / "home"))
        try:
            report = _circle(studio, Path(folder), candidates, size, seed, tell)
        finally:
            studio.close()
    tell("the control and the curve")
    report["control_random_ratings"] = simulation.control(candidates, size.controls, seed + 1000)
    report["curve"] = simulation.curve(
        candidates, [n for n in size.curve if n <= size.items], size.curve_runs, seed + 2000
    )
    about = {
        "raters": "simulated",
        "stated_preference": rubric.STATEMENT,
        "size": asdict(size),
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "machine": processors.describe(),
    }
    return about | report


def _circle(studio: Studio, folder: Path, candidates: Pool, size: Size, seed: int, tell: Tell) -> dict[str, Any]:
    rng = random.Random(seed)
    tell("making and rating the study")
    study = _study_to_learn_from(studio, candidates.training, size, rng)
    raters = crowd(size.honest, size.steepness, seed, "rater")
    ids = list(zip(people.rate(studio, study, raters), raters, strict=True))
    quality = _quality(studio, study, ids)
    manifest = export_study(studio, study, folder / "export")
    tell("training the child")
    report, correction, agreed = _train(folder, candidates, seed)
    tell("blind re-rating")
    judged = _rerate(studio, candidates.locked, correction, size, seed)
    return {
        "study": {
            "items": len(candidates.training),
            "rows": {name: count for name, count in manifest.rows.items() if name.startswith(("dpo", "kto"))},
            "quality_control": quality,
        },
        "reward": report,
        "held_out": agreed,
        "blind_rerating": judged,
    }


# --- raters -----------------------------------------------------------------------------------------------------


def crowd(honest: int, steepness: float, seed: int, name: str) -> list[Person]:
    """Honest raters with one lazy and one hostile among them."""
    kinds = ["honest"] * honest
    kinds[honest // 3 : honest // 3] = ["lazy"]
    kinds[honest // 2 : honest // 2] = ["hostile"]
    return [
        Person(f"Simulated {kind} {name} {n}", kind, rubric.points, steepness, random.Random(f"{seed} {name} {n}"))
        for n, kind in enumerate(kinds)
    ]


def _quality(studio: Studio, study: str, raters: Sequence[tuple[str, Person]]) -> dict[str, Any]:
    """Whom quality control finds, of the good and of the bad."""
    verdicts = studio.results(study).verdicts
    found: dict[str, Any] = {}
    for rater, person in raters:
        one = found.setdefault(person.kind, {"raters": 0, "flagged": 0, "reasons": []})
        one["raters"] += 1
        if rater in verdicts and verdicts[rater].outcome == "flagged":
            one["flagged"] += 1
            one["reasons"] = sorted({*one["reasons"], *verdicts[rater].reasons})
    return found


# --- studies ----------------------------------------------------------------------------------------------------


def _study_to_learn_from(studio: Studio, chosen: Sequence[Candidates], size: Size, rng: random.Random) -> str:
    items = []
    for number, one in enumerate(chosen):
        a, b = pool.pair_of(one, rng)
        items.append(_item(studio, one, one.replies[a], one.replies[b], ("candidates", "candidates"), f"t{number}"))
    rules = {"split": "training", "ratings_per_item": size.ratings_per_item, "title": "Simulated: which answer"}
    return lifecycle.create(studio.store, studio.clips, _rules(**rules), items)


def _rules(**more: Any) -> Study:
    usual = {"template": "compare", "modes": ["words"], "block_size": 20, "break_seconds": 0, "least_per_rater": 1}
    return Study.read(usual | more)


def _item(studio: Studio, one: Candidates, a: str, b: str, systems: tuple[str, str], family: str) -> Item:
    """A comparison to be read. The answers have no sound."""
    tone = " or ".join(one.tones)
    about = {"event": one.news, "tone": tone}
    item = make_item(
        {"query": tone_of(one.text)},
        studio.clips,
        {"query": one.text, "a": a, "b": b},
        family=family,
        systems={"a": systems[0], "b": systems[1]},
        about={"a": about, "b": about},
    )
    return item | {"content": item["content"] | {"mode": "words"}}


def tone_of(text: str) -> Audio:
    """A short tone in place of a voice, another for each text."""
    number = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    times = np.arange(4000) / 8000
    pitches = [150 + (number >> shift) % 256 * 4 for shift in (0, 8, 16)]
    samples = sum(np.sin(2 * np.pi * pitch * times) for pitch in pitches) / 6
    return Audio(np.asarray(samples, dtype=np.float32), 8000)


# --- training and judging ---------------------------------------------------------------------------------------


def _train(folder: Path, candidates: Pool, seed: int) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """→ the run's report, what the child adds to scores, and how both fare on locked items by the rubric."""
    from emotion_omni.response.reranker import ReplyScorer, Reranker
    from emotion_omni.train.feedback import run as feedback
    from emotion_omni.train.feedback.settings import FeedbackSettings

    request = feedback.Request(str(folder / "export"), "embedded", "reward")
    report = feedback.train(request, folder / "child", FeedbackSettings(seed=seed))
    before, child = Reranker.load(), Reranker.load(folder / "child" / "reranker.safetensors")
    correction = _difference(before.scorer, child.scorer)
    chosen = [(one.points[one.best()], one.points[one.best(correction)]) for one in candidates.locked]
    won = [0.5 + 0.5 * float(np.sign(new - old)) for old, new in chosen]
    held_out = {
        "locked_items": len(chosen),
        "mean_points_parent": round(float(np.mean([old for old, _ in chosen])), 3),
        "mean_points_child": round(float(np.mean([new for _, new in chosen])), 3),
        "win_rate_by_rubric": round(float(np.mean(won)), 3),
        "other_answers": round(float(np.mean([one.best() != one.best(correction) for one in candidates.locked])), 3),
    }
    assert isinstance(child.scorer, ReplyScorer)
    kept = ("learned", "steps", "best_step", "validation", "cross_validation", "rows", "seconds", "total_seconds")
    return {name: report[name] for name in kept if name in report}, correction, held_out


def _difference(before: Any, child: Any) -> Callable[[dict[str, Any]], Any]:
    """The child's score less its parent's, of the features that a pool keeps."""
    from emotion_omni.emotion import NAMES

    hidden = (child.output.weight - before.output.weight)[0]
    counts = (child.counts.weight - before.counts.weight)[0]
    reply = (child.direction.weight - before.direction.weight)[:, : len(NAMES)].mean(1)

    def added(features: dict[str, Any]) -> Any:
        return features["hidden"] @ hidden + features["counts"] @ counts + features["reply"] @ reply

    return added


def _rerate(studio: Studio, locked: Sequence[Candidates], correction: Any, size: Size, seed: int) -> dict[str, Any]:
    """Other raters compare parent and child, blind, on locked items; their bad ones are found as well."""
    items, same = [], 0
    for number, one in enumerate(locked):
        old, new = one.best(), one.best(correction)
        if old == new:
            same += 1
            continue
        items.append(_item(studio, one, one.replies[old], one.replies[new], (PARENT, CHILD), f"l{number}"))
    if not items:
        return {"verdict": "not shown", "reason": "parent and child answer alike", "same_answer": same}
    rules = {"split": "evaluation", "ratings_per_item": size.judges, "title": "Simulated: parent or child"}
    study = lifecycle.create(studio.store, studio.clips, _rules(**rules), items)
    judges = crowd(size.judges, size.steepness, seed + 1, "judge")
    ids = list(zip(people.rate(studio, study, judges), judges, strict=True))
    results = studio.results(study)
    found = blind_verdict(results.votes(), CHILD)
    return {
        "verdict": found.verdict,
        "in_words": found.in_words(),
        "win_rate": found.win_rate.mean,
        "interval_95": [found.win_rate.low, found.win_rate.high],
        "ratings": found.win_rate.n,
        "raters": found.win_rate.raters,
        "items": found.win_rate.items,
        "same_answer": same,
        "still_needed": found.still_needed,
        "quality_control": _quality(studio, study, ids),
    }
