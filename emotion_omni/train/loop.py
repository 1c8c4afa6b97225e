"""The training loop of both stages: order, steps, rates, measuring, saving, going on after a crash.

A step's gradient is that of the mean over its utterances of each one's own mean loss. So neither
padding, nor batch mates, nor accumulation, nor the number of processes changes it. Everything random
hangs on (seed, step) or on (seed, epoch, utterance), so that a place in the run is one number, and a
run killed and resumed goes on as if nothing had happened.

Runs alone, or in several processes under `accelerate launch` (DDP, or FSDP for what does not fit one
GPU). Knows no speech: what is learnt stands in a :class:`Lesson`.

Axes: B batch. Sources: AdamW, Loshchilov and Hutter 2019; cosine schedule, the same 2017.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from emotion_omni.omni.model import Omni
from emotion_omni.train import state
from emotion_omni.train.examples import Batch, Examples, Told
from emotion_omni.train.journal import Journal
from emotion_omni.train.settings import Settings
from emotion_omni.types import EmotionOmniError

POOL = 50  # batches among which utterances are sorted by size: little padding, and still another order in each epoch
MEASUREMENTS = 20  # of the held-out loss in a run, unless the settings say otherwise
STATE = "state.safetensors"


class Lesson(nn.Module):
    """What a stage teaches a model. Its forward is one call, so that DDP and FSDP see it."""

    parts: tuple[str, ...]  # of the model that learn

    def __init__(self, omni: Omni) -> None:
        super().__init__()
        self.omni = omni
        for name, parameter in omni.named_parameters():
            part = "lora" if "lora_" in name else name.partition(".")[0]
            parameter.requires_grad_(part in self.parts)

    @abstractmethod
    def forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        """→ losses by name, each [B], one of them ``loss``. A part that an utterance does not have is NaN there.

        ``progress`` runs from 0 at the first step to 1 at the last.
        """

    @abstractmethod
    def rates(self, settings: Settings) -> dict[str, float]:
        """Peak learning rate by part."""

    def groups(self, settings: Settings) -> list[dict[str, Any]]:
        """Parameter groups: a rate for each part, decay for matrices only."""
        found = []
        for part, peak in self.rates(settings).items():
            members = [(name, parameter) for name, parameter in self.omni.named_parameters() if parameter.requires_grad]
            chosen = [
                parameter
                for name, parameter in members
                if ("lora" if "lora_" in name else name.partition(".")[0]) == part
            ]
            for decay, matrices in ((settings.weight_decay, True), (0.0, False)):
                parameters = [parameter for parameter in chosen if (parameter.ndim > 1) is matrices]
                if parameters:
                    found.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
        return found


@dataclass(frozen=True)
class Outcome:
    """``done`` steps of ``total``; ``stopped`` when a person ended the run early. ``best`` is the lowest held-out loss."""

    done: int
    total: int
    stopped: bool
    loss: Mapping[str, float]
    held_out: Mapping[str, float]
    best: float
    best_step: int
    seconds: float
    tokens: int
    utterances: int


@dataclass(frozen=True)
class Work:
    """A step's utterances: ``count`` over all processes, ``parts`` (how many count, batch) of this one."""

    step: int
    count: int
    parts: list[tuple[int, Batch]]


# --- what hangs on numbers alone ---------------------------------------------------------------------------------------


def order(sizes: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch: every utterance once, like sizes together, all drawn from (seed, epoch)."""
    draw = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(sizes), generator=draw).tolist()
    batches = []
    for begin in range(0, len(shuffled), POOL * batch):
        pool = sorted(shuffled[begin : begin + POOL * batch], key=lambda place: sizes[place])
        batches += [pool[at : at + batch] for at in range(0, len(pool), batch)]
    return [batches[index] for index in torch.randperm(len(batches), generator=draw).tolist()]


def shares(batch: Sequence[int], processes: int, accumulate: int) -> list[list[list[int]]]:
    """A batch → for each process its parts. All processes get equally many; a part may be empty, for some."""
    per_process = [list(batch[process::processes]) for process in range(processes)]
    most = max(len(share) for share in per_process)
    size = -(-most // min(accumulate, most))
    return [[share[at : at + size] for at in range(0, most, size)] for share in per_process]


def rate(step: int, steps: int, warm_up: float) -> float:
    """What share of its peak the learning rate has in step 0 … steps - 1: a linear rise, then a cosine to 0."""
    warm = max(1, round(warm_up * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


# --- the run -------------------------------------------------------------------------------------------------------------


class Run:
    """One stage of one model on one data set, in a folder. ``keep(which, step, held_out)`` saves a checkpoint."""

    def __init__(
        self,
        lesson: Lesson,
        train: Examples,
        held_out: Examples,
        settings: Settings,
        accelerator: Accelerator,
        folder: Path,
        begun_with: Mapping[str, Any],
        keep: Callable[[str, int, Mapping[str, float]], None],
    ) -> None:
        self.lesson, self.settings, self.accelerator, self.folder, self.keep = (
            lesson,
            settings,
            accelerator,
            folder,
            keep,
        )
        self.train, self.held_out, self.begun_with = train, held_out, dict(begun_with)
        self.per_epoch = -(-len(train) // settings.batch)
        self.total = settings.steps or settings.epochs * self.per_epoch
        self.measure_every = settings.evaluate_every or max(1, self.total // MEASUREMENTS)
        self.save_every = settings.save_every or self.measure_every
        optimizer = torch.optim.AdamW(lesson.groups(settings), betas=(0.9, 0.999))
        self.model, self.optimizer = accelerator.prepare(lesson, optimizer)
        self.done, self.best, self.best_step, self.seconds = 0, math.inf, 0, 0.0
        self.tokens, self.utterances = 0, 0
        self.last: dict[str, float] = {}
        self.measured: dict[str, float] = {}

    @property
    def core(self) -> Lesson:
        return self.accelerator.unwrap_model(self.model)

    def resume(self) -> None:
        """Go on from the saved state, if there is one. Raises :class:`EmotionOmniError` (code ``resume``) when it is of another run."""
        path = self.folder / STATE
        if not path.exists():
            return
        found = state.load(path)
        for name, value in self.begun_with.items():
            if found.about["begun_with"].get(name) != value:
                raise EmotionOmniError(
                    f"The run in {str(self.folder)!r} was begun with {name} {found.about['begun_with'].get(name)!r}, not {value!r}. "
                    "Resume it with what it was begun with, or train into a new folder.",
                    "resume",
                )
        state.give(found.tensors, self.core, self.optimizer.optimizer)
        self.done, self.seconds = found.about["step"], found.about["seconds"]
        self.tokens, self.utterances = found.about["tokens"], found.about["utterances"]
        self.measured, self.last, self.best_step = (
            found.about["held_out"],
            found.about["loss"],
            found.about["best_step"],
        )
        self.best = math.inf if found.about["best"] is None else found.about["best"]

    def go(self) -> Outcome:
        """All steps that are left; Ctrl-C or SIGTERM ends the run after the step it is in, saved."""
        stop = False
        self._begun = time.monotonic() - self.seconds
        journal = Journal(self.folder, self.done, self.total, self.accelerator.is_main_process)
        try:
            with _asked_to_stop() as asked:
                for work in self._work():
                    self._step(work, journal)
                    stop = self._sum(torch.tensor([float(asked())])).item() > 0
                    last = stop or self.done == self.total
                    if len(self.held_out) and (self.done % self.measure_every == 0 or last):
                        self._measure(journal)
                    if self.done % self.save_every == 0 or last:
                        self._save()
                    if stop:
                        break
        finally:
            journal.close()
        self.keep("last", self.done, self.measured)
        if not len(self.held_out):
            self.keep("best", self.done, self.last)
        self.seconds = time.monotonic() - self._begun
        best = self.best if math.isfinite(self.best) else self.last.get("loss", math.nan)
        return Outcome(
            self.done,
            self.total,
            stop,
            self.last,
            self.measured,
            best,
            self.best_step,
            self.seconds,
            self.tokens,
            self.utterances,
        )

    def _work(self) -> Iterator[Work]:
        """The steps to come, read ahead in a thread of its own."""
        with ThreadPoolExecutor(1) as reader:
            waiting: list[Any] = []
            for step, places in self._places():
                waiting.append(reader.submit(self._read, step, places))
                if len(waiting) > self.settings.prefetch:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def _places(self) -> Iterator[tuple[int, list[int]]]:
        for epoch in range(self.done // self.per_epoch, -(-self.total // self.per_epoch)):
            for index, places in enumerate(order(self.train.sizes, self.settings.batch, self.settings.seed, epoch)):
                step = epoch * self.per_epoch + index
                if self.done <= step < self.total:
                    yield step, places

    def _read(self, step: int, places: list[int], examples: Examples | None = None) -> Work:
        mine = shares(places, self.accelerator.num_processes, self.settings.accumulate)[self.accelerator.process_index]
        # an empty part still takes its passes, with weight 0: the other processes wait for them
        told = None if examples else Told(self.settings.seed, step // self.per_epoch, self.settings.told)
        return Work(
            step, len(places), [(len(part), (examples or self.train).batch(part or places[:1], told)) for part in mine]
        )

    def _step(self, work: Work, journal: Journal) -> None:
        epoch, progress = work.step // self.per_epoch, work.step / max(1, self.total - 1)
        torch.manual_seed(
            self.settings.seed * 1_000_003 + work.step * 1009 + self.accelerator.process_index
        )  # of dropout
        self.model.train()
        sums = Sums()
        for index, (counts, batch) in enumerate(work.parts):
            final = index == len(work.parts) - 1
            with contextlib.nullcontext() if final else self.accelerator.no_sync(self.model):
                losses = self._forward(batch, epoch, progress)
                # gradients are averaged over processes: each gives its share as many times as there are processes
                share = self.accelerator.num_processes / work.count if counts else 0.0
                self.accelerator.backward(losses["loss"].sum() * share)
            sums.add(losses, counts, _tokens(batch))
        self.last, tokens = sums.means(self._sum)
        if not math.isfinite(self.last["loss"]):
            raise self._diverged("loss", work.step + 1, self.last["loss"])
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        if not math.isfinite(norm):
            raise self._diverged("gradient", work.step + 1, norm)
        height = rate(work.step, self.total, self.settings.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * height
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done = work.step + 1
        self.tokens, self.utterances = self.tokens + tokens, self.utterances + work.count
        journal.step(self.done, self.last | {"rate": height, "norm": norm})

    @staticmethod
    def _diverged(what: str, step: int, value: float) -> EmotionOmniError:
        return EmotionOmniError(
            f"The {what} of step {step} is {value}. Begin a new run with a lower rate, or look for a broken recording among the rows; "
            "the state that was saved last is sound.",
            "diverged",
        )

    def _forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        device = self.accelerator.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.model(batch.to(device), epoch, progress)

    def _measure(self, journal: Journal) -> None:
        self.measured = self.losses(self.held_out)
        journal.held_out(self.done, self.measured)
        if self.measured["loss"] < self.best:
            self.best, self.best_step = self.measured["loss"], self.done
            self.keep("best", self.done, self.measured)

    @torch.no_grad()
    def losses(self, examples: Examples) -> dict[str, float]:
        """Mean losses over all examples, without dropout, as at the end of the training."""
        self.model.eval()
        sums, places = Sums(), sorted(range(len(examples)), key=lambda place: examples.sizes[place])
        for at in range(0, len(places), self.settings.batch):
            for counts, batch in self._read(0, places[at : at + self.settings.batch], examples).parts:
                sums.add(self._forward(batch, 0, 1.0), counts, 0)
        return sums.means(self._sum)[0]

    def _save(self) -> None:
        tensors = state.take(self.core, self.optimizer.optimizer)
        self.seconds = time.monotonic() - self._begun
        if self.accelerator.is_main_process:
            about = {
                "step": self.done,
                "begun_with": self.begun_with,
                "best": self.best if math.isfinite(self.best) else None,
                "best_step": self.best_step,
                "held_out": self.measured,
                "loss": self.last,
                "seconds": self.seconds,
                "tokens": self.tokens,
                "utterances": self.utterances,
            }
            state.save(self.folder / STATE, state.State(tensors, about))
        self.accelerator.wait_for_everyone()

    def _sum(self, values: Tensor) -> Tensor:
        """Over the processes."""
        if self.accelerator.num_processes == 1:
            return values  # not by way of the device: not every kind of them has float64
        return self.accelerator.reduce(values.to(self.accelerator.device), "sum").cpu()


class Sums:
    """Losses of many batches on the way to their means: each over the utterances that have it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.totals = torch.zeros(0)  # [names, 2]: sum and count
        self.tokens = 0

    def add(self, losses: Mapping[str, Tensor], counts: int, tokens: int) -> None:
        """``counts`` 0: a batch that stands in for an empty one; its losses are not counted."""
        if not self.names:
            self.names, self.totals = list(losses), torch.zeros(len(losses), 2, dtype=torch.float64)
        if counts:
            values = torch.stack([losses[name].detach() for name in self.names]).double().cpu()  # [names, B]
            missing = values.isnan() & (torch.tensor([name != "loss" for name in self.names])[:, None])
            self.totals += torch.stack([values.masked_fill(missing, 0).sum(1), (~missing).sum(1).double()], 1)
            self.tokens += tokens

    def means(self, over_processes: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], int]:
        """→ means by name, and tokens, of all processes. A loss that no utterance has is left out."""
        everything = over_processes(
            torch.cat([self.totals.flatten(), torch.tensor([float(self.tokens)], dtype=torch.float64)])
        )
        totals = everything[:-1].view(-1, 2)
        return {
            name: (total / count).item() for name, (total, count) in zip(self.names, totals, strict=True) if count
        }, int(everything[-1])


def _tokens(batch: Batch) -> int:
    return sum(len(answer) for answer in batch.answers) + int(batch.speech_lengths.sum())


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM asks to stop; a second Ctrl-C stops at once. Elsewhere than in the main thread nobody can ask."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # signals are set in the main thread only
        before = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
