"""A hub id or a folder → a transformers model, or an error that says what to do.

Only safetensors are read and no code of a repository is run. A model with weights that its file lacks is refused:
randomly initialized ones would answer all the same. Knows nothing of what a model is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from emotion_omni import weights
from emotion_omni.types import EmotionOmniError


def find_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` → a device of this machine.

    Raises :class:`EmotionOmniError` (code ``device``).
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EmotionOmniError(f"{name!r} is not a device. Use auto, cpu, cuda or cuda:1.", "device") from error
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise EmotionOmniError(
            f"There is no device {name}: torch sees {found} GPUs. Set device to auto or cpu.", "device"
        )
    return device


def load(kind: Any, name: str, revision: str, dtype: str, device: torch.device, **more: Any) -> Any:
    """A model of the transformers class ``kind`` on ``device``, in evaluation mode, without gradients.

    Raises :class:`EmotionOmniError` (codes ``weights``, ``missing-package``, ``memory``).
    """
    with explained(name):
        model, report = kind.from_pretrained(
            name,
            revision=revision or "main",
            dtype=dtype_on(dtype, device),
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **more,
        )
    lacking = [str(key) for what in ("missing_keys", "mismatched_keys", "error_msgs") for key in report.get(what, ())]
    if lacking:
        raise EmotionOmniError(
            f"{name!r} lacks {len(lacking)} of the weights of a {type(model).__name__}, {lacking[0]} for one. "
            "It was saved for another class or by another version; choose another model.",
            "weights",
        )
    return model.eval().requires_grad_(False)


def dtype_on(name: str, device: torch.device) -> torch.dtype:
    """Half precision on GPUs only: a CPU has few fast paths for it and lacks some operations."""
    return getattr(torch, name) if device.type == "cuda" else torch.float32


def load_tokenizer(name: str, revision: str) -> Any:
    """Raises :class:`EmotionOmniError` (code ``weights``; ``config`` for one that is not of the package tokenizers)."""
    with explained(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    if not tokenizer.is_fast:
        raise EmotionOmniError(
            f"{name!r} has no fast tokenizer (tokenizer.json). Choose a model that has one.", "config"
        )
    return tokenizer


def load_features(name: str, revision: str) -> Any:
    """The feature extractor: samples → the input of the model."""
    with explained(name):
        return transformers.AutoFeatureExtractor.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Whatever transformers, the hub client or a file reader raises while loading ``name`` → :class:`EmotionOmniError`.

    Codes: ``memory``, ``missing-package``, ``weights``. Errors of our own pass through.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(f"loading {name}") from error
    except ImportError as error:
        raise EmotionOmniError(
            f"{name!r} needs a package that is not installed: {_first(error)}", "missing-package"
        ) from error
    except weights.loading_errors() as error:  # no network or repository, unknown architecture, broken file
        raise EmotionOmniError(
            f"{name!r} cannot be loaded: {_first(error)} Check the name and the network, log in for a gated model "
            "(hf auth login), or name a folder that holds it.",
            "weights",
        ) from error


@contextmanager
def memory_explained(doing: str) -> Iterator[None]:
    """What torch raises when a GPU is full → :class:`EmotionOmniError` (code ``memory``)."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(doing) from error


def out_of_memory(doing: str) -> EmotionOmniError:
    return EmotionOmniError(
        f"The GPU ran out of memory while {doing}. Close other programs that use it, set responder.four_bit to true, "
        "or choose smaller models: the engine hub:light.",
        "memory",
    )


def _first(error: Exception) -> str:
    """The first line of a message as a sentence; the rest is often a page of advice about other things."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
    line = f"it has no {line}" if isinstance(error, KeyError) else line
    return line if line.endswith((".", "!", "?")) else line + "."
