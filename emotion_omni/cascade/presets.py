"""The cascades that have a name: ``embedded``, ``hub``, ``hub:light`` and ``llm``. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.checkpoint import promotion
from emotion_omni.checkpoint.part_files import PART_FILES, files_of
from emotion_omni.recognition.config import SpeechEmotionConfig, TranscriberConfig, WhisperCT2Config, WhisperHFConfig
from emotion_omni.response.config import (
    PlannerConfig,
    Qwen2Config,
    RerankedConfig,
    ResponderConfig,
    SmolLM2Config,
    TransformersResponderConfig,
    openai_from_environment,
)
from emotion_omni.strict import nearest, refuse
from emotion_omni.synthesis.config import CosyVoice2Config, KokoroConfig
from emotion_omni.types import EmotionOmniError

VARIABLE = "EMOTION_OMNI_CASCADE"  # environment: a preset or a file, for the engine "cascade" without one


def embedded() -> CascadeConfig:
    """Everything on two CPU cores."""
    return CascadeConfig(WhisperCT2Config(), PlannerConfig("guard"), Qwen2Config(), KokoroConfig(), "cpu")


def embedded_small() -> CascadeConfig:
    """The same with a language model of 135 million parameters: half the memory and a third of the download."""
    return replace(embedded(), responder=SmolLM2Config())


def hub() -> CascadeConfig:
    """Large models by Hugging Face id: about 22 GB of GPU memory, and CosyVoice2, which is prepared once."""
    responder = TransformersResponderConfig()
    return CascadeConfig(WhisperHFConfig(), PlannerConfig("guard"), responder, CosyVoice2Config(), "auto")


def hub_light() -> CascadeConfig:
    """Smaller models of the same kinds under free licences (Qwen2.5-3B's is not): fits 8 GB, needs nothing prepared."""
    transcriber = TranscriberConfig("openai/whisper-large-v3-turbo", "41f01f3fe87f28c78e2fbf8b568835947dd65ed9")
    return CascadeConfig(
        WhisperHFConfig(transcriber=transcriber, emotion=SpeechEmotionConfig()),
        PlannerConfig("guard"),
        TransformersResponderConfig("Qwen/Qwen2.5-1.5B-Instruct", "989aa7980e4cf806f80c7fef2b1adb7bc71aa306"),
        KokoroConfig(),
        "auto",
    )


PRESETS: dict[str, Callable[[], CascadeConfig]] = {
    "embedded": embedded,
    "embedded-small": embedded_small,
    "hub": hub,
    "hub:light": hub_light,
}


def llm(model: str = "") -> tuple[str, CascadeConfig]:
    """``embedded`` with a language model of the server that the environment names → the engine's name, its settings.

    Raises :class:`EmotionOmniError` (code ``config``).
    """
    responder = openai_from_environment(model)
    shown = Path(responder.model).name if Path(responder.model).exists() else responder.model
    return f"llm:{shown}", replace(embedded(), responder=responder)


def preset(name: str) -> CascadeConfig:
    """Raises :class:`EmotionOmniError` (code ``config``)."""
    if name not in PRESETS:
        raise refuse(f"Unknown preset {name!r}. Use one of: {', '.join(PRESETS)}.{nearest(name, PRESETS)}")
    return PRESETS[name]()


def find(source: str = "") -> tuple[str, CascadeConfig]:
    """A preset or a file, by default what ``EMOTION_OMNI_CASCADE`` names → the engine's name, its settings.

    Raises :class:`EmotionOmniError` (code ``config``).
    """
    given = source or os.environ.get(VARIABLE, "")
    if not given:
        raise refuse(f"The engine cascade needs a file: cascade:FILE, or {VARIABLE} with a file or a preset.")
    if given in PRESETS:
        return given, preset(given)
    path = Path(given)
    if not path.is_file():
        raise refuse(
            f"{given!r} is neither a cascade file nor a preset. Name a YAML or JSON file or one of: "
            f"{', '.join(PRESETS)}.{nearest(given, PRESETS)}"
        )
    return f"cascade:{path.stem}", CascadeConfig.read(path)


def embedded_with(source: str) -> tuple[str, CascadeConfig]:
    """The preset ``embedded`` with weights of a checkpoint in place of the shipped ones → its name, its settings.

    ``source``: a promoted name, which may be followed by ``@VERSION``, or a folder with any of
    :data:`~emotion_omni.checkpoint.part_files.PART_FILES`; the small language model answers where its
    files alone are there. Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    shown, folder = promotion.find(source) or (Path(source).resolve().name, Path(source))
    if not folder.is_dir():
        names = [one.name for one in promotion.listed()]
        known = f" Promoted here: {', '.join(names)}." if names else ""
        raise EmotionOmniError(
            f"There is no folder {source!r}, which embedded:FOLDER needs.{known}{nearest(source, names)}", "checkpoint"
        )
    files_of(folder)  # none: says so
    file = {name: str(folder / name) if (folder / name).is_file() else "" for name in PART_FILES}
    config = replace(
        embedded(),
        recognizer=WhisperCT2Config(weights=file["speech_emotion.safetensors"]),
        planner=PlannerConfig("guard", file["guard.safetensors"]),
        crisis=file["crisis.safetensors"],
        responder=_responder_with(file),
        synthesizer=KokoroConfig(
            g2p=file["g2p.safetensors"],
            prosody=file["prosody.json"],
            directions=file["kokoro_directions.safetensors"],
        ),
    )
    return f"embedded:{shown}", config


def _responder_with(file: Mapping[str, str]) -> ResponderConfig:
    """The responder whose files there are, by default that of ``embedded``. ``file``: name → path or empty."""
    small, bank = file["responder.safetensors"], file["reply_bank.safetensors"]
    large, reranker = file["qwen2_responder.safetensors"], file["reranker.safetensors"]
    if large or not (small or bank):
        return Qwen2Config(weights=large, reranker=reranker)
    if bank or reranker:
        return RerankedConfig(weights=small, bank=bank, reranker=reranker)
    return SmolLM2Config(weights=small)
