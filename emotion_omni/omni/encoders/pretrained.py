"""Encoders of transformers from the hub or a folder: where they are, their weights, their identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers

from emotion_omni import weights


def locate(name: str) -> tuple[dict[str, Any], Any]:
    """A hub id, ``id@revision`` or a folder → arguments of ``from_pretrained``, and the network's configuration.

    A revision is resolved once to its commit, so that all files are from one commit, which the identity then names.
    """
    source: dict[str, Any] = {"pretrained_model_name_or_path": name}
    if not Path(name).is_dir():
        name, _, revision = name.partition("@")
        found = huggingface_hub.hf_hub_download(
            name, "config.json", revision=revision or None, etag_timeout=weights.HUB_PATIENCE
        )
        source = {"pretrained_model_name_or_path": name, "revision": Path(found).parent.name}
    return source, transformers.AutoConfig.from_pretrained(**source, trust_remote_code=False)


def load_network(kind: Any, source: dict[str, Any], **more: Any) -> Any:
    """Only safetensors are read, no code of the repository is run, and missing weights are an error."""
    network, report = kind.from_pretrained(
        **source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **more
    )
    keys = [str(key) for what in ("missing_keys", "mismatched_keys") for key in report[what]]
    missing = [key for key in keys if "masked_spec_embed" not in key]  # for pretraining; many files lack it
    if missing:
        raise ValueError(f"Its file of weights lacks {len(missing)} tensors, such as {missing[0]}.")
    return network


def identity(source: dict[str, Any]) -> str:
    """The repository and its commit; of a folder, which may move or change, its content."""
    name = source["pretrained_model_name_or_path"]
    if "revision" in source:
        return f"{name}@{source['revision']}"
    return f"folder {digest(sorted([*Path(name).glob('*.safetensors'), *Path(name).glob('*config.json')]))}"


def digest(files: Sequence[Path]) -> str:
    return hashlib.sha256("".join(weights.sha256(file) for file in files).encode()).hexdigest()
