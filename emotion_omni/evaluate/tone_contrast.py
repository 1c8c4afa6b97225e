"""Does the answer follow the tone? The paper's claim at small scale, with ablations, on real recordings.

``python -m emotion_omni bench tone-contrast --data FOLDER --folder FOLDER`` (takes hours on one core)

The data folder holds recordings and a ``manifest.csv`` with the columns path, emotion, speaker, transcript, source and
split (train, dev, test; no speaker in two). From it 32 sentences are chosen that people say in two tones, and each of
the 64 (sentence, tone) pairs gets an answer of its own, spoken by our own voice. The model is over-fitted on the
training speakers' clips, from sound alone. Then it hears the same pairs from speakers it has never heard: which of the
sentence's two answers does it consider more likely? Chance is one half.

Trained and measured in the same way, each from the same start: with both encoders; without the emotion encoder;
without the semantic encoder; and with the two answers of each sentence assigned at random in training, which teaches
no tone and must end at chance. Whisper's states carry tone too, so the second need not fall to chance. The emotion
encoder was trained on the training speakers with labels, never on the others.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import accelerate
import scipy.stats
import torch
from torch import Tensor

from emotion_omni import processors, weights
from emotion_omni.evaluate.tone_pairs import (
    assign_answers,
    choose_tones,
    manifest_rows,
    read_clips,
    synthesize_answers,
)
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Omni
from emotion_omni.train import dialogues
from emotion_omni.train.batches import Batch, DialogueDataset
from emotion_omni.train.checkpoint_writer import CheckpointWriter
from emotion_omni.train.feature_extractors import Extractors, extractors
from emotion_omni.train.features import FeatureCache, FeatureExtractor
from emotion_omni.train.loop import Trainer
from emotion_omni.train.settings import Settings
from emotion_omni.train.understand import UnderstandTask, prototypes
from emotion_omni.types import Audio

CONDITIONS = ("both", "semantic-only", "emotion-only", "tone-shuffled")

SETTINGS = Settings(
    epochs=10,
    batch_size=4,
    learning_rate=1e-3,
    lora_learning_rate=1e-3,
    correction_rate=0,
    eval_steps=10_000,
    save_steps=50,
)
"""Learning rates above the paper's: it has hundreds of thousands of dialogues to learn from, this has 64."""


def small() -> OmniConfig:
    """The preset without LoRA's dropout: these answers are to be memorized."""
    preset = OmniConfig.preset("small")
    return replace(preset, lora=replace(preset.lora, dropout=0.0))


# --- one condition ------------------------------------------------------------------------------------------------


def extractors_of(condition: str, config: OmniConfig, folder: Path) -> Extractors:
    """The frozen encoders; the one that a condition leaves out yields zeros of the same length."""
    both = extractors(config, folder)
    if condition == "emotion-only":
        return replace(both, semantic=_zeros(both.semantic))
    if condition == "semantic-only":
        return replace(both, emotion=_zeros(both.emotion))
    return both


def _zeros(extractor: FeatureExtractor) -> FeatureExtractor:
    def load() -> Callable[[Audio], Tensor]:
        frames = extractor.load()
        return lambda speech: torch.zeros_like(frames(speech))

    return FeatureExtractor(f"no {extractor.name}", f"zeros {extractor.identity}", load)


def run(
    condition: str, manifest: Path, choices: dict[str, tuple[str, str]], folder: Path, settings: Settings
) -> dict[str, Any]:
    """Train on the manifest from the start that all conditions share, then measure."""
    config = small()
    data = dialogues.read(manifest)
    model = Omni.build(config, dtype=getattr(torch, settings.base_dtype), seed=settings.seed)
    features = FeatureCache(folder / "features")
    networks = extractors_of(condition, config, features.folder)
    datasets = {}
    for split in ("train", "dev", "test"):
        datasets[split] = DialogueDataset(data.of(split), config, features, networks, model.prompt_builder)
        datasets[split].prepare()
        datasets[split].measure()
    (folder / condition).mkdir(exist_ok=True)
    mixed_precision = "bf16" if settings.precision == "bfloat16" else "no"
    accelerator = accelerate.Accelerator(mixed_precision=mixed_precision, cpu=True)
    task = UnderstandTask(model, settings.emotion_weight)
    started_with = {"condition": condition, "data": data.sha256, "settings": asdict(settings)}
    model.prototypes.copy_(prototypes(datasets["train"], config.emotion.width))
    writer = CheckpointWriter(folder / condition, "understand", model, data, settings, None, accelerator)
    trainer = Trainer(
        task,
        datasets["train"],
        datasets["dev"],
        settings,
        accelerator,
        folder / condition,
        started_with,
        writer.save,
    )
    trainer.resume()
    result = trainer.train()
    model.eval()
    found = {split: answer_likelihoods(model, datasets[split], choices) for split in ("train", "test")}
    return {"condition": condition, "outcome": asdict(result), "data_sha256": data.sha256, "found": found}


# --- measuring ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def answer_likelihoods(
    model: Omni, dataset: DialogueDataset, choices: dict[str, tuple[str, str]], batch_size: int = 8
) -> list[dict[str, Any]]:
    """For each clip: log-likelihood (nats) of its answer and of the sentence's other one; is either the greedy one?"""
    found = []
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        rows, queries = [dataset.rows[index] for index in indices], dataset.batch(indices)
        right, right_is_greedy = likelihoods(model, queries, [row.reply for row in rows])
        other, other_is_greedy = likelihoods(model, queries, [other_of(choices[row.reply], row.reply) for row in rows])
        for index, row in enumerate(rows):
            found.append(
                {
                    "source": Path(row.query.where).name,
                    "speaker": row.speaker,
                    "tone": row.emotion,
                    "right": float(right[index]),
                    "other": float(other[index]),
                    "writes_right": bool(right_is_greedy[index]),
                    "writes_other": bool(other_is_greedy[index]),
                }
            )
    return found


def other_of(both: tuple[str, str], one: str) -> str:
    return both[1] if both[0] == one else both[0]


def likelihoods(model: Omni, queries: Batch, replies: list[str]) -> tuple[Tensor, Tensor]:
    """→ log-likelihoods [B] of these answers to these queries, with EOS; and whether every token is the argmax [B]."""
    answers = [model.prompt_builder.answer(reply) for reply in replies]
    _, logits = model(queries.query, queries.prompts, answers)
    sums, greedy = [], []
    for index, ids in enumerate(answers):
        targets, log_probabilities = torch.tensor(ids), logits[index, : len(ids)].float().log_softmax(-1)
        sums.append(log_probabilities[range(len(ids)), targets].sum())
        greedy.append(bool((log_probabilities.argmax(-1) == targets).all()))
    return torch.stack(sums), torch.tensor(greedy)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Share of clips whose own answer is the more likely one, with a 95 % interval.

    Wilson's, which treats clips as independent; those of one speaker are not quite, so speakers are listed.
    """
    right = sum(row["right"] > row["other"] for row in found)
    low, high = scipy.stats.binomtest(right, len(found)).proportion_ci(method="wilson")
    by_speaker = defaultdict(list)
    for row in found:
        by_speaker[row["speaker"]].append(row["right"] > row["other"])
    return {
        "clips": len(found),
        "accuracy": round(right / len(found), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "speakers": {name: [sum(hits), len(hits)] for name, hits in sorted(by_speaker.items())},
        "writes_right": round(sum(row["writes_right"] for row in found) / len(found), 3),
        "writes_other_tone": round(sum(row["writes_other"] for row in found) / len(found), 3),
    }


def measure(
    data: Path,
    folder: Path,
    settings: Settings = SETTINGS,
    conditions: tuple[str, ...] = CONDITIONS,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All conditions, one after the other; results that are already in ``folder`` are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = read_clips(data)
    pairs = assign_answers(choose_tones(clips))
    spoken = synthesize_answers(pairs, folder / "answers")
    by_sentence = defaultdict(list)
    for pair in pairs:
        by_sentence[pair.sentence].append(pair.reply)
    choices = {reply: (both[0], both[1]) for both in by_sentence.values() for reply in both}
    reports = {}
    for condition in conditions:
        done = folder / f"{condition}.json"
        if not done.exists():
            manifest = folder / f"{condition}.jsonl"
            rows = manifest_rows(clips, pairs, spoken, shuffled=condition == "tone-shuffled")
            manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            started = time.perf_counter()
            report = run(condition, manifest, choices, folder, settings)
            report["seconds"] = round(time.perf_counter() - started)
            done.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        reports[condition] = _condition_report(json.loads(done.read_text("utf-8")))
        say(_line(condition, reports[condition]))
    return {
        "machine": processors.describe(),
        "chance": 0.5,
        "pairs": len(pairs),
        "settings": asdict(settings),
        "manifest_sha256": weights.sha256(data / "manifest.csv"),
        "conditions": reports,
        "answers": [asdict(pair) for pair in pairs],
    }


def _condition_report(report: dict[str, Any]) -> dict[str, Any]:
    outcome = report["outcome"]
    found = {split: summary(report["found"][split]) for split in ("train", "test")}
    return {"loss": outcome["loss"], "steps": outcome["done"], "seconds": report["seconds"]} | found


def _line(condition: str, report: dict[str, Any]) -> str:
    train, test = report["train"], report["test"]
    return (
        f"{condition:14} {test['accuracy']:.3f} {test['interval']} of {test['clips']} clips of new speakers; "
        f"training clips {train['accuracy']:.3f}, {train['writes_right']:.3f} of them answered word for word"
    )


def as_text(report: dict[str, Any]) -> str:
    return "\n".join(_line(condition, found) for condition, found in report["conditions"].items())
