"""The state of a training run on disk: tensors and a few words, in one safetensors file.

One file, written beside its place and renamed onto it, is whole at every moment: killed at any point,
a run leaves its last state or the one before. No pickle. Tensors may be spread over processes (FSDP);
all of them then call :func:`take` and :func:`give` together, and the first writes.
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

from emotion_omni.types import EmotionOmniError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of each parameter


@dataclass(frozen=True, eq=False)
class State:
    """``tensors`` by name and ``about``: the step, and what the run was begun with."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def take(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Trained parameters and the optimizer's memory of them, whole and on the CPU."""
    found = {}
    for name, parameter in _trained(module).items():
        found[f"model.{name}"] = whole(parameter)
        for moment, value in optimizer.state.get(parameter, {}).items():
            found[f"{moment}.{name}"] = whole(value)
    return found


@torch.no_grad()
def give(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of :func:`take`. Raises :class:`EmotionOmniError` (code ``resume``) when the names differ."""
    trained = _trained(module)
    names = {name.partition(".")[2] for name in tensors if name.startswith("model.")}
    if wrong := sorted(names ^ set(trained)):
        raise EmotionOmniError(
            f"The saved state and the model differ in {wrong[0]!r}. Begin in a new folder.", "resume"
        )
    for name, parameter in trained.items():
        parameter.copy_(_like(tensors[f"model.{name}"], parameter))
        remembered = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
        if remembered:
            optimizer.state[parameter] = {
                moment: value.clone() if moment == "step" else _like(value, parameter)
                for moment, value in remembered.items()
            }


def whole(value: Tensor) -> Tensor:
    """A tensor that may be spread over processes → a copy of all of it, on the CPU."""
    value = value.detach()
    return (value.full_tensor() if isinstance(value, DTensor) else value).to("cpu", copy=True)


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    value = value.to(parameter.device, parameter.dtype, copy=True)
    return (
        distribute_tensor(value, parameter.device_mesh, parameter.placements)
        if isinstance(parameter, DTensor)
        else value
    )


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def save(path: Path, state: State) -> None:
    part = path.with_suffix(".part")
    save_file(
        {name: value.contiguous() for name, value in state.tensors.items()}, part, {"about": json.dumps(state.about)}
    )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path) -> State:
    """Raises :class:`EmotionOmniError` (code ``resume``) when the file is not a state."""
    try:
        with safe_open(path, "pt") as file:
            return State(
                {name: file.get_tensor(name) for name in file.keys()}, json.loads((file.metadata() or {})["about"])
            )  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise EmotionOmniError(
            f"{str(path)!r} is no saved state of a run ({error}). Begin in a new folder.", "resume"
        ) from error
