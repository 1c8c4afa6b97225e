"""A tiny random checkpoint of the end-to-end model, saved and loaded as a trained one would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emotion_omni import __version__, checkpoint, engine
from emotion_omni.omni.config import OmniConfig, SpeechSampling, TextSampling
from emotion_omni.omni.model import Omni
from emotion_omni.synthesis import codec

BRIEF = TextSampling(max_new_tokens=16)  # random weights babble on until they are stopped
BRIEFLY = SpeechSampling(max_tokens_per_text_token=3, max_extra_tokens=5)


def save(folder: Path, *, speaks: bool = True, knows: tuple[int, ...] = (), seed: int = 0) -> Path:
    """→ the folder of the checkpoint. ``knows``: the emotions that some answer of its training set had."""
    model = Omni.build(OmniConfig.preset("tiny"), seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # an adaptation that does something
        for name, value in model.language_model.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=draw)
        for number in knows:
            model.prototypes[number] = torch.randn(model.prototypes.shape[1], generator=draw)
    about = checkpoint.About(
        name=folder.name,
        stages=("understand", "speak") if speaks else ("understand",),
        created="2026-01-31T12:00:00+00:00",
        parent=None,
        data=(),
        base_models={},
        steps=0,
        metrics={},
        seed=seed,
        version=__version__,
    )
    return checkpoint.save(folder, model, about)


def give_voice(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Where the package's own codec is not trained yet, a random one hums in its place."""
    if not codec.SHIPPED.exists():
        codec.save_codec(folder / "codec.safetensors", codec.CodecVocoder.random().codec)
        patch.setattr(codec, "SHIPPED", folder / "codec.safetensors")


def load(folder: Path) -> engine.Engine:
    """The engine of a checkpoint, to answer in a few words."""
    chosen = engine.load("omni", str(folder))
    chosen.generator.text_sampling, chosen.generator.speech_sampling = BRIEF, BRIEFLY
    return chosen
