"""One stage of training from start to end: data and configuration in, a checkpoint and a report out.

A run has a folder of its own: ``best`` and ``last`` are checkpoints, ``log.jsonl`` and ``tensorboard``
its course, ``report.json`` its outcome, ``state.safetensors`` what it goes on from. It runs alone or in
several processes, which learn the very same:

    accelerate launch --num_processes 8 -m emotion_omni train understand --config paper …
    accelerate launch --num_processes 8 --use_fsdp --fsdp_version 2 --mixed_precision bf16
      --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_transformer_layer_cls_to_wrap Qwen2DecoderLayer,Block
      --fsdp_cpu_ram_efficient_loading false -m emotion_omni train …

The second spreads the weights over the GPUs. accelerate takes neither way on CPUs: there it is
`torchrun --standalone --nproc-per-node 2 -m emotion_omni train …`, and weights are not spread.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from emotion_omni import __version__, checkpoint, processors, weights
from emotion_omni.omni.config import PRESETS, OmniConfig
from emotion_omni.omni.language_model import seeded
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.omni.speech_decoder import SpeechDecoder
from emotion_omni.train import dialogues, state
from emotion_omni.train.dialogues import Dialogues
from emotion_omni.train.examples import Examples
from emotion_omni.train.features import Features
from emotion_omni.train.loop import STATE, Lesson, Outcome, Run
from emotion_omni.train.settings import MAY_CHANGE, Settings
from emotion_omni.train.sources import sources
from emotion_omni.train.speak import Speak
from emotion_omni.train.understand import Understand, prototypes
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begin:
    """What a stage begins with: a fresh model of ``config``, or the checkpoint ``parent``."""

    config: OmniConfig | None = None
    parent: str | None = None


def configuration(name: str) -> OmniConfig:
    """A preset's name, or the path of a JSON file of :class:`OmniConfig`."""
    if name in PRESETS or not name.endswith(".json"):
        return OmniConfig.preset(name)
    try:
        return OmniConfig.from_json(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise EmotionOmniError(f"Cannot read the configuration {name!r}: {error.strerror}.", "config") from error


def train(
    stage: str, begin: Begin, data: str, folder: Path, settings: Settings, resume: bool = False
) -> dict[str, Any]:
    """Run a stage, ``understand`` or ``speak`` → the report, which is also written to ``folder``.

    Raises :class:`EmotionOmniError` (codes ``config``, ``data``, ``exists``, ``resume``, ``checkpoint``, ``diverged``
    and those of sounds that cannot be used).
    """
    begun = time.monotonic()
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    settings = _agreed(settings, accelerator.mixed_precision)
    _room(folder, resume)
    rows = dialogues.read(data, settings.held_out)
    model, parent = _model(stage, begin, settings)
    examples = _examples(stage, rows, model, settings, accelerator)
    lesson = _lesson(stage, model, examples["train"], settings, parent is not None)
    keeper = Keeper(folder, stage, model, rows, settings, parent, accelerator)
    run = Run(
        lesson,
        examples["train"],
        examples["dev"],
        settings,
        accelerator,
        folder,
        _begun_with(stage, model, rows, settings, parent),
        keeper.keep,
    )
    if resume:
        run.resume()
    outcome = run.go()
    report = _report(stage, outcome, model, rows, examples, settings, accelerator) | {
        "total_seconds": round(time.monotonic() - begun, 1)
    }
    if accelerator.is_main_process:
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _agreed(settings: Settings, mixed: str) -> Settings:
    """``--precision`` and accelerate's ``--mixed_precision`` mean the same computation: either one asks for it."""
    if mixed not in ("no", "bf16"):
        raise EmotionOmniError(
            f"--mixed_precision {mixed} is not taken. Use bf16 or no: half precision of 16 bits overflows.", "config"
        )
    return dataclasses.replace(settings, precision="bfloat16") if mixed == "bf16" else settings


def _room(folder: Path, resume: bool) -> None:
    if (folder / STATE).exists() and not resume:
        raise EmotionOmniError(
            f"{str(folder)!r} holds a run already. Add --resume to go on with it, or name another folder with --out.",
            "exists",
        )
    folder.mkdir(parents=True, exist_ok=True)


def _model(stage: str, begin: Begin, settings: Settings) -> tuple[Omni, str | None]:
    """→ the model and the identity of the checkpoint it comes from."""
    dtype = getattr(torch, settings.frozen)
    if begin.parent is None:
        if begin.config is None or stage == "speak":
            raise EmotionOmniError("Stage speak goes on from what understands. Name its folder with --from.", "config")
        return Omni.build(begin.config, dtype=dtype, seed=settings.seed), None
    folder = checkpoint.find(begin.parent)
    model, about = checkpoint.load(folder, dtype=dtype)
    if stage == "speak" and "understand" not in about.stages:
        raise EmotionOmniError(
            f"The checkpoint {begin.parent!r} has not learnt to understand. Train that first.", "checkpoint"
        )
    if "speak" not in about.stages:
        with seeded(settings.seed):
            model.speech_decoder = SpeechDecoder(model.config).eval()
    return model, checkpoint.identity(folder)


def _examples(
    stage: str, rows: Dialogues, model: Omni, settings: Settings, accelerator: Accelerator
) -> dict[str, Examples]:
    """Training and held-out rows with all their features computed."""
    folder = Path(settings.feature_folder) if settings.feature_folder else weights.cache() / "features"
    features = Features(folder, settings.half_features)
    networks = sources(model.config, folder, stage == "speak", str(accelerator.device))
    found = {
        split: Examples(_usable(stage, rows, split), model.config, features, networks, model.prompt_builder)
        for split in ("train", "dev")
    }
    _need_speech(stage, rows, found["train"])
    with tqdm(
        desc="features", file=sys.stderr, disable=not accelerator.is_main_process or not sys.stderr.isatty()
    ) as bar:
        for examples in found.values():
            examples.prepare(accelerator.process_index, accelerator.num_processes, bar.update)
    accelerator.wait_for_everyone()
    for examples in found.values():
        examples.measure()
    features.release()
    return found


def _usable(stage: str, rows: Dialogues, split: str) -> list[dialogues.Dialogue]:
    """Speech is learnt from spoken answers only."""
    return [row for row in rows.of(split) if stage == "understand" or row.reply_audio is not None]


def _need_speech(stage: str, rows: Dialogues, usable: Examples) -> None:
    silent = sum(row.reply_audio is None for row in rows.of("train"))
    if silent:
        what = "teach words but no emotion" if stage == "understand" else "are left out"
        log.warning("%d of %d training rows have no reply_audio; they %s.", silent, len(rows.of("train")), what)
    if not len(usable):
        raise EmotionOmniError(
            f"No training row of {rows.name} has a spoken answer, and speech is learnt from those. Give rows a reply_audio.",
            "data",
        )


def _lesson(stage: str, model: Omni, examples: Examples, settings: Settings, goes_on: bool) -> Lesson:
    if stage == "speak":
        return Speak(model, settings.seed)
    found = prototypes(examples, model.config.emotion.width)
    if found.any() or not goes_on:
        model.prototypes.copy_(found)
    if not found.any():
        log.warning("No training row has both reply_audio and reply_emotion: planned emotions will have no names.")
    if settings.checkpointing:
        model.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
    return Understand(model, settings.emotion_weight)


def _begun_with(stage: str, model: Omni, rows: Dialogues, settings: Settings, parent: str | None) -> dict[str, Any]:
    chosen = {name: value for name, value in dataclasses.asdict(settings).items() if name not in MAY_CHANGE}
    return {
        "stage": stage,
        "data": rows.sha256,
        "parent": parent,
        "config": json.loads(model.config.to_json()),
    } | chosen


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a checkpoint saves of a model, put together from all processes."""

    config: OmniConfig
    tensors: Mapping[str, Tensor]

    def trained_state_dict(self, parts: Sequence[str]) -> dict[str, Tensor]:
        return {name: value for name, value in self.tensors.items() if name.partition(".")[0] in parts}


class Keeper:
    """Writes checkpoints of a run."""

    def __init__(
        self,
        folder: Path,
        stage: str,
        model: Omni,
        rows: Dialogues,
        settings: Settings,
        parent: str | None,
        accelerator: Accelerator,
    ) -> None:
        self.folder, self.stage, self.model, self.rows = folder, stage, model, rows
        self.settings, self.parent, self.accelerator = settings, parent, accelerator

    def keep(self, which: str, step: int, held_out: Mapping[str, float]) -> None:
        """``which``: the folder's name, ``best`` or ``last``. All processes call it together."""
        parts = UNDERSTAND if self.stage == "understand" else UNDERSTAND + SPEAK
        learnt = Learnt(
            self.model.config,
            {name: state.whole(value) for name, value in self.model.trained_state_dict(parts).items()},
        )
        if self.accelerator.is_main_process:
            # all that save() asks of a model is its configuration and what was trained
            checkpoint.save(self.folder / which, cast(Omni, learnt), self._about(step, held_out), parts)
        self.accelerator.wait_for_everyone()

    def _about(self, step: int, held_out: Mapping[str, float]) -> checkpoint.About:
        config = self.model.config
        return checkpoint.About(
            name=self.folder.resolve().name,
            stages=("understand",) if self.stage == "understand" else ("understand", "speak"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            parent=self.parent,
            data=(checkpoint.Data(self.rows.name, self.rows.sha256, len(self.rows.of("train"))),),
            base_models={
                "semantic": config.semantic.name,
                "emotion": config.emotion.name,
                "language_model": config.language_model.name,
            },
            steps=step,
            metrics=dict(held_out),
            seed=self.settings.seed,
            version=__version__,
        )


def _report(
    stage: str,
    outcome: Outcome,
    model: Omni,
    rows: Dialogues,
    examples: Mapping[str, Examples],
    settings: Settings,
    accelerator: Accelerator,
) -> dict[str, Any]:
    parameters = [(value.numel(), value.requires_grad) for value in model.parameters()]
    return {
        "stage": stage,
        "steps": outcome.done,
        "of": outcome.total,
        "stopped": outcome.stopped,
        "loss": outcome.loss,
        "held_out": outcome.held_out,
        "best": {"loss": outcome.best, "step": outcome.best_step},
        "seconds": round(outcome.seconds, 1),
        "tokens_per_second": round(outcome.tokens / max(outcome.seconds, 1e-9), 1),
        "utterances_per_second": round(outcome.utterances / max(outcome.seconds, 1e-9), 2),
        "peak_megabytes": _peak_megabytes(accelerator),
        "parameters": {
            "trained": sum(count for count, learns in parameters if learns),
            "all": sum(count for count, _ in parameters),
        },
        "data": {"name": rows.name, "sha256": rows.sha256, "ignored_columns": list(rows.ignored)} | rows.counts(),
        "learnt_from": len(examples["train"]),
        "measured_on": len(examples["dev"]),
        "settings": dataclasses.asdict(settings),
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "machine": processors.describe(),
    }


def _peak_megabytes(accelerator: Accelerator) -> dict[str, float]:
    peaks = {"process": round(processors.peak_megabytes(), 1)}
    if accelerator.device.type == "cuda":
        peaks["device"] = round(torch.cuda.max_memory_allocated(accelerator.device) / 1e6, 1)
    return peaks
