"""Train the crisis detector: a classifier on MiniLM's sentence vectors, together with MiniLM's upper layers.

``python -m emotion_omni train crisis --comments goemotions.jsonl.gz --dialogues empathetic_dialogues.jsonl.gz
--out FOLDER``

``crisis.tsv`` (ours) holds words that tell of danger to oneself or from others, and look-alikes. Everyday words are
further examples of no danger: the written exchanges, the words of the reply corpus, ``events.tsv`` and comments of
GoEmotions (Demszky et al. 2020, optional). The threshold is chosen on the dev half of ``evaluate/crisis_phrases.tsv``
and the exchanges' dev split; the test half, other kinds of phrasing, is only measured, and so are the turns of
EmpatheticDialogues (Rashkin et al. 2019, optional), a share of which may be about danger.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emotion_omni import weights
from emotion_omni.emotion import NEWS
from emotion_omni.evaluate.crisis import CLASSES, measure, read_phrases
from emotion_omni.response.crisis import CrisisDetector, CrisisHead
from emotion_omni.response.crisis_patterns import plain_risk
from emotion_omni.response.sentence_encoder import SentenceEncoder
from emotion_omni.train import exchanges
from emotion_omni.train.encoder_tuning import Example, TuningSettings, tune
from emotion_omni.train.labelled_lines import read_labelled_lines
from emotion_omni.train.part_settings import CrisisSettings
from emotion_omni.train.responder import read_rows

PHRASES = Path(__file__).with_name("crisis.tsv")
EVENTS, REPLIES = (Path(__file__).with_name(name) for name in ("events.tsv", "replies.jsonl.gz"))
EVERYDAY_WEIGHT = 0.5  # of everyday words in the loss
TUNED_FROM = 3  # of six layers
JOINED, RECOGNIZED = 0.12, 0.4  # shares of examples with an everyday sentence beside them, and as a recognizer writes
MAX_JOINED = 90  # characters of that sentence
NO_COMMENT = re.compile(r"suicid|\b(die|dying|dead|death|kill|abus|rape|hang|jump)", re.IGNORECASE)  # nobody's label


@dataclass(frozen=True)
class CrisisData:
    """``comments`` is trained on if given; turns of ``dialogues`` only measure."""

    phrases: Path = PHRASES
    dialogues: Path | None = None
    comments: Path | None = None


def as_recognized(text: str) -> str:
    """As a recognizer writes it: lower case, no punctuation, in half of the texts no apostrophes."""
    text = re.sub(r"[.,!?;]", "", text.lower())
    return text.replace("'", "") if sum(map(ord, text)) % 2 else text


def examples_of(data: CrisisData, settings: CrisisSettings) -> list[Example]:
    found = [Example(line.text, line.label) for line in read_labelled_lines(data.phrases, CLASSES)]
    ordinary = everyday("train") + list(dict.fromkeys(row["text"] for row in read_rows(REPLIES)))
    ordinary += [line.text for line in read_labelled_lines(EVENTS, NEWS)]
    if data.comments:
        rows = [row["text"] for row in read_rows(data.comments) if row["split"] == "train"]
        comments = [text for text in rows if not NO_COMMENT.search(text)]
        ordinary += random.Random(settings.seed).sample(comments, min(settings.comment_count, len(comments)))
    return found + [Example(text, 0, EVERYDAY_WEIGHT) for text in ordinary if not plain_risk(text)]


def everyday(split: str) -> list[str]:
    """What people say in the written exchanges, without open words of danger."""
    turns = [turn for row in exchanges.read() if row.split == split for turn in row.turns]
    return [turn.text for turn in turns if not plain_risk(turn.text)]


def varied(others: list[str]) -> Callable[[str, random.Random], str]:
    """Texts as they are said: now and then with an everyday sentence before or after, now and then unpunctuated."""
    short = [text for text in others if len(text) <= MAX_JOINED]

    def vary(text: str, rng: random.Random) -> str:
        if rng.random() < JOINED:
            pair = [rng.choice(short), text] if rng.random() < 0.6 else [text, rng.choice(short)]
            text = ". ".join([pair[0].rstrip("."), pair[1]])
        return as_recognized(text) if rng.random() < RECOGNIZED else text

    return vary


def fit(examples: list[Example], encoder: SentenceEncoder, settings: CrisisSettings) -> CrisisDetector:
    """The detector, with an alarm at 0.5."""
    torch.manual_seed(settings.seed)
    head = CrisisHead()
    tuning = TuningSettings(
        settings.epochs,
        TUNED_FROM,
        learning_rate=settings.learning_rate,
        label_smoothing=0.03,
        bf16=settings.bf16,
        seed=settings.seed,
    )
    ordinary = [example.text for example in examples if not example.label]
    tuned = tune(head, encoder, examples, tuning, vary=varied(ordinary))
    return CrisisDetector(encoder.with_layers(tuned), head, 0.5)


def threshold_of(detector: CrisisDetector, settings: CrisisSettings) -> float:
    """The lowest that keeps the shares of false alarms among look-alikes and among everyday words, both of dev."""
    safe = [phrase.text for phrase in read_phrases() if phrase.split == "dev" and phrase.kind == "none"]
    limits = ((safe, settings.false_alarms), (everyday("dev"), settings.everyday_alarms))
    found = [
        torch.quantile(torch.tensor([detector.probability(text)[0] for text in texts]), 1 - share).item()
        for texts, share in limits
    ]
    return max(found)


def train(data: CrisisData, out: Path, settings: CrisisSettings) -> dict[str, Any]:
    """Train, choose the threshold, write ``crisis.safetensors`` and its log to ``out`` → the log."""
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    examples = examples_of(data, settings)
    detector = fit(examples, encoder, settings)
    detector.threshold = threshold_of(detector, settings)
    out.mkdir(parents=True, exist_ok=True)
    save_file(detector.state(TUNED_FROM), out / "crisis.safetensors")
    saved = CrisisDetector.load(encoder, out / "crisis.safetensors")
    phrases = read_phrases()
    log: dict[str, Any] = {
        split: measure(saved, [phrase for phrase in phrases if phrase.split == split]) for split in ("dev", "test")
    }
    log |= {"threshold": saved.threshold, "trained on": len(examples), "alarms per 1,000": {}}
    log["alarms per 1,000"]["exchanges, dev"] = per_thousand(saved, everyday("dev"))
    if data.dialogues:
        rows = [row for row in read_rows(data.dialogues) if row["split"] == "test"]
        turns = [turn["text"] for row in rows for turn in row["turns"] if turn["role"] == "user"]
        log["alarms per 1,000"]["EmpatheticDialogues, test"] = per_thousand(saved, turns)
    (out / "crisis.log.json").write_text(json.dumps(log, indent=1))
    return log


def per_thousand(detector: CrisisDetector, texts: list[str]) -> float:
    return round(1000 * sum(detector.risk(text) != "" for text in texts) / len(texts), 2)
