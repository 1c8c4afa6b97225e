"""The state of a training run on disk: tensors and a few values, in one safetensors file.

The file is written beside its target and renamed onto it, so it is whole at every moment: a run killed at any point
leaves its last state or the one before. No pickle. Tensors may be sharded over processes (FSDP); then all processes
call :func:`state_dict` and :func:`load_state_dict` together, and the main process writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from emotion_omni.omni.config import OmniConfig
from emotion_omni.train.settings import modernize
from emotion_omni.types import EmotionOmniError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of each parameter


@dataclass(frozen=True, eq=False)
class State:
    """``tensors`` by name, and ``about``: the step, and what the run was started with (``run``)."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def state_dict(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Trained parameters and the optimizer's moments, unsharded and on the CPU."""
    tensors = {}
    for name, parameter in _trained(module).items():
        tensors[f"model.{name}"] = full_tensor(parameter)
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}.{name}"] = full_tensor(value)
    return tensors


@torch.no_grad()
def load_state_dict(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of :func:`state_dict`. Raises :class:`EmotionOmniError` (code ``resume``) if the names differ."""
    trained = _trained(module)
    names = {name.partition(".")[2] for name in tensors if name.startswith("model.")}
    if different := sorted(names ^ set(trained)):
        raise EmotionOmniError(
            f"The saved state and the model differ in {different[0]!r}. Start in a new folder.", "resume"
        )
    for name, parameter in trained.items():
        parameter.copy_(_like(tensors[f"model.{name}"], parameter))
        moments = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
        if moments:
            optimizer.state[parameter] = {
                moment: value.clone() if moment == "step" else _like(value, parameter)
                for moment, value in moments.items()
            }


def full_tensor(value: Tensor) -> Tensor:
    """A tensor that may be sharded over processes → a copy of all of it, on the CPU."""
    value = value.detach()
    return (value.full_tensor() if isinstance(value, DTensor) else value).to("cpu", copy=True)


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    value = value.to(parameter.device, parameter.dtype, copy=True)
    if isinstance(parameter, DTensor):
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def save(path: Path, state: State) -> None:
    part = path.with_suffix(".part")
    tensors = {name: value.contiguous() for name, value in state.tensors.items()}
    save_file(tensors, part, {"about": json.dumps(state.about)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path) -> State:
    """Raises :class:`EmotionOmniError` (code ``resume``) if the file is not a training state."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            about = json.loads((file.metadata() or {})["about"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise EmotionOmniError(
            f"{str(path)!r} is not a training state ({error}). Start in a new folder.", "resume"
        ) from error
    return State(tensors, _modernize(about))


def _modernize(about: dict[str, Any]) -> dict[str, Any]:
    """Keys and settings of release 0.1 → those of today."""
    if "begun_with" not in about:
        return about
    renamed = {"begun_with": "run", "held_out": "validation"}
    about = {renamed.get(name, name): value for name, value in about.items()}
    run = modernize(about["run"].get("stage", "understand"), about["run"])
    if "config" in run:
        run["config"] = json.loads(OmniConfig.from_json(json.dumps(run["config"])).to_json())
    return about | {"run": run}
