"""Writes the checkpoints of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from emotion_omni import __version__, checkpoint
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.train.dialogues import Dialogues
from emotion_omni.train.settings import Settings
from emotion_omni.train.state import full_tensor


@dataclass(frozen=True, eq=False)
class TrainedTensors:
    """What a checkpoint stores of a model, gathered from all processes."""

    config: OmniConfig
    tensors: Mapping[str, Tensor]

    def trained_state_dict(self, parts: Sequence[str]) -> dict[str, Tensor]:
        return {name: value for name, value in self.tensors.items() if name.partition(".")[0] in parts}


class CheckpointWriter:
    """Of one run. ``parent``: the identity of the checkpoint that the run starts from."""

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

    def save(self, name: str, step: int, metrics: Mapping[str, float]) -> None:
        """``name``: of the checkpoint's folder, ``best`` or ``last``. All processes call it together."""
        parts = UNDERSTAND if self.stage == "understand" else UNDERSTAND + SPEAK
        tensors = {key: full_tensor(value) for key, value in self.model.trained_state_dict(parts).items()}
        if self.accelerator.is_main_process:
            model = TrainedTensors(self.model.config, tensors)
            checkpoint.save(self.folder / name, model, self._about(step, metrics), parts)
        self.accelerator.wait_for_everyone()

    def _about(self, step: int, metrics: Mapping[str, float]) -> checkpoint.About:
        config = self.model.config
        return checkpoint.About(
            name=self.folder.resolve().name,
            stages=("understand",) if self.stage == "understand" else ("understand", "speak"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            parent=self.parent,
            data=(checkpoint.Data(self.rows.name, self.rows.sha256, len(self.rows.of("train"))),),
            base_models=checkpoint.base_models(config),
            steps=step,
            metrics=dict(metrics),
            seed=self.settings.seed,
            version=__version__,
        )
