"""How long the Results tab takes for a large study, how much memory, and how long it keeps raters waiting.

``python -m annotation bench-results`` fills a store with simulated ratings, in a scratch folder, and then draws the
tab as the page does, while other threads of this process do what the threads do that serve raters.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from annotation.bench.load import resident_megabytes
from annotation.store.benchmark import insert_rows
from annotation.store.store import Store
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.rules import Study
from annotation.study.scales import Scale
from annotation.ui.drawings import Drawings
from emotion_omni import emotion, processors

STUDY, SMALL = "large", "small"
CHUNK = 5_000
TICK = 0.001  # seconds that the other thread sleeps at a time
BEFORE = {"seconds": 8.8, "memory_mb": 632}  # of the same size, in the release before figures were grouped


def run(count: int = 20_000, raters: int = 300, per_item: int = 5, template: str = "emotion-recognition") -> dict:
    """→ figures of the start of the process that draws, with a small study; of the first drawing, the second, and one
    after an event.
    """
    with tempfile.TemporaryDirectory() as scratch:
        studio = Studio.open(Path(scratch))
        fill(studio, count, raters, per_item, template)
        fill(studio, 200, 10, 5, "emotion-recognition", SMALL)
        drawings = Drawings(studio)
        report = {"ratings": count, "raters": raters, "items": count // per_item, "template": template}
        report["start"] = _measured(drawings, lambda: drawings.process.draw(SMALL, True))
        report |= {"first": _drawn(drawings), "again": _drawn(drawings)}
        _decide(studio.store)
        report |= {"after_an_event": _drawn(drawings), "before": BEFORE}
        drawings.process.close()
        studio.close()
        return report | {"machine": processors.describe()}


def _drawn(drawings: Drawings) -> dict[str, Any]:
    figures = _measured(drawings, lambda: drawings.get(STUDY, True))
    shown = drawings.get(STUDY, True).pictures
    return figures | {"sha256": hashlib.sha256(shown.encode()).hexdigest()[:16]}


def _measured(drawings: Drawings, work: Callable[[], object]) -> dict[str, Any]:
    """Seconds, and processor time and memory of the process that serves raters and of the one that draws; how late
    another thread of the former was meanwhile, and how long a commit to its database and a reading of it took.
    """
    before, done = resident_megabytes(os.getpid()) or 0.0, threading.Event()
    late, stored = [0.0], [0.0]
    others = [threading.Thread(target=_tick, args=(late, done))]
    others += [threading.Thread(target=_store, args=(drawings.studio.store, stored, done))]
    child = drawings.process.start()
    cpu_before = _cpu_seconds(child)
    for other in others:
        other.start()
    started, started_cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    done.set()
    for other in others:
        other.join()
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds_drawing": round(_cpu_seconds(child) - cpu_before, 2),
        "cpu_seconds_serving": round(cpu, 3),  # with the threads that measure
        "memory_mb_added_serving": round((resident_megabytes(os.getpid()) or 0.0) - before, 1),
        "memory_mb_most_drawing": _most_megabytes(child),
        "other_thread_late_p99_ms": round(1000 * float(np.percentile(late, 99)), 1),
        "other_thread_late_most_ms": round(1000 * max(late), 1),
        "commit_and_read_p95_ms": round(1000 * float(np.percentile(stored, 95)), 1),
    }


def _tick(late: list[float], done: threading.Event) -> None:
    last = time.perf_counter()
    while not done.is_set():
        time.sleep(TICK)
        now = time.perf_counter()
        late.append(now - last - TICK)
        last = now


def _store(store: Store, seconds: list[float], done: threading.Event) -> None:
    """As a rater's request does: one transaction that is on disk when it ends, and one reading."""
    while not done.is_set():
        began = time.perf_counter()
        store.write(lambda transaction: transaction.open_assignment(STUDY, "r0001"))
        with store.read() as view:
            view.enrolment(STUDY, "r0001")
        seconds.append(time.perf_counter() - began)
        time.sleep(10 * TICK)


def _cpu_seconds(process: int) -> float:
    """Processor time of another process; Linux only, else 0."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _most_megabytes(process: int) -> float | None:
    """The most memory that a process has had resident; Linux only."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    return next(
        (round(int(line.split()[1]) / 1024, 1) for line in status.splitlines() if line.startswith("VmHWM")), None
    )


# --- the simulated study ----------------------------------------------------------------------------------------


def fill(studio: Studio, count: int, raters: int, per_item: int, template: str, study: str = STUDY) -> None:
    """Ratings by a model: items have a value, raters a severity; some raters answer at random."""
    rules = Study.read({"title": "Large", "template": template, "ratings_per_item": per_item})
    generator = np.random.default_rng(0)
    lifecycle.create(studio.store, studio.clips, rules, [], study=study)
    item_value, severity = generator.normal(size=count), generator.normal(size=raters) * 0.5
    asked = [scale for scale in rules.form.asked(True) if scale.required and scale.kind in ("choice", "points")]
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        ids = range(first // per_item, -(-numbers.stop // per_item))
        given = [_given(study, number, per_item, raters, generator) for number in numbers]
        answers = [
            _answers(asked, item_value[n // per_item] + severity[n % raters], generator, n % raters % 20 == 0)
            for n in numbers
        ]
        insert_rows(
            studio.store,
            [_item(study, number, per_item, template) for number in ids],
            [assignment for assignment, _ in given],
            [rating | {"answers": one} for (_, rating), one in zip(given, answers, strict=True)],
        )


def _item(study: str, number: int, per_item: int, template: str) -> dict[str, Any]:
    systems = {"speech": f"system {number % 3}"}
    if template == "compare":
        systems = {"a": f"system {number % 3}", "b": f"system {(number + 1) % 3}"}
    guess = {"label": emotion.NAMES[number % len(emotion.NAMES)], "probability": 0.6}
    content = {"clips": {}, "texts": {"speech": f"Sentence {number}."}, "systems": systems, "guess": guess}
    counters = {"claimed": per_item, "done": per_item, "flipped": 0, "disagreement": 0.0, "shuffle": 0.5}
    return {
        "id": _id(study, "i", number),
        "family": f"i{number:06d}",
        "study": study,
        "role": "rate",
        "content": content,
    } | counters


def _given(study: str, number: int, per_item: int, raters: int, generator: np.random.Generator) -> tuple[dict, dict]:
    """→ an assignment and its rating, without the answers."""
    at, seconds = 1.7e9 + 3.0 * number, float(generator.gamma(4.0, 1.0))
    kind = "trap" if number % 23 == 0 else "rate"
    item = _id(study, "i", number // per_item)
    shared = {"study": study, "item": item, "rater": f"r{number % raters:04d}", "kind": kind}
    given = {"family": item, "block": number // raters // 10, "slot": number // raters % 10, "created": at - seconds}
    shown = {"flip": 1 - 2 * (number % 2), "guess": int(number % 10 < 7), "state": "done", "leased_until": at}
    rating = {"id": _id(study, "s", number), "assignment": _id(study, "a", number), "heard": {"0": 1.0}, "at": at}
    right = int(generator.random() < 0.95) if kind == "trap" else None
    rating |= {"seconds": seconds, "right": right}
    return shared | given | shown | {"id": _id(study, "a", number)}, shared | rating


def _id(study: str, kind: str, number: int) -> str:
    return f"{'' if study == STUDY else study}{kind}{number:06d}"


def _answers(asked: list[Scale], latent: float, generator: np.random.Generator, careless: bool) -> dict[str, Any]:
    found = {}
    for scale in asked:
        values = list(scale.values)
        share = 1 / (1 + np.exp(-(latent + generator.normal() * 0.7)))
        place = int(generator.integers(len(values))) if careless else min(int(share * len(values)), len(values) - 1)
        found[scale.name] = values[place]
    return found


def _decide(store: Store) -> None:
    """An event, so that what was computed is out of date."""
    facts = {"subject": "item", "item": "i000001", "scale": "primary", "value": "calm", "reason": "", "by": "r0001"}
    store.write(lambda transaction: transaction.record("decided", decision="d", study=STUDY, **facts))
