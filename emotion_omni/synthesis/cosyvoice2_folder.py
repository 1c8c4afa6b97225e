"""The folder of CosyVoice2: where it is, whether it is complete, and reading its files strictly.

It is made once by :mod:`emotion_omni.synthesis.cosyvoice2_convert` and holds safetensors, one voice and two JSON files.
Knows the names of files, not what the networks do.
"""

from __future__ import annotations

import os
import pickle
import shlex
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.types import EmotionOmniError

VARIABLE = "EMOTION_OMNI_COSYVOICE"  # environment: names the folder
MARKER = "token2wav.json"  # written last: a folder with this file is complete
TOKENIZER = "speech_tokenizer_v2.onnx"
SPEAKER_ENCODER = "campplus.onnx"
COMMAND = "python -m emotion_omni convert cosyvoice2"


def find_folder(chosen: str | Path | None = None) -> Path:
    """``chosen``, else what ``EMOTION_OMNI_COSYVOICE`` names, else ``cosyvoice2`` in the cache of weights."""
    return Path(chosen or os.environ.get(VARIABLE) or weights.cache() / "cosyvoice2")


def is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def require_folder(chosen: str | Path | None, alternative: str) -> Path:
    """:func:`find_folder`, if it is complete. ``alternative``: what else the user can do, a sentence.

    Raises :class:`EmotionOmniError` (code ``missing``).
    """
    folder = find_folder(chosen)
    if not is_complete(folder):
        command = f"{COMMAND} {shlex.quote(str(chosen))}" if chosen else COMMAND
        raise EmotionOmniError(f"There is no CosyVoice2 in {folder}. Run once: {command}. {alternative}", "missing")
    return folder


def existing(path: Path) -> Path:
    """Raises :class:`EmotionOmniError` (code ``missing``)."""
    if not path.is_file():
        raise EmotionOmniError(
            f"There is no {path.name} in {path.parent}. It is among the files of CosyVoice2-0.5B (FunAudioLLM on the "
            f"Hugging Face hub), or in the folder made by: {COMMAND}. Name the folder that has it.",
            "missing",
        )
    return path


def unpickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a published .pt file, without the prefix that adversarial training left on the vocoder's names.

    A pickle may run code, so it is read with ``weights_only=True``. Raises (codes ``missing``, ``checkpoint``).
    """
    try:
        state_dict = torch.load(existing(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise EmotionOmniError(
            f"{path.name} is not a file of weights alone ({reason}). Fetch it again.", "checkpoint"
        ) from error
    return {name.removeprefix("generator."): weight for name, weight in state_dict.items()}


def load_safetensors(module: nn.Module, path: Path) -> None:
    """Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``)."""
    try:
        state_dict = safetensors.torch.load_file(existing(path))
    except SafetensorError as error:
        raise EmotionOmniError(
            f"{path.name} is incomplete ({error}). Make it again: {COMMAND}.", "checkpoint"
        ) from error
    load_strictly(module, state_dict, path)


def load_strictly(module: nn.Module, state_dict: dict[str, Tensor], path: Path) -> None:
    """``path``: the file that the weights are from. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    try:
        module.load_state_dict(state_dict, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise EmotionOmniError(
            f"{path.name} does not fit the model: {reason}. Use the files of CosyVoice2-0.5B.", "checkpoint"
        ) from error


def save_safetensors(module: nn.Module, path: Path) -> None:
    state_dict = {name: weight.contiguous() for name, weight in module.state_dict().items()}
    safetensors.torch.save_file(state_dict, path)
