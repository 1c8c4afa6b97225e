"""Run the measures of a suite on an engine, and on its parent, and set them side by side.

Every measure is kept by the hashes of what it depends on, so a run that was stopped goes on where it was, and one after
a change of the voice measures the voice alone. What cannot be run says why; nothing is left out in silence.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emotion_omni import processors, weights
from emotion_omni.evaluate import figures
from emotion_omni.evaluate.clip_features import hash_of_code
from emotion_omni.evaluate.figures import Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Run, Say, Sources
from emotion_omni.evaluate.subject import Subject
from emotion_omni.types import EmotionOmniError

PACKAGES = ("numpy", "torch", "ctranslate2", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Taken:
    """An outcome, or why there is none."""

    measure: Measure
    outcome: Outcome | None
    why_not: str = ""
    seconds: float = 0.0
    from_cache: bool = False


def default_cache() -> Path:
    return weights.cache() / "evaluation"


def take_all(
    subject: Subject, measures: Sequence[Measure], suite: str, sources: Sources, cache: Path, say: Say
) -> list[Taken]:
    found = []
    for number, measure in enumerate(measures, 1):
        say(f"{subject.name}: {measure.name} ({number} of {len(measures)})")
        found.append(take(subject, measure, suite, sources, cache, say))
        note = found[-1].why_not or ("known" if found[-1].from_cache else f"{found[-1].seconds:.0f} s")
        say(f"{subject.name}: {measure.name}: {note}")
    return found


def take(subject: Subject, measure: Measure, suite: str, sources: Sources, cache: Path, say: Say) -> Taken:
    """One measure: known, taken now, or why it cannot be."""
    started = time.monotonic()
    if suite not in measure.sizes:
        return Taken(measure, None, f"only in the suite {' or '.join(measure.sizes)}: it takes long")
    try:
        file = cache / f"{measure.name}-{key(subject, measure, suite, sources)}.json"
        known = _read(file) if measure.cached else None
        if known is not None:
            return Taken(measure, known, from_cache=True)
        outcome = measure.run(Run(subject, measure.sizes[suite], sources, cache, say))
    except NotRun as reason:
        return Taken(measure, None, str(reason))
    except EmotionOmniError as error:
        return Taken(measure, None, f"{error} ({error.code})")
    except ImportError as error:
        return Taken(measure, None, f"{error}. Run: pip install -r requirements-dev.txt")
    if measure.cached:
        _write(file, outcome)
    return Taken(measure, outcome, seconds=round(time.monotonic() - started, 1))


def key(subject: Subject, measure: Measure, suite: str, sources: Sources) -> str:
    """16 hexadecimal digits: of the parts, the code, the data and the settings that the measure depends on."""
    lines = [f"{part} {subject.identities[part]}" for part in measure.parts]
    lines += [measure.name, str(measure.sizes[suite]), _code(measure)]
    lines += [weights.sha256(file) for file in measure.files if file.exists()]
    lines += [f"{name} {_hash_of_source(getattr(sources, name))}" for name in measure.sources]
    lines += [f"{name} {os.environ.get(name, '')}" for name in measure.environment]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _code(measure: Measure) -> str:
    """All of this room: measures share much of it."""
    return hash_of_code(*sorted(Path(__file__).parent.rglob("*.py")))


def _hash_of_source(value: Any) -> str:
    """A folder counts by its tables, a file by its content."""
    if isinstance(value, tuple):
        return " ".join(map(_hash_of_source, value))
    if not isinstance(value, Path):
        return str(value)
    files = sorted([*value.glob("*.csv"), *value.glob("*.jsonl")]) if value.is_dir() else [value]
    return " ".join(weights.sha256(file) for file in files if file.is_file())


def _read(file: Path) -> Outcome | None:
    try:
        return Outcome.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, outcome: Outcome) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(outcome.to_json(), ensure_ascii=False), encoding="utf-8")
    part.replace(file)


# --- the report ---------------------------------------------------------------------------------------------------


def report(
    subject: Subject,
    taken: Sequence[Taken],
    suite: str,
    parent: Subject | None = None,
    parents: Sequence[Taken] = (),
) -> dict[str, Any]:
    """One JSON object: every figure of the child, of the parent, and their difference."""
    others = {one.measure.name: one for one in parents}
    level = guarded_level(taken)
    found: dict[str, Any] = {
        "report": "emotion_omni evaluate",
        "engine": subject.name,
        "identities": subject.identities,
        "suite": suite,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processors.describe(),
        "versions": {name: _version(name) for name in PACKAGES},
        "measures": [_row(one, others.get(one.measure.name), level) for one in taken],
    }
    if parent:
        found |= {"parent": parent.name, "parent_identities": parent.identities, "guard_level": level}
        found["same_parts"] = [p for p in subject.identities if subject.identities[p] == parent.identities[p]]
    return found


def guarded_level(taken: Sequence[Taken]) -> float:
    """Confidence of the guard's intervals: 95 % over all guarded figures together (Bonferroni)."""
    guarded = sum(figure.guarded for one in taken if one.outcome for figure in one.measure.figures)
    return 1 - (1 - figures.LEVEL) / max(1, guarded)


def _row(one: Taken, other: Taken | None, level: float) -> dict[str, Any]:
    measure = one.measure
    row: dict[str, Any] = {
        "name": measure.name,
        "title": measure.title,
        "section": measure.section,
        "text": measure.text,
    }
    if one.outcome is None:
        return row | {"why_not": one.why_not}
    theirs = figures.by_figure(other.outcome.samples) if other and other.outcome else {}
    row["figures"] = []
    for name, samples in figures.by_figure(one.outcome.samples).items():
        row["figures"].append(_figure(measure.figure(name), samples, theirs.get(name), level))
    row |= {"seconds": one.seconds, "from_cache": one.from_cache}
    row |= {"not_run": one.outcome.not_run, "details": one.outcome.details}
    if other is not None:
        row["parent"] = {"why_not": other.why_not} if other.outcome is None else {"details": other.outcome.details}
    return row


def _figure(figure: figures.Figure, samples: list[Sample], theirs: list[Sample] | None, level: float) -> dict[str, Any]:
    row = asdict(figure) | figures.summary(samples)
    if theirs:
        row["parent"] = figures.summary(theirs)
        row["difference"] = figures.difference(samples, theirs)
        guarded = figures.difference(samples, theirs, level) if figure.guarded else None
        row["loses"] = figures.loses(figure, guarded)
        if guarded:
            row["guarded_difference"] = guarded
    return row


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def as_text(found: Mapping[str, Any]) -> str:
    """For the terminal: every figure on a line, then what was not run."""
    lines = [
        f"{found['engine']}, suite {found['suite']}" + (f", beside {found['parent']}" if "parent" in found else "")
    ]
    for row in found["measures"]:
        for one in row.get("figures", ()):
            lines.append(f"  {row['name']:16} {one['title']:58} {value_text(one)}{_beside(one)}")
    lines += [f"  not run: {row['name']}: {row['why_not']}" for row in found["measures"] if "why_not" in row]
    return "\n".join(lines)


def value_text(one: Mapping[str, Any]) -> str:
    text = f"{one['value']:.3f}"
    return text + (f" [{one['low']:.3f}, {one['high']:.3f}]" if "low" in one else "")


def _beside(one: Mapping[str, Any]) -> str:
    if "parent" not in one:
        return ""
    found = one.get("difference") or {}
    mark = " loses" if one.get("loses") else " *" if found.get("beyond_noise") else ""
    return f"   parent {one['parent']['value']:.3f}{mark}"
