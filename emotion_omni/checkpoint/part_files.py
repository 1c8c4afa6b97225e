"""Checkpoints of single parts of a cascade: which files are which part, and what each is trained on top of.

A folder holds any of :data:`PART_FILES`, beside the ``lineage.json`` of its training. Imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from emotion_omni import weights
from emotion_omni.checkpoint.errors import broken

PART_FILES: Mapping[str, str] = {  # file → part
    "speech_emotion.safetensors": "recognizer",
    "qwen2_responder.safetensors": "responder",
    "responder.safetensors": "small responder",
    "reranker.safetensors": "reranker",
    "reply_bank.safetensors": "reply bank",
    "guard.safetensors": "guard",
    "crisis.safetensors": "crisis detector",
    "g2p.safetensors": "letters to phonemes",
    "prosody.json": "prosody",
    "kokoro_directions.safetensors": "prosody",
}
_BASES = {  # part → a file of the outside model that it is trained on top of
    "recognizer": "whisper-base/model.bin",
    "responder": "qwen2/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "small responder": "smollm2/smollm2-135m-instruct-q4_1.gguf",
    "reranker": "minilm/model.safetensors",
    "reply bank": "minilm/model.safetensors",
    "guard": "minilm/model.safetensors",
    "crisis detector": "minilm/model.safetensors",
    "prosody": "kokoro/kokoro-82m-int8.onnx",
}


def files_of(folder: Path) -> dict[str, str]:
    """The part files of a folder with their SHA-256. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    if not folder.is_dir():
        raise broken(f"There is no folder {folder.name!r}. Name one that a training of a part has written.")
    found = {name: weights.sha256(folder / name) for name in PART_FILES if (folder / name).is_file()}
    if not found:
        raise broken(
            f"{folder.name!r} holds none of {', '.join(PART_FILES)}. Name a folder that python -m emotion_omni train "
            "recognizer, qwen2-responder, responder, reranker, guard, crisis, prosody or g2p has written."
        )
    return found


def parts_of(files: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(PART_FILES[name] for name in files))


def identity_of(files: Mapping[str, str]) -> str:
    """One SHA-256 over the files' names and hashes."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def base_models(files: Mapping[str, str]) -> dict[str, str]:
    """Part → ``id@revision`` of the outside model below it, or the file and its hash where it is of no hub."""
    return {part: _source(weights.find(_BASES[part])) for part in parts_of(files) if part in _BASES}


def _source(file: weights.File) -> str:
    hub = next((source for source in file.sources if isinstance(source, weights.Hub)), None)
    return f"{hub.repo}@{hub.revision}" if hub else f"{file.name}@{file.sha256}"
