"""The steps of a run: they are logged, validated, saved, and resumed on the same curve.

Knows no method. The best state, by the validation loss, becomes the child; where no step is better than the parent,
it is the parent, and the report says so.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emotion_omni.train import state
from emotion_omni.train.feedback import status
from emotion_omni.train.feedback.learner import Learner
from emotion_omni.train.feedback.settings import FeedbackSettings
from emotion_omni.train.responder import learning_rate_factor
from emotion_omni.train.run_log import RunLog
from emotion_omni.types import EmotionOmniError

SECONDS_BETWEEN_SAVES = 20.0
SECONDS_BETWEEN_NOTES = 0.5  # in status.json
MAX_GRAD_NORM = 1.0


@dataclass
class Course:
    """How far a run is. ``best``: the trained parameters at the lowest validation loss, at ``best_step``."""

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)  # validation of the parent
    seconds: float = 0.0


def run(
    learner: Learner, folder: Path, settings: FeedbackSettings, identity: dict[str, Any], told: status.Status
) -> tuple[Course, bool]:
    """All remaining steps → how it went, and whether it was stopped before its end. The learner's module is then the
    best one. ``identity``: what must be the same for a saved state to be resumed."""
    optimizer, course = learner.optimizer(), Course()
    if (folder / status.STATE).exists():
        _resume(learner, optimizer, course, folder, identity)
    started = time.monotonic() - course.seconds
    told = replace(told, state="running", stage="training", steps=learner.steps, started=time.time() - course.seconds)
    log = RunLog(folder, course.step, learner.steps)
    saved, noted, stop = time.monotonic(), 0.0, False
    try:
        with stop_requests(folder) as requested:
            if not course.step:
                _validate(learner, course, log)
                course.first = course.validation
            while course.step < learner.steps and not stop:
                losses = _step(learner, optimizer, course.step)
                course.step += 1
                log.step(course.step, losses)
                stop = requested()
                last = stop or course.step == learner.steps
                if course.step % settings.eval_steps == 0 or course.step == learner.steps:
                    _validate(learner, course, log)
                now = time.monotonic()
                if last or now - saved > SECONDS_BETWEEN_SAVES:
                    course.seconds, saved = now - started, now
                    _save(learner, optimizer, course, folder, identity)
                if last or now - noted > SECONDS_BETWEEN_NOTES:
                    noted = now
                    now_told = {"step": course.step, "loss": losses["loss"], "validation": course.validation}
                    status.put(folder, replace(told, **now_told))
    finally:
        log.close()
    stopped = stop and course.step < learner.steps
    if not stopped:
        _load_best(learner, course)
    return course, stopped


def _step(learner: Learner, optimizer: torch.optim.Optimizer, step: int) -> dict[str, float]:
    losses = learner.losses(step)
    if not torch.isfinite(losses["loss"]):
        raise EmotionOmniError(
            f"The loss of step {step + 1} is {losses['loss'].item()}. Start a new run with a lower learning rate.",
            "diverged",
        )
    losses["loss"].backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), MAX_GRAD_NORM)
    for group in optimizer.param_groups:
        group["lr"] = learner.learning_rate * learning_rate_factor(step, learner.steps)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {name: float(value.detach()) for name, value in losses.items()}


def _validate(learner: Learner, course: Course, log: RunLog) -> None:
    course.validation = learner.evaluate()
    log.validation(course.step, course.validation)
    if course.validation["loss"] < course.best_loss:
        course.best_loss, course.best_step = course.validation["loss"], course.step
        course.best = {name: value.detach().clone() for name, value in _trained(learner)}


def _trained(learner: Learner) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, one) for name, one in learner.module.named_parameters() if one.requires_grad)


@torch.no_grad()
def _load_best(learner: Learner, course: Course) -> None:
    for name, parameter in _trained(learner):
        parameter.copy_(course.best[name])


def _save(
    learner: Learner, optimizer: torch.optim.Optimizer, course: Course, folder: Path, identity: dict[str, Any]
) -> None:
    tensors = state.state_dict(learner.module, optimizer)
    tensors |= {f"best.{name}": value for name, value in course.best.items()}
    about = {
        name: getattr(course, name) for name in ("step", "best_loss", "best_step", "validation", "first", "seconds")
    }
    state.save(folder / status.STATE, state.State(tensors, about | {"run": identity}))


def _resume(
    learner: Learner, optimizer: torch.optim.Optimizer, course: Course, folder: Path, identity: dict[str, Any]
) -> None:
    """Raises :class:`EmotionOmniError` (code ``resume``) where the run was started with something else."""
    found = state.load(folder / status.STATE)
    begun = found.about["run"]
    for name, value in identity.items():
        if begun.get(name) != value:
            raise EmotionOmniError(
                f"The run {folder.name!r} was started with {name} = {begun.get(name)!r}, not {value!r}. Resume it with "
                "what it was started with, or start a new one.",
                "resume",
            )
    best = {name.removeprefix("best."): value for name, value in found.tensors.items() if name.startswith("best.")}
    rest = {name: value for name, value in found.tensors.items() if not name.startswith("best.")}
    state.load_state_dict(rest, learner.module, optimizer)
    for name, value in found.about.items():
        if name != "run":
            setattr(course, name, value)
    course.best = best


@contextmanager
def stop_requests(folder: Path) -> Iterator[Callable[[], bool]]:
    """Whether the run was asked to stop: by the file ``cancel``, by Ctrl-C or by SIGTERM (in the main thread)."""
    received: list[int] = []
    try:
        before = {one: signal.signal(one, lambda *_: received.append(1)) for one in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # signals are set in the main thread only
        before = {}
    try:
        yield lambda: bool(received) or (folder / status.CANCEL).exists()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
