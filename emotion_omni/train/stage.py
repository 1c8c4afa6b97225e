"""One stage of training from start to end: data and configuration in, a checkpoint and a report out.

A run has a folder of its own: ``best`` and ``last`` are checkpoints, ``log.jsonl`` and ``tensorboard`` its log,
``report.json`` its result, ``state.safetensors`` what it resumes from. It runs alone or in several processes, with the
same result:

    accelerate launch --num_processes 8 -m emotion_omni train understand --config paper …
    accelerate launch --num_processes 8 --use_fsdp --fsdp_version 2 --mixed_precision bf16
      --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_transformer_layer_cls_to_wrap Qwen2DecoderLayer,Block
      --fsdp_cpu_ram_efficient_loading false -m emotion_omni train …

The second one shards the weights over the GPUs. accelerate supports neither on CPUs: there use
`torchrun --standalone --nproc-per-node 2 -m emotion_omni train …`, which does not shard.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from emotion_omni import checkpoint, processors, weights
from emotion_omni.omni.config import PRESETS, OmniConfig
from emotion_omni.omni.language_model import seeded
from emotion_omni.omni.model import Omni
from emotion_omni.omni.speech_decoder import SpeechDecoder
from emotion_omni.train import dialogues
from emotion_omni.train.batches import DialogueDataset
from emotion_omni.train.checkpoint_writer import CheckpointWriter
from emotion_omni.train.dialogues import Dialogue, Dialogues
from emotion_omni.train.feature_extractors import extractors
from emotion_omni.train.features import FeatureCache
from emotion_omni.train.loop import STATE, RunResult, Trainer
from emotion_omni.train.settings import Settings, affects
from emotion_omni.train.speak import SpeakTask
from emotion_omni.train.task import TrainingTask
from emotion_omni.train.understand import UnderstandTask, prototypes
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a stage starts from: a new model of ``config``, or the checkpoint ``parent``.

    ``drop_speech``: stage ``understand`` may start from a checkpoint that speaks, and leave its speech decoder behind.
    """

    config: OmniConfig | None = None
    parent: str | None = None
    drop_speech: bool = False


def configuration(name: str) -> OmniConfig:
    """A preset's name, or the path of a JSON file of :class:`OmniConfig`."""
    if name in PRESETS or not name.endswith(".json"):
        return OmniConfig.preset(name)
    try:
        return OmniConfig.from_json(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise EmotionOmniError(f"Cannot read the configuration {name!r}: {error.strerror}.", "config") from error


def train(
    stage: str, start: Start, data: str, folder: Path, settings: Settings, resume: bool = False
) -> dict[str, Any]:
    """Run a stage, ``understand`` or ``speak`` → the report, which is also written to ``folder``.

    Raises :class:`EmotionOmniError` (codes ``config``, ``data``, ``exists``, ``resume``, ``checkpoint``, ``diverged``
    and those of unusable recordings).
    """
    started = time.monotonic()
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    settings = with_mixed_precision(settings, accelerator.mixed_precision)
    _prepare_folder(folder, resume)
    rows = dialogues.read(data, settings.validation_ratio)
    model, parent = build_model(stage, start, settings)
    datasets = _datasets(stage, rows, model, settings, accelerator)
    task = _task(stage, model, datasets["train"], settings, parent is not None)
    writer = CheckpointWriter(folder, stage, model, rows, settings, parent, accelerator)
    run = _run(stage, model, rows, settings, parent)
    trainer = Trainer(task, datasets["train"], datasets["dev"], settings, accelerator, folder, run, writer.save)
    if resume:
        trainer.resume()
    result = trainer.train()
    report = _report(stage, result, model, rows, datasets, settings, accelerator)
    report["total_seconds"] = round(time.monotonic() - started, 1)
    if accelerator.is_main_process:
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def with_mixed_precision(settings: Settings, mixed_precision: str) -> Settings:
    """``--precision`` and accelerate's ``--mixed_precision`` mean the same computation: either one selects it."""
    if mixed_precision not in ("no", "bf16"):
        raise EmotionOmniError(
            f"--mixed_precision {mixed_precision} is not supported: float16 overflows. Use bf16 or no.", "config"
        )
    return dataclasses.replace(settings, precision="bfloat16") if mixed_precision == "bf16" else settings


def _prepare_folder(folder: Path, resume: bool) -> None:
    if (folder / STATE).exists() and not resume:
        raise EmotionOmniError(
            f"{str(folder)!r} already holds a run. Add --resume to continue it, or name another folder with --out.",
            "exists",
        )
    folder.mkdir(parents=True, exist_ok=True)


# --- the model ----------------------------------------------------------------------------------------------------


def build_model(stage: str, start: Start, settings: Settings) -> tuple[Omni, str | None]:
    """→ the model, and the identity of the checkpoint it starts from."""
    dtype = getattr(torch, settings.base_dtype)
    if start.parent is None:
        if start.config is None or stage == "speak":
            raise EmotionOmniError(
                "Stage speak starts from a checkpoint of stage understand. Name it with --parent.", "config"
            )
        return Omni.build(start.config, dtype=dtype, seed=settings.seed), None
    folder = checkpoint.find(start.parent)
    model, about = checkpoint.load(folder, dtype=dtype)
    _check_stages(stage, start, about)
    if "speak" not in about.stages:
        with seeded(settings.seed):
            model.speech_decoder = SpeechDecoder(model.config).eval()
    return model, checkpoint.identity(folder)


def _check_stages(stage: str, start: Start, about: checkpoint.About) -> None:
    if stage == "speak":
        if "understand" not in about.stages:
            raise EmotionOmniError(
                f"The checkpoint {start.parent!r} has no stage understand. Train that first.", "checkpoint"
            )
        return
    if "speak" not in about.stages:
        return
    if not start.drop_speech:
        raise EmotionOmniError(
            f"The checkpoint {start.parent!r} can speak. Stage understand changes the hidden states that its speech "
            "decoder was trained on, so the new checkpoint would not contain the decoder. Add --drop-speech to "
            "continue without it, and train stage speak again afterwards.",
            "checkpoint",
        )
    log.warning(
        "The speech decoder of %r is dropped: the new checkpoint answers in text until stage speak is trained.",
        start.parent,
    )


# --- the data -----------------------------------------------------------------------------------------------------


def _datasets(
    stage: str, rows: Dialogues, model: Omni, settings: Settings, accelerator: Accelerator
) -> dict[str, DialogueDataset]:
    """Training and validation rows with all their features computed."""
    folder = Path(settings.feature_folder) if settings.feature_folder else weights.cache() / "features"
    features = FeatureCache(folder, settings.half_features)
    networks = extractors(model.config, folder, stage == "speak", str(accelerator.device))
    datasets = {
        split: DialogueDataset(_usable(stage, rows, split), model.config, features, networks, model.prompt_builder)
        for split in ("train", "dev")
    }
    _check_spoken_answers(stage, rows, datasets["train"])
    hidden = not accelerator.is_main_process or not sys.stderr.isatty()
    with tqdm(desc="features", file=sys.stderr, disable=hidden) as bar:
        for dataset in datasets.values():
            dataset.prepare(accelerator.process_index, accelerator.num_processes, bar.update)
    accelerator.wait_for_everyone()
    for dataset in datasets.values():
        dataset.measure()
    features.release()
    return datasets


def _usable(stage: str, rows: Dialogues, split: str) -> list[Dialogue]:
    """Speech is learned from spoken answers only."""
    return [row for row in rows.of(split) if stage == "understand" or row.reply_audio is not None]


def _check_spoken_answers(stage: str, rows: Dialogues, train_data: DialogueDataset) -> None:
    silent = sum(row.reply_audio is None for row in rows.of("train"))
    if silent:
        effect = "train the text but no emotion" if stage == "understand" else "are left out"
        log.warning("%d of %d training rows have no reply_audio; they %s.", silent, len(rows.of("train")), effect)
    if not len(train_data):
        raise EmotionOmniError(
            f"No training row of {rows.name} has a spoken answer, which stage speak needs. Give rows a reply_audio.",
            "data",
        )


def _task(stage: str, model: Omni, train_data: DialogueDataset, settings: Settings, has_parent: bool) -> TrainingTask:
    if stage == "speak":
        return SpeakTask(model, settings.seed)
    found = prototypes(train_data, model.config.emotion.width)
    if found.any() or not has_parent:
        model.prototypes.copy_(found)
    if not found.any():
        log.warning("No training row has both reply_audio and reply_emotion: planned emotions will have no labels.")
    if settings.gradient_checkpointing:
        model.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
    return UnderstandTask(model, settings.emotion_weight)


# --- what is stored -----------------------------------------------------------------------------------------------


def _run(stage: str, model: Omni, rows: Dialogues, settings: Settings, parent: str | None) -> dict[str, Any]:
    """Everything that what is learned depends on."""
    values = {name: value for name, value in dataclasses.asdict(settings).items() if affects(stage, name)}
    config = json.loads(model.config.to_json())
    return {"stage": stage, "data": rows.sha256, "parent": parent, "config": config} | values


def _report(
    stage: str,
    result: RunResult,
    model: Omni,
    rows: Dialogues,
    datasets: Mapping[str, DialogueDataset],
    settings: Settings,
    accelerator: Accelerator,
) -> dict[str, Any]:
    seconds = max(result.seconds, 1e-9)
    return {
        "stage": stage,
        "steps": result.done,
        "total_steps": result.total,
        "stopped": result.stopped,
        "loss": result.loss,
        "validation": result.validation,
        "best": {"loss": result.best, "step": result.best_step},
        "seconds": round(result.seconds, 1),
        "tokens_per_second": round(result.tokens / seconds, 1),
        "utterances_per_second": round(result.utterances / seconds, 2),
        "peak_megabytes": _peak_megabytes(accelerator),
        "parameters": {
            "trained": sum(value.numel() for value in model.parameters() if value.requires_grad),
            "all": sum(value.numel() for value in model.parameters()),
        },
        "data": {"name": rows.name, "sha256": rows.sha256, "ignored_columns": list(rows.ignored)} | rows.counts(),
        "train_rows": len(datasets["train"]),
        "validation_rows": len(datasets["dev"]),
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
