"""Train the crisis detector: a logistic regression on MiniLM's sentence vectors.

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
from safetensors.torch import save_file
from torch import nn

from emotion_omni import weights
from emotion_omni.evaluate.crisis import CLASSES, measure, read_phrases
from emotion_omni.response.crisis import CrisisDetector, CrisisHead
from emotion_omni.response.crisis_patterns import CRISIS, plain_risk
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder
from emotion_omni.train import exchanges
from emotion_omni.train.labelled_lines import read_labelled_lines
from emotion_omni.train.logistic_regression import minimize_loss
from emotion_omni.train.part_settings import CrisisSettings
from emotion_omni.train.responder import read_rows

PHRASES = Path(__file__).with_name("crisis.tsv")
REAL_WEIGHT, DANGER_WEIGHT = 0.5, 2.0  # of an example of real dialogue, and of danger, in the loss
Example = tuple[str, int, float]  # text, class, weight


@dataclass(frozen=True)
class CrisisData:
    """The files to train on; ``dialogues`` and ``comments`` are optional."""

    phrases: Path = PHRASES
    dialogues: Path | None = None
    comments: Path | None = None


def as_recognized(text: str) -> str:
    """As a recognizer writes it: lower case, no punctuation, in half of the texts no apostrophes."""
    text = re.sub(r"[.,!?;]", "", text.lower())
    return text.replace("'", "") if sum(map(ord, text)) % 2 else text


def examples_of(data: CrisisData, settings: CrisisSettings) -> list[Example]:
    rng = random.Random(settings.seed)
    own = [(line.text, line.label) for line in read_labelled_lines(data.phrases, CLASSES)]
    own += [(text, 0) for text in everyday("train")]
    found = [(text, kind, DANGER_WEIGHT if kind else 1.0) for text, kind in own]
    found += [(as_recognized(text), kind, 0.7 * weight) for text, kind, weight in found]
    real: list[str] = []
    if data.dialogues:
        rows = [row for row in read_rows(data.dialogues) if row["split"] == "train"]
        real += _some([turn["text"] for row in rows for turn in row["turns"] if turn["role"] == "user"], settings, rng)
    if data.comments:
        real += _some([row["text"] for row in read_rows(data.comments) if row["split"] == "train"], settings, rng)
    return found + [(text, 0, REAL_WEIGHT) for text in real]


def everyday(split: str) -> list[str]:
    """What people say in the written exchanges, without open words of danger."""
    turns = [turn for row in exchanges.read() if row.split == split for turn in row.turns]
    return [turn.text for turn in turns if not plain_risk(turn.text)]


def _some(texts: list[str], settings: CrisisSettings, rng: random.Random) -> list[str]:
    """Ordinary ones: those that mention suicide are nobody's label."""
    ordinary = [text for text in texts if not CRISIS.search(text) and "suicid" not in text.lower()]
    return rng.sample(ordinary, min(settings.real_texts, len(ordinary)))


def fit(examples: list[Example], encoder: SentenceEncoder, settings: CrisisSettings) -> nn.Linear:
    """A regularized logistic regression on sentence vectors."""
    texts = [text for text, _, _ in examples]
    vectors = torch.cat([encoder(texts[at : at + 64]) for at in range(0, len(texts), 64)]).clone()  # [N, D]
    classes = torch.tensor([kind for _, kind, _ in examples])
    importance = torch.tensor([one for _, _, one in examples])
    head = nn.Linear(WIDTH, len(CLASSES))
    minimize_loss(head, vectors, classes, importance, decay=settings.decay, iterations=settings.iterations)
    return head


def train(data: CrisisData, out: Path, settings: CrisisSettings) -> dict[str, Any]:
    """Train, choose the threshold on dev, write ``crisis.safetensors`` and its log to ``out`` → the log."""
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    examples = sorted(examples_of(data, settings), key=lambda example: len(example[0]))  # little padding
    head = fit(examples, encoder, settings)
    phrases = read_phrases()
    dev, test = ([phrase for phrase in phrases if phrase.split == split] for split in ("dev", "test"))
    detector = CrisisDetector(encoder, CrisisHead(head.weight.detach(), head.bias.detach(), 0.5))
    safe = torch.tensor([detector.probability(phrase.text)[0] for phrase in dev if phrase.kind == "none"])
    ordinary = torch.tensor([detector.probability(text)[0] for text in everyday("dev")])
    threshold = torch.maximum(
        torch.quantile(safe, 1 - settings.false_alarms), torch.quantile(ordinary, 1 - settings.everyday_alarms)
    )
    tensors = {"weight": head.weight.detach(), "bias": head.bias.detach(), "threshold": threshold}
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, out / "crisis.safetensors")
    saved = CrisisDetector(encoder, CrisisHead.load(out / "crisis.safetensors"))
    log: dict[str, Any] = {"dev": measure(saved, dev), "test": measure(saved, test)}
    log |= {"threshold": threshold.item(), "trained on": len(examples)}
    (out / "crisis.log.json").write_text(json.dumps(log, indent=1))
    return log
