"""All attacks, run against one app: which expectations hold, and what was found where one does not."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotation.bench.attack import checks, erasure, forgery, guests, hearing, people, timing  # noqa: F401 (lists them)
from annotation.bench.attack.registry import ATTACKS, Attack
from annotation.bench.attack.target import Breach, Target, started
from emotion_omni import processors

AT_ONCE = 4


@dataclass(frozen=True)
class Outcome:
    kind: str
    name: str
    expectation: str
    held: bool
    found: str
    seconds: float


def run(names: Iterable[str] = (), progress: Callable[[Outcome], None] = lambda outcome: None) -> dict[str, Any]:
    """Every attack (or those named, by name or kind) → one object: passed, failed, and each outcome."""
    wanted = set(names)
    chosen = [one for one in ATTACKS if not wanted or wanted & {one.name, one.kind}]
    alone = [one for one in chosen if one.kind == "timing"]  # what measures time must not share the machine
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as target:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(lambda one: _tried(one, target, progress), [o for o in chosen if o not in alone]))
        outcomes += [_tried(one, target, progress) for one in alone]
    failed = [one for one in outcomes if not one.held]
    return {
        "attacks": len(outcomes),
        "passed": len(outcomes) - len(failed),
        "failed": len(failed),
        "outcomes": [asdict(one) for one in outcomes],
        "machine": processors.describe(),
    }


def _tried(one: Attack, target: Target, progress: Callable[[Outcome], None]) -> Outcome:
    began = time.perf_counter()
    found = ""
    try:
        one.run(target)
    except Breach as breach:
        found = str(breach)
    except Exception:  # an attack that breaks has shown nothing, which is reported, not raised: the others go on
        found = "the attack itself failed: " + traceback.format_exc(limit=-2)
    outcome = Outcome(one.kind, one.name, one.expectation, not found, found, round(time.perf_counter() - began, 2))
    progress(outcome)
    return outcome


def as_line(outcome: Outcome) -> str:
    held = "held  " if outcome.held else "BROKEN"
    return f"{held} {outcome.kind}.{outcome.name} ({outcome.seconds} s) {outcome.found[:300]}".rstrip()
