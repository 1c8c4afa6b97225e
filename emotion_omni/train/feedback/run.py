"""A run from start to end: ratings and a parent in, a child and a report out.

``python -m emotion_omni train feedback --ratings EXPORT --parent embedded --method reward --out FOLDER``

The child is the run's folder: ``--engine embedded:FOLDER``. A run that was cancelled or killed at any stage goes on
with ``--resume``; before its end the folder holds no weights, so nobody talks to half a child.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from emotion_omni import processors
from emotion_omni.checkpoint import lineage
from emotion_omni.train import ratings as rated
from emotion_omni.train.feedback import loop, status
from emotion_omni.train.feedback import parent as parents
from emotion_omni.train.feedback.learner import Estimate, Learner
from emotion_omni.train.feedback.parent import PART_OF, Parent
from emotion_omni.train.feedback.settings import FeedbackSettings, of_method
from emotion_omni.train.ratings import Ratings, Selection
from emotion_omni.types import EmotionOmniError

BUILT = "building"  # the child's folder until it is whole


@dataclass(frozen=True)
class Request:
    """What a run is asked for. ``also_heard``: as :func:`emotion_omni.train.ratings.select` has it."""

    ratings: str
    parent: str
    method: str
    also_heard: bool = False


@dataclass(frozen=True)
class Prepared:
    """What is known before anything heavy is loaded."""

    request: Request
    settings: FeedbackSettings
    ratings: Ratings
    selection: Selection
    parent: Parent

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed."""
        given = {"method": self.request.method, "ratings": self.ratings.sha256, "parent": self.parent.identity}
        return given | {"also_heard": self.request.also_heard} | asdict(self.settings)


def prepare(request: Request, settings: FeedbackSettings) -> Prepared:
    """Check all that can be refused without loading a model.

    Raises :class:`EmotionOmniError`: ``ratings``, ``locked``, ``too-little``, ``parent``, ``config``.
    """
    settings = of_method(settings, request.method)
    parent = parents.find(request.parent, request.method)
    ratings = Ratings.read(request.ratings)
    selection = rated.select(ratings, request.method, request.also_heard)
    selection.require_enough()
    return Prepared(request, settings, ratings, selection, parent)


def dry_run(request: Request, settings: FeedbackSettings) -> dict[str, Any]:
    """What a run would take and learn from; nothing is loaded or written."""
    prepared = prepare(request, settings)
    estimate = estimated(prepared)
    return {
        "method": request.method,
        "parent": prepared.parent.name,
        "study": prepared.ratings.study,
        "rows": prepared.selection.counts(),
        "steps": prepared.settings.max_steps,
        "estimated_seconds": round(estimate.seconds),
        "estimated_megabytes": round(estimate.megabytes),
    }


def estimated(prepared: Prepared) -> Estimate:
    """Measured on two virtual cores of an AMD EPYC; another machine may take half or twice as long."""
    rows, steps, size = len(prepared.selection.rows), prepared.settings.max_steps, prepared.settings.batch_size
    if prepared.request.method == "reward":
        return Estimate(5 + 0.05 * rows + 0.005 * steps, 700)
    if prepared.request.method == "recognizer":
        return Estimate(10 + 0.3 * rows + 0.05 * steps, 900)
    return Estimate(30 + 0.25 * rows + 0.5 * size * steps, 2500)


def train(request: Request, folder: Path, settings: FeedbackSettings, resume: bool = False) -> dict[str, Any]:
    """Run, or resume, in this process → the report, which is also ``report.json`` of the folder.

    Raises :class:`EmotionOmniError`: those of :func:`prepare`, ``exists``, ``resume``, ``running``, ``diverged``.
    """
    with status.running(folder):
        told = status.Status("running", "checking the ratings", request.method, pid=_pid(), started=time.time())
        _check_folder(folder, resume)
        status.put(folder, told)
        try:
            return _train(request, folder, settings, told)
        except BaseException as error:
            code = error.code if isinstance(error, EmotionOmniError) else type(error).__name__
            ended = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
            status.put(folder, replace(told, state=ended, message=str(error), code=code))
            raise


def _check_folder(folder: Path, resume: bool) -> None:
    (folder / status.CANCEL).unlink(missing_ok=True)
    if (folder / status.REPORT).exists() or ((folder / status.STATE).exists() and not resume):
        raise EmotionOmniError(
            f"{str(folder)!r} already holds a run. Add --resume to continue one that was stopped, or name another "
            "folder with --out.",
            "exists",
        )


def _train(request: Request, folder: Path, settings: FeedbackSettings, told: status.Status) -> dict[str, Any]:
    began = time.monotonic()
    prepared = prepare(request, settings)
    status.write_json(folder / status.REQUEST, asdict(request) | {"settings": asdict(settings)})

    def tell(stage: str) -> None:
        status.put(folder, replace(told, stage=stage, steps=prepared.settings.max_steps))
        if (folder / status.CANCEL).exists():
            raise KeyboardInterrupt("cancelled before the first step")

    tell("loading the parent")
    learner = load_learner(prepared, tell)
    course, stopped = loop.run(learner, folder, prepared.settings, prepared.identity(), told)
    if stopped:
        status.put(folder, replace(told, state="cancelled", stage="stopped", step=course.step, steps=learner.steps))
        return {"stopped": True, "step": course.step, "steps": learner.steps, "method": request.method}
    tell("writing the child")
    best = learner.evaluate()
    learned = learner.is_better(course.first, best)
    if not learned:
        learner.reset()
    report = {
        "method": request.method,
        "stopped": False,
        "parent": {"name": prepared.parent.name, "identity": prepared.parent.identity},
        "ratings": {"study": prepared.ratings.study, "sha256": prepared.ratings.sha256},
        "rows": prepared.selection.counts(),
        "steps": course.step,
        "best_step": course.best_step,
        "validation": {"parent": course.first, "child": best if learned else course.first},
        "learned": learned,
        **learner.details(),
        "settings": asdict(prepared.settings),
        "seconds": round(course.seconds, 1),
        "total_seconds": round(time.monotonic() - began, 1),
        "peak_megabytes": round(processors.peak_megabytes()),
        "machine": processors.describe(),
    }
    _write_child(learner, prepared, folder)
    status.write_json(folder / status.REPORT, report)
    done = replace(told, state="done", stage="done", step=course.step, steps=learner.steps)
    status.put(folder, replace(done, validation=report["validation"]["child"]))
    (folder / status.STATE).unlink(missing_ok=True)
    return report


def _write_child(learner: Learner, prepared: Prepared, folder: Path) -> None:
    """All files of the child are written aside and moved in one by one; the report, written last, says that it is
    whole."""
    building = folder / BUILT
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    prepared.parent.inherit(building, PART_OF[prepared.request.method])
    learner.save(building)
    table = rated.METHOD_TABLES[prepared.request.method][0]
    data = prepared.ratings.folder / prepared.ratings.file_of(table)
    method, rows = f"train feedback --method {prepared.request.method}", {data: len(prepared.selection.rows)}
    lineage.record(building, method, [data], prepared.parent.identity, prepared.settings.seed, rows)
    for path in sorted(building.iterdir()):
        path.replace(folder / path.name)
    building.rmdir()


# --- methods ------------------------------------------------------------------------------------------------------


def load_learner(prepared: Prepared, tell: Callable[[str], None]) -> Learner:
    """Each method is imported when it is loaded."""
    method, rows, settings = prepared.request.method, prepared.selection.rows, prepared.settings
    if method == "recognizer":
        return _recognizer(prepared, tell)
    news = _news(prepared)
    if method == "reward":
        from emotion_omni.response.reranker import Reranker
        from emotion_omni.train.feedback.reward import RewardLearner

        reranker = Reranker.load(prepared.parent.part("reranker.safetensors"))
        tell("reading the answers")
        return RewardLearner(rows, reranker, settings, news)
    from emotion_omni.train.feedback import writer

    model, tokenizer, scale = writer.load(prepared.parent.part("responder.safetensors"))
    tell("reading the answers as the parent does")
    return writer.LEARNERS[method](rows, model, tokenizer, scale, settings, news)


def _news(prepared: Prepared) -> Callable[[str, str], str]:
    """What words report, as the planner reads it; for rows that do not say it."""
    if all(row.get("event") for row in prepared.selection.rows):
        return lambda text, tone: "neutral"
    from emotion_omni.response.guard import Guard

    return Guard.load(prepared.parent.part("guard.safetensors")).news


def _recognizer(prepared: Prepared, tell: Callable[[str], None]) -> Learner:
    from emotion_omni import weights
    from emotion_omni.recognition.speech_emotion import SHIPPED, SpeechEmotionHead, load_head
    from emotion_omni.recognition.whisper_encoder import WhisperEncoder
    from emotion_omni.train.feedback import recognizer

    path = Path(prepared.parent.part("speech_emotion.safetensors") or SHIPPED)
    head = load_head(path, WhisperEncoder.load(weights.fetch("whisper-base/model.bin")))
    if not isinstance(head, SpeechEmotionHead):
        raise parents.refuse(
            f"{path.name} of the parent is a head of release 0.1, which learns no more. Choose another."
        )
    rows = prepared.selection.rows
    means = recognizer.means_of(prepared.ratings, rows, weights.cache() / "features", tell)
    return recognizer.RecognizerLearner(rows, means, head, prepared.settings)


def _pid() -> int:
    import os

    return os.getpid()
