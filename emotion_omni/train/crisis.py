"""Train the crisis detector: low-rank updates of MiniLM's upper layers and a linear head on its sentence vectors.

``python -m emotion_omni train crisis --dialogues empathetic_dialogues.jsonl.gz --comments goemotions.jsonl.gz
--out FOLDER``

``crisis.tsv`` (ours) holds words that tell of danger to oneself or from others, and look-alikes. Ordinary turns of
EmpatheticDialogues (Rashkin et al. 2019) and comments of GoEmotions (Demszky et al. 2020) are further negatives; both
are optional. The threshold is chosen on the dev half of ``evaluate/crisis_phrases.tsv``; the test half, other kinds of
phrasing, is only measured.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from emotion_omni import streams, weights
from emotion_omni.evaluate.crisis import CLASSES, measure, read_phrases
from emotion_omni.response.crisis import CRISIS, LORA_PREFIX, CrisisDetector, CrisisHead, with_lora
from emotion_omni.response.sentence_encoder import LAYERS, WIDTH, SentenceEncoder, mean
from emotion_omni.text_encoding import decode_text, split_lines
from emotion_omni.train.part_settings import CrisisSettings
from emotion_omni.train.responder import read_rows
from emotion_omni.types import EmotionOmniError

PHRASES = Path(__file__).with_name("crisis.tsv")
MATRICES = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
MATRICES += ("intermediate.dense", "output.dense")
REAL_WEIGHT, DANGER_WEIGHT = 0.5, 2.0  # of an example of real dialogue, and of danger, in the loss
Example = tuple[str, int, float]  # text, class, weight


@dataclass(frozen=True)
class CrisisData:
    """The files to train on; ``dialogues`` and ``comments`` are optional."""

    phrases: Path = PHRASES
    dialogues: Path | None = None
    comments: Path | None = None


def read_examples(path: Path) -> list[tuple[str, int]]:
    """Lines of class TAB text."""
    found = []
    for number, line in enumerate(split_lines(decode_text(path.read_bytes(), path.name)[0])):
        name, _, text = line.partition("\t")
        if not line:
            continue
        if name not in CLASSES or not text:
            raise EmotionOmniError(
                f"Line {number + 1} of {path.name} is {line[:60]!r}. It must be {' or '.join(CLASSES)}, a tab, a text.",
                "data",
            )
        found.append((text, CLASSES.index(name)))
    return found


def as_recognized(text: str) -> str:
    """As a recognizer writes it: lower case, no punctuation, in half of the texts no apostrophes."""
    text = re.sub(r"[.,!?;]", "", text.lower())
    return text.replace("'", "") if sum(map(ord, text)) % 2 else text


def examples_of(data: CrisisData, settings: CrisisSettings) -> list[Example]:
    rng = random.Random(settings.seed)
    own = read_examples(data.phrases)
    found = [(text, kind, DANGER_WEIGHT if kind else 1.0) for text, kind in own]
    found += [(as_recognized(text), kind, 0.7 * weight) for text, kind, weight in found]
    real: list[str] = []
    if data.dialogues:
        rows = [row for row in read_rows(data.dialogues) if row["split"] == "train"]
        real += _some([turn["text"] for row in rows for turn in row["turns"] if turn["role"] == "user"], settings, rng)
    if data.comments:
        real += _some([row["text"] for row in read_rows(data.comments) if row["split"] == "train"], settings, rng)
    return found + [(text, 0, REAL_WEIGHT) for text in real]


def _some(texts: list[str], settings: CrisisSettings, rng: random.Random) -> list[str]:
    """Ordinary ones: those that mention suicide are nobody's label."""
    ordinary = [text for text in texts if not CRISIS.search(text) and "suicid" not in text.lower()]
    return rng.sample(ordinary, min(settings.real_texts, len(ordinary)))


def lora_tensors(encoder: SentenceEncoder, settings: CrisisSettings) -> dict[str, Tensor]:
    """``NAME.a`` [rank, in], random, and ``NAME.b`` [out, rank], zero, for each matrix of the upper layers."""
    generator = torch.Generator().manual_seed(settings.seed)
    found = {}
    for index in range(settings.first_layer, LAYERS):
        layer = encoder.layers(index)
        for matrix in MATRICES:
            name = f"encoder.layer.{index}.{matrix}.weight"
            rows, columns = layer[name].shape
            found[f"{name}.a"] = torch.randn(settings.rank, columns, generator=generator) / columns**0.5
            found[f"{name}.b"] = torch.zeros(rows, settings.rank)
    return found


def fit(examples: list[Example], encoder: SentenceEncoder, settings: CrisisSettings) -> dict[str, Tensor]:
    """The trained tensors: the head's and, with :data:`LORA_PREFIX`, the updates."""
    rng = random.Random(settings.seed)
    lora = {name: tensor.requires_grad_() for name, tensor in lora_tensors(encoder, settings).items()}
    weight, bias = (torch.zeros(shape, requires_grad=True) for shape in ((len(CLASSES), WIDTH), (len(CLASSES),)))
    optimizer = torch.optim.AdamW(
        [{"params": list(lora.values()), "weight_decay": 0.01}, {"params": [weight, bias], "weight_decay": 0.0}],
        lr=settings.learning_rate,
    )
    steps = settings.epochs * (len(examples) // settings.batch_size)
    rates = [settings.learning_rate, 10 * settings.learning_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.1)
    batches = prepared(examples, encoder, settings, rng)
    for epoch in range(settings.epochs):
        rng.shuffle(batches)
        total = 0.0
        for lower, mask, classes, importance in batches:
            vectors = mean(with_lora(encoder, lora).further(lower, mask, settings.first_layer), mask)
            losses = F.cross_entropy(SCALE * vectors @ weight.T + bias, classes, reduction="none", label_smoothing=0.02)
            loss = (losses * importance).sum() / importance.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        streams.note(f"epoch {epoch}: loss {total / len(batches):.4f}")
    tensors = {LORA_PREFIX + name: tensor.detach() for name, tensor in lora.items()}
    return tensors | {"weight": (SCALE * weight).detach(), "bias": bias.detach()}


def prepared(
    examples: list[Example], encoder: SentenceEncoder, settings: CrisisSettings, rng: random.Random
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches of texts of a like length: states below the adapted layers [B, T, D], mask [B, T], classes [B], weights.

    The states do not change in training, so they are computed once.
    """
    order = sorted(examples, key=lambda example: len(example[0]) + rng.random() * 30)
    found = []
    for at in range(0, len(order) - settings.batch_size + 1, settings.batch_size):
        texts, classes, importance = zip(*order[at : at + settings.batch_size], strict=True)
        ids, mask = encoder.tokens(list(texts))
        lower = encoder.hidden_states(ids, mask, settings.first_layer)
        found.append((lower, mask, torch.tensor(classes), torch.tensor(importance)))
    return found


SCALE = 4.0  # vectors have length 1; the head learns faster on longer ones


def train(data: CrisisData, out: Path, settings: CrisisSettings) -> dict[str, Any]:
    """Train, choose the threshold on dev, write ``crisis.safetensors`` and its log to ``out`` → the log."""
    torch.manual_seed(settings.seed)
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    examples = examples_of(data, settings)
    tensors = fit(examples, encoder, settings)
    phrases = read_phrases()
    dev, test = ([phrase for phrase in phrases if phrase.split == split] for split in ("dev", "test"))
    detector = CrisisDetector(encoder, CrisisHead.of(tensors | {"threshold": torch.tensor(0.5)}))
    safe = torch.tensor([detector.probability(phrase.text)[0] for phrase in dev if phrase.kind == "none"])
    threshold = torch.quantile(safe, 1 - settings.false_alarms)
    tensors["threshold"] = threshold
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, out / "crisis.safetensors")
    saved = CrisisDetector(encoder, CrisisHead.load(out / "crisis.safetensors"))
    log: dict[str, Any] = {"dev": measure(saved, dev), "test": measure(saved, test)}
    log |= {"threshold": threshold.item(), "trained on": len(examples)}
    (out / "crisis.log.json").write_text(json.dumps(log, indent=1))
    return log
