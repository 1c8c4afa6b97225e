"""Train two small heads: the kind of news that a user's words report, and the kind that a reply answers.

``python -m emotion_omni train guard --dialogues empathetic_dialogues.jsonl.gz --comments goemotions.jsonl.gz
--out FOLDER``

The user's words are labelled good, bad or neutral news: our own ``events.tsv``, half of it minimal pairs that differ
in a word or two; our own reply corpus by its events in an even tone; EmpatheticDialogues (Rashkin et al. 2019) by its
situations; GoEmotions (Demszky et al. 2020) by its labels. Replies are labelled by the event they answer. The last two
corpora are optional.
"""

from __future__ import annotations

import collections
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emotion_omni import weights
from emotion_omni.emotion import NEWS
from emotion_omni.response.guard import NewsHead
from emotion_omni.response.sentence_encoder import SentenceEncoder
from emotion_omni.train.encoder_tuning import Example as TuningExample
from emotion_omni.train.encoder_tuning import TuningSettings, tune
from emotion_omni.train.labelled_lines import read_labelled_lines
from emotion_omni.train.part_settings import GuardSettings
from emotion_omni.train.responder import Row, is_validation, read_rows

SITUATIONS = {
    "good": "joyful excited proud grateful hopeful confident content impressed trusting",
    "bad": "devastated sad lonely terrified afraid anxious apprehensive angry furious annoyed disgusted ashamed guilty "
    "embarrassed jealous disappointed",
    "neutral": "nostalgic prepared",
}
COMMENTS = {
    "good": "joy excitement pride relief",
    "bad": "sadness grief fear nervousness disappointment remorse anger annoyance disgust embarrassment",
    "neutral": "neutral curiosity realization",
}
COMMENTS_A_CLASS = 1000
TUNED_FROM = 3  # the encoder's layers from here on are fine-tuned for the user's words: 5.3 M parameters
Example = tuple[str, int]


def _class_of(label: str, table: dict[str, str]) -> int | None:
    return next((NEWS.index(event) for event, names in table.items() if label in names.split()), None)


def own_words(rows: list[Row]) -> list[Example]:
    """One label per text: that of its even tones, else that of all its tones if they agree, else neutral."""
    events: dict[str, list[tuple[bool, str]]] = collections.defaultdict(list)
    for row in rows:
        if not row.get("history"):
            events[row["text"]].append((row["emotion"] not in ("neutral", "calm"), row["event"]))
    found = []
    for text, seen in events.items():
        even = [event for uneven, event in seen if not uneven]
        agreed = set(even or [event for _, event in seen])
        found.append((text, NEWS.index(agreed.pop() if len(agreed) == 1 else "neutral")))
    return found


def own_events(path: Path) -> dict[bool, list[Example]]:
    """Labelled sentences; True: one in ten, for validation. Minimal pairs are neighbors, so tens stay together."""
    found: dict[bool, list[Example]] = {False: [], True: []}
    for number, label, text in read_labelled_lines(path, NEWS):
        found[number // 10 % 10 == 0].append((text, label))
    return found


def own_replies(rows: list[Row]) -> list[Example]:
    """Whole replies and their first sentences, by the event they answer."""
    found = []
    for row in rows:
        first = row["reply"].replace("!", ".").replace("?", ".").split(".")[0]
        found += [(row["reply"], NEWS.index(row["event"])), (first, NEWS.index(row["event"]))]
    return found


def dialogues(path: Path) -> dict[bool, list[Example]]:
    """First words of each dialogue; True: the dev split."""
    found: dict[bool, list[Example]] = {False: [], True: []}
    for row in read_rows(path):
        kind = _class_of(row["emotion"], SITUATIONS)
        if kind is not None and row["split"] in ("train", "dev"):
            found[row["split"] == "dev"].append((row["turns"][0]["text"], kind))
    return found


def comments(path: Path, rng: random.Random) -> list[Example]:
    by_class: dict[int, list[Example]] = collections.defaultdict(list)
    for row in read_rows(path):
        kind = _class_of(row["labels"][0], COMMENTS) if len(row["labels"]) == 1 and row["split"] == "train" else None
        if kind is not None:
            by_class[kind].append((row["text"], kind))
    return [
        example
        for examples in by_class.values()
        for example in rng.sample(examples, min(COMMENTS_A_CLASS, len(examples)))
    ]


def embed(encoder: SentenceEncoder, examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    texts = [text for text, _ in examples]
    vectors = [encoder(texts[start : start + 64]) for start in range(0, len(texts), 64)]
    return torch.cat(vectors).clone(), torch.tensor([kind for _, kind in examples])


def fit(examples: list[Example], encoder: SentenceEncoder, epochs: int = 60) -> NewsHead:
    vectors, kinds = embed(encoder, examples)
    class_weight = 1 / torch.bincount(kinds, minlength=len(NEWS)).float()
    head = NewsHead()
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(epochs):
        for chosen in torch.randperm(len(kinds)).split(256):
            loss = torch.nn.functional.cross_entropy(
                head(vectors[chosen]), kinds[chosen], weight=class_weight / class_weight.mean(), label_smoothing=0.05
            )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return head.eval()


def fit_with_layers(
    examples: list[Example], encoder: SentenceEncoder, epochs: int
) -> tuple[NewsHead, dict[str, torch.Tensor]]:
    """The head together with the encoder's upper layers, which represent word order and negation."""
    class_weight = 1 / torch.bincount(torch.tensor([kind for _, kind in examples]), minlength=len(NEWS)).float()
    weighted = [TuningExample(text, kind, class_weight[kind].item()) for text, kind in examples]
    head = NewsHead()
    return head, tune(head, encoder, weighted, TuningSettings(epochs, TUNED_FROM))


@torch.no_grad()
def report(head: NewsHead, encoder: SentenceEncoder, examples: list[Example]) -> dict[str, Any]:
    vectors, kinds = embed(encoder, examples)
    prediction = head(vectors).argmax(1)
    recalls = {
        event: (prediction[kinds == k] == k).float().mean().item() for k, event in enumerate(NEWS) if (kinds == k).any()
    }
    # the worst errors: good news taken for bad, bad for good
    flips = ((prediction == 0) & (kinds == 1)).float().mean() + ((prediction == 1) & (kinds == 0)).float().mean()
    return {"examples": len(kinds), "recall": recalls, "flipped": flips.item()}


@dataclass(frozen=True)
class GuardData:
    """The files to train on; ``dialogues`` and ``comments`` are optional."""

    replies: Path
    events: Path
    dialogues: Path | None = None
    comments: Path | None = None


def train(data: GuardData, out: Path, settings: GuardSettings) -> dict[str, Any]:
    """Train both heads, write ``guard.safetensors`` and its log to ``out`` → the log."""
    torch.manual_seed(0)
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    rows = read_rows(data.replies)
    validation = [row for row in rows if is_validation(row, 0.1)]
    training = [row for row in rows if not is_validation(row, 0.1)]
    events = own_events(data.events)
    words = own_words(training) + events[False] * 3
    tests = {"own words": own_words(validation), "own events": events[True]}
    if data.dialogues:
        sides = dialogues(data.dialogues)
        words += sides[False]
        tests["dialogues"] = sides[True]
    if data.comments:
        words += comments(data.comments, random.Random(0))
    words_head, tuned = fit_with_layers(words, encoder, settings.epochs)
    reply_head = fit(own_replies(training), encoder, epochs=25)
    tuned_encoder = encoder.with_layers(tuned)
    log: dict[str, Any] = {name: report(words_head, tuned_encoder, examples) for name, examples in tests.items()}
    log["own replies"] = report(reply_head, encoder, own_replies(validation))
    log["trained on"] = {"words": len(words), "replies": 2 * len(training)}
    tensors = {f"tuned.{name}": tensor.half().contiguous() for name, tensor in tuned.items()}
    for name, head in (("words", words_head), ("reply", reply_head)):
        tensors |= {f"{name}.{key}": value.half().contiguous() for key, value in head.state_dict().items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "guard.safetensors")
    (out / "guard.log.json").write_text(json.dumps(log, indent=1))
    return log
