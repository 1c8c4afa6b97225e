"""Four tiny dialogues and the shortest possible training runs on them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import noise, tone
from safetensors.torch import load_file

from emotion_omni.omni import language_model
from emotion_omni.omni.config import LanguageModelConfig, OmniConfig
from emotion_omni.omni.model import Omni
from emotion_omni.synthesis import codec
from emotion_omni.train import dialogues, stage
from emotion_omni.train.batches import DialogueDataset
from emotion_omni.train.feature_extractors import extractors
from emotion_omni.train.features import FeatureCache
from emotion_omni.train.settings import Settings

ROOT = Path(__file__).parents[1]
TINY = OmniConfig.preset("tiny")
REPLIES = (
    ("Well done!", "happy"),
    ("I am so sorry.", "sad"),
    ("Take your time.", "calm"),
    ("Oh no, really?", "surprised"),
)
ROWS = [
    {"query": f"q{index}.wav", "reply": reply, "reply_audio": f"r{index}.wav", "reply_emotion": felt, "split": "train"}
    for index, (reply, felt) in enumerate(REPLIES)
]
VALIDATION = {
    "query": "q4.wav",
    "reply": "Well, well.",
    "reply_audio": "r4.wav",
    "reply_emotion": "calm",
    "split": "dev",
}
QUICK = {"batch_size": 4, "learning_rate": 3e-3, "lora_learning_rate": 3e-3}


@pytest.fixture(scope="module", autouse=True)
def small_codec(tmp_path_factory):
    """Speech tokens of random weights: nothing here depends on what they mean."""
    path = tmp_path_factory.mktemp("voice") / "codec.safetensors"
    codec.save_codec(path, codec.CodecTokenizer.random(TINY.speech.codebook_size).codec)
    patch = pytest.MonkeyPatch()
    patch.setattr(codec, "SHIPPED", path)
    yield path
    patch.undo()


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> Path:
    """Recordings of queries and answers, of different lengths and pitches, and the folder of their features."""
    folder = tmp_path_factory.mktemp("sounds")
    for index in range(5):
        soundfile.write(folder / f"q{index}.wav", tone(0.6 + 0.3 * index, pitch=150 + 60 * index).samples, 16_000)
        soundfile.write(folder / f"r{index}.wav", noise(0.9 + 0.15 * index, seed=index).samples, 16_000)
    return folder


@pytest.fixture(scope="session")
def trained(sounds, tmp_path_factory) -> tuple[Path, dict]:
    """A run of stage 1 that others start from."""
    folder = tmp_path_factory.mktemp("understand")
    return folder, understand(sounds, folder, max_steps=40)


@pytest.fixture(scope="session")
def distinct_tokens(tmp_path_factory) -> OmniConfig:
    """Tiny, with random weights large enough to tell one token, and EOS, from another: LoRA alone cannot do that."""
    folder = tmp_path_factory.mktemp("language")
    model, tokenizer = language_model.load(TINY.language_model, TINY.lora)
    plain, generator = model.unload(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (value for value in plain.parameters() if value.ndim == 2):
            deviation = 0.4 if weight is plain.get_input_embeddings().weight else 0.16
            weight.normal_(0, deviation, generator=generator)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lora = dataclasses.replace(TINY.lora, rank=8)
    return dataclasses.replace(TINY, language_model=LanguageModelConfig(str(folder), 32), lora=lora)


def write_rows(sounds: Path, rows: list[dict], name: str = "data") -> Path:
    path = sounds / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def without(row: dict, *names: str) -> dict:
    return {key: value for key, value in row.items() if key not in names}


def settings(sounds: Path, **changed) -> Settings:
    return Settings(**QUICK | {"feature_folder": str(sounds / "features")} | changed)


def understand(sounds: Path, folder: Path, rows=(*ROWS, VALIDATION), config=TINY, resume=False, **changed) -> dict:
    data = write_rows(sounds, list(rows), f"data-{folder.name}")
    return stage.train("understand", stage.Start(config), str(data), folder, settings(sounds, **changed), resume)


def speak(sounds: Path, folder: Path, parent: Path, rows=(*ROWS, VALIDATION), **changed) -> dict:
    data = write_rows(sounds, list(rows), f"data-{folder.name}")
    return stage.train("speak", stage.Start(None, str(parent)), str(data), folder, settings(sounds, **changed))


def log_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def dataset(sounds: Path, rows=ROWS, speech=False, model=None, config=TINY) -> DialogueDataset:
    data = dialogues.read(write_rows(sounds, list(rows), "dataset"), 0)
    features = FeatureCache(sounds / "features")
    prompt_builder = (model or Omni.build(config)).prompt_builder
    networks = extractors(config, features.folder, speech)
    made = DialogueDataset(data.of("train"), config, features, networks, prompt_builder)
    made.prepare()
    made.measure()
    return made


def command(sounds: Path, folder: Path, config: Path, *more: str) -> list[str]:
    """Arguments of ``python -m emotion_omni`` for stage 1."""
    data = write_rows(sounds, [*ROWS, VALIDATION], f"data-{folder.name}")
    given = QUICK | {"config": config, "data": data, "out": folder, "feature_folder": sounds / "features"}
    return ["train", "understand", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items()), *more]


def environment() -> dict[str, str]:
    """For a process of its own."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}


def same_steps(one: Path, other: Path, tolerance: float) -> None:
    """Losses, gradients (in the optimizer's moments) and weights of two runs agree."""
    for first, second in zip(log_lines(one), log_lines(other), strict=True):
        assert first["step"] == second["step"]
        assert first.get("validation", first) == pytest.approx(
            second.get("validation", second), rel=tolerance, abs=tolerance
        )
    states = [load_file(folder / "state.safetensors") for folder in (one, other)]
    assert states[0].keys() == states[1].keys() and any(name.startswith("exp_avg.") for name in states[0])
    for name, value in states[0].items():
        allowed = 20 * tolerance if name.startswith("model.") else tolerance  # Adam divides by the gradient's own size
        torch.testing.assert_close(value, states[1][name], atol=allowed, rtol=0)
