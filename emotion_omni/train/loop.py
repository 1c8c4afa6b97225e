"""The training loop of both stages: steps, validation, checkpoints, and resuming after a crash.

The gradient of a step is that of the mean over its utterances of each one's own mean loss. So neither padding, nor
the other utterances of the batch, nor gradient accumulation, nor the number of processes changes it. Everything random
depends on (seed, step) or on (seed, epoch, utterance). The position in a run is therefore one number, and a run that
was killed and resumed continues as if it had not been interrupted.

Runs alone, or in several processes under ``accelerate launch`` (DDP, or FSDP for what does not fit one GPU). It knows
nothing of speech: what is learned is a :class:`~emotion_omni.train.task.TrainingTask`.

Axes: B batch.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from emotion_omni.train import state
from emotion_omni.train.averages import LossAverages
from emotion_omni.train.batches import Batch, Corrections, DialogueDataset
from emotion_omni.train.run_log import RunLog
from emotion_omni.train.schedule import epoch_batches, learning_rate_factor, micro_batches
from emotion_omni.train.settings import Settings
from emotion_omni.train.task import TrainingTask
from emotion_omni.types import EmotionOmniError

VALIDATIONS = 20  # in a run, unless the settings say otherwise
STATE = "state.safetensors"

SaveCheckpoint = Callable[[str, int, Mapping[str, float]], None]
"""Called with the checkpoint's name, the step and its metrics."""


@dataclass(frozen=True)
class RunResult:
    """``done`` steps of ``total``; ``stopped``: a person ended the run early. ``best``: the lowest validation loss."""

    done: int
    total: int
    stopped: bool
    loss: Mapping[str, float]
    validation: Mapping[str, float]
    best: float
    best_step: int
    seconds: float
    tokens: int
    utterances: int


@dataclass(frozen=True)
class StepBatch:
    """The utterances of a step: ``count`` over all processes, and the micro-batches (utterances, batch) of this one."""

    step: int
    count: int
    micro_batches: list[tuple[int, Batch]]


class Trainer:
    """Trains one stage of one model on one data set, in a folder."""

    def __init__(
        self,
        task: TrainingTask,
        train_data: DialogueDataset,
        validation_data: DialogueDataset,
        settings: Settings,
        accelerator: Accelerator,
        folder: Path,
        run: Mapping[str, Any],
        save_checkpoint: SaveCheckpoint,
    ) -> None:
        """``run``: what the run is started with; a state that differs in any of it is not resumed."""
        self.train_data, self.validation_data, self.settings = train_data, validation_data, settings
        self.accelerator, self.folder, self.run = accelerator, folder, dict(run)
        self.save_checkpoint = save_checkpoint
        self.steps_per_epoch = -(-len(train_data) // settings.batch_size)
        self.total = settings.max_steps or settings.epochs * self.steps_per_epoch
        self.eval_steps = settings.eval_steps or max(1, self.total // VALIDATIONS)
        self.save_steps = settings.save_steps or self.eval_steps
        optimizer = torch.optim.AdamW(task.parameter_groups(settings), betas=(0.9, 0.999))
        self.model, self.optimizer = accelerator.prepare(task, optimizer)
        self.done, self.best, self.best_step, self.seconds = 0, math.inf, 0, 0.0
        self.tokens, self.utterances = 0, 0
        self.last_losses: dict[str, float] = {}
        self.validation_losses: dict[str, float] = {}

    @property
    def task(self) -> TrainingTask:
        return self.accelerator.unwrap_model(self.model)

    # --- resuming -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Continue from the saved state, if there is one.

        Raises :class:`EmotionOmniError` (code ``resume``) if it belongs to a run that was started with other settings.
        """
        path = self.folder / STATE
        if not path.exists():
            return
        saved = state.load(path)
        for name, value in self.run.items():
            if saved.about["run"].get(name) != value:
                raise EmotionOmniError(
                    f"The run in {str(self.folder)!r} was started with {name} {saved.about['run'].get(name)!r}, "
                    f"not {value!r}. Resume it with what it was started with, or train into a new folder.",
                    "resume",
                )
        state.load_state_dict(saved.tensors, self.task, self.optimizer.optimizer)
        self.done, self.seconds = saved.about["step"], saved.about["seconds"]
        self.tokens, self.utterances = saved.about["tokens"], saved.about["utterances"]
        self.validation_losses, self.last_losses = saved.about["validation"], saved.about["loss"]
        self.best_step = saved.about["best_step"]
        self.best = math.inf if saved.about["best"] is None else saved.about["best"]

    def _save_state(self) -> None:
        tensors = state.state_dict(self.task, self.optimizer.optimizer)
        self.seconds = time.monotonic() - self._started
        if self.accelerator.is_main_process:
            about = {
                "step": self.done,
                "run": self.run,
                "best": self.best if math.isfinite(self.best) else None,
                "best_step": self.best_step,
                "validation": self.validation_losses,
                "loss": self.last_losses,
                "seconds": self.seconds,
                "tokens": self.tokens,
                "utterances": self.utterances,
            }
            state.save(self.folder / STATE, state.State(tensors, about))
        self.accelerator.wait_for_everyone()

    # --- the run ------------------------------------------------------------------------------------------------

    def train(self) -> RunResult:
        """All remaining steps. Ctrl-C or SIGTERM ends the run after the current step, with its state saved."""
        stop = False
        self._started = time.monotonic() - self.seconds
        run_log = RunLog(self.folder, self.done, self.total, self.accelerator.is_main_process)
        try:
            with _stop_requests() as requested:
                for batch in self._step_batches():
                    values = self.train_step(batch)
                    run_log.step(self.done, values)
                    stop = self._sum(torch.tensor([float(requested())])).item() > 0
                    self._after_step(run_log, last=stop or self.done == self.total)
                    if stop:
                        break
        finally:
            run_log.close()
        self.save_checkpoint("last", self.done, self.validation_losses)
        if not len(self.validation_data):
            self.save_checkpoint("best", self.done, self.last_losses)
        self.seconds = time.monotonic() - self._started
        return self._result(stop)

    def _after_step(self, run_log: RunLog, last: bool) -> None:
        if len(self.validation_data) and (self.done % self.eval_steps == 0 or last):
            self._validate(run_log)
        if self.done % self.save_steps == 0 or last:
            self._save_state()

    def _result(self, stopped: bool) -> RunResult:
        return RunResult(
            done=self.done,
            total=self.total,
            stopped=stopped,
            loss=self.last_losses,
            validation=self.validation_losses,
            best=self.best if math.isfinite(self.best) else self.last_losses.get("loss", math.nan),
            best_step=self.best_step,
            seconds=self.seconds,
            tokens=self.tokens,
            utterances=self.utterances,
        )

    def train_step(self, batch: StepBatch) -> dict[str, float]:
        """One optimizer step → its mean losses, learning rate factor and gradient norm."""
        epoch, progress = batch.step // self.steps_per_epoch, batch.step / max(1, self.total - 1)
        process = self.accelerator.process_index
        torch.manual_seed(self.settings.seed * 1_000_003 + batch.step * 1009 + process)  # seeds dropout
        self.model.train()
        averages = LossAverages()
        for index, (count, micro_batch) in enumerate(batch.micro_batches):
            last = index == len(batch.micro_batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                losses = self._forward(micro_batch, epoch, progress)
                # gradients are averaged over processes, so each is multiplied by the number of processes
                share = self.accelerator.num_processes / batch.count if count else 0.0
                self.accelerator.backward(losses["loss"].sum() * share)
            averages.add(losses, count, _tokens(micro_batch))
        self.last_losses, tokens = averages.means(self._sum)
        self._check_finite("loss", batch.step + 1, self.last_losses["loss"])
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm))
        self._check_finite("gradient", batch.step + 1, norm)
        factor = learning_rate_factor(batch.step, self.total, self.settings.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done = batch.step + 1
        self.tokens, self.utterances = self.tokens + tokens, self.utterances + batch.count
        return self.last_losses | {"rate": factor, "norm": norm}

    @staticmethod
    def _check_finite(what: str, step: int, value: float) -> None:
        if not math.isfinite(value):
            raise EmotionOmniError(
                f"The {what} of step {step} is {value}. Start a new run with a lower learning rate, or look for a "
                "broken recording among the rows; the state that was saved last is valid.",
                "diverged",
            )

    def _forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        device = self.accelerator.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.model(batch.to(device), epoch, progress)

    # --- validation ---------------------------------------------------------------------------------------------

    def _validate(self, run_log: RunLog) -> None:
        self.validation_losses = self.evaluate(self.validation_data)
        run_log.validation(self.done, self.validation_losses)
        if self.validation_losses["loss"] < self.best:
            self.best, self.best_step = self.validation_losses["loss"], self.done
            self.save_checkpoint("best", self.done, self.validation_losses)

    @torch.no_grad()
    def evaluate(self, data: DialogueDataset) -> dict[str, float]:
        """Mean losses over all utterances, without dropout, conditioned as at the end of training."""
        self.model.eval()
        averages = LossAverages()
        by_length = sorted(range(len(data)), key=lambda index: data.lengths[index])
        for start in range(0, len(by_length), self.settings.batch_size):
            indices = by_length[start : start + self.settings.batch_size]
            for count, batch in self._micro_batches(data, indices, None):
                averages.add(self._forward(batch, 0, 1.0), count, 0)
        return averages.means(self._sum)[0]

    # --- batches ------------------------------------------------------------------------------------------------

    def _step_batches(self) -> Iterator[StepBatch]:
        """The remaining steps, loaded ahead in a thread."""
        with ThreadPoolExecutor(1) as loader:
            waiting: list[Future[StepBatch]] = []
            for step, indices in self._step_indices():
                waiting.append(loader.submit(self._load, step, indices))
                if len(waiting) > self.settings.prefetch:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def _step_indices(self) -> Iterator[tuple[int, list[int]]]:
        for epoch in range(self.done // self.steps_per_epoch, -(-self.total // self.steps_per_epoch)):
            batches = epoch_batches(self.train_data.lengths, self.settings.batch_size, self.settings.seed, epoch)
            for step, indices in enumerate(batches, start=epoch * self.steps_per_epoch):
                if self.done <= step < self.total:
                    yield step, indices

    def _load(self, step: int, indices: list[int]) -> StepBatch:
        corrections = Corrections(self.settings.seed, step // self.steps_per_epoch, self.settings.correction_rate)
        return StepBatch(step, len(indices), self._micro_batches(self.train_data, indices, corrections))

    def _micro_batches(
        self, data: DialogueDataset, indices: list[int], corrections: Corrections | None
    ) -> list[tuple[int, Batch]]:
        processes, process = self.accelerator.num_processes, self.accelerator.process_index
        mine = micro_batches(indices, processes, self.settings.gradient_accumulation_steps)[process]
        # an empty micro-batch still takes its forward pass, with weight 0: the other processes wait for it
        return [(len(part), data.batch(part or indices[:1], corrections)) for part in mine]

    def _sum(self, values: Tensor) -> Tensor:
        """Over the processes."""
        if self.accelerator.num_processes == 1:
            return values  # not moved to the device: some kinds of device lack float64
        return self.accelerator.reduce(values.to(self.accelerator.device), "sum").cpu()


def _tokens(batch: Batch) -> int:
    return sum(len(answer) for answer in batch.answers) + int(batch.speech_lengths.sum())


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM was received; a second one raises KeyboardInterrupt. Works in the main thread only."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # signals are set in the main thread only
        before = {}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
