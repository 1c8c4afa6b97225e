"""Train a small network to pronounce words that no lexicon holds: names, coinages, typos.

``python -m emotion_omni train g2p --out FOLDER``. Data: misaki's US lexicon (Apache-2.0), one word in fifty for
validation. Loss: connectionist temporal classification (Graves et al. 2006).
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emotion_omni import streams, weights
from emotion_omni.synthesis.g2p import LETTERS, SLOTS, GraphemeToPhoneme, default_pronunciation, encode_letters
from emotion_omni.train.part_settings import G2PSettings

BATCH = 256
VALIDATION_WORDS = 1500


def read_lexicon() -> dict[str, str]:
    """Words of letters only, with their default pronunciation."""
    words = {}
    for name in ("us_silver.json", "us_gold.json"):
        for word, entry in json.loads(weights.fetch(f"misaki/{name}").read_text(encoding="utf-8")).items():
            sounds = default_pronunciation(entry) or ""
            plain = word.lower()
            readable = len(plain) > 2 and set(plain) <= set(LETTERS) and 0 < len(sounds) <= SLOTS * len(plain)
            if readable and not word.isupper():  # the pronunciation of acronyms does not follow their letters
                words[plain] = sounds
    return words


def is_validation(word: str) -> bool:
    return hashlib.sha256(word.encode()).digest()[0] < 5


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein: insertions, deletions and substitutions."""
    row = list(range(len(other) + 1))
    for index, symbol in enumerate(one, start=1):
        last, row[0] = row[0], index
        for at, target in enumerate(other, start=1):
            last, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, last + (symbol != target))
    return row[-1]


def evaluate(network: GraphemeToPhoneme, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    network.eval()
    guesses = [(network.predict(word), sounds) for word, sounds in pairs]
    network.train()
    wrong = sum(distance(guess, sounds) for guess, sounds in guesses)
    return {
        "words": len(pairs),
        "phoneme_error_rate": round(wrong / sum(len(sounds) for _, sounds in pairs), 4),
        "word_accuracy": round(sum(guess == sounds for guess, sounds in guesses) / len(pairs), 4),
    }


def train(out: Path, settings: G2PSettings) -> dict[str, Any]:
    torch.manual_seed(settings.seed)
    rng, epochs = random.Random(settings.seed), settings.epochs
    lexicon = read_lexicon()
    symbols = "".join(sorted({symbol for sounds in lexicon.values() for symbol in sounds}))
    pairs = [(word, sounds) for word, sounds in lexicon.items() if not is_validation(word)]
    tests = rng.sample([(word, sounds) for word, sounds in lexicon.items() if is_validation(word)], VALIDATION_WORDS)
    network = GraphemeToPhoneme(symbols)
    steps = epochs * (len(pairs) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    loss_of, started = torch.nn.CTCLoss(zero_infinity=True), time.monotonic()
    for epoch in range(epochs):
        rng.shuffle(pairs)
        for start in range(0, len(pairs) - BATCH + 1, BATCH):
            chunk = pairs[start : start + BATCH]
            letters = [torch.tensor(encode_letters(word)) for word, _ in chunk]
            sounds = [torch.tensor([symbols.index(symbol) + 1 for symbol in phonemes]) for _, phonemes in chunk]
            logits = network(torch.nn.utils.rnn.pad_sequence(letters, batch_first=True)).transpose(0, 1)
            loss = loss_of(
                logits,
                torch.cat(sounds),
                torch.tensor([SLOTS * len(word) for word in letters]),
                torch.tensor([len(one) for one in sounds]),
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        progress = f"epoch {epoch} loss {loss.item():.3f} {time.monotonic() - started:.0f} s"
        streams.note(progress)
    log = {"epochs": epochs, "trained_on": len(pairs), "validation": evaluate(network, tests)}
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, out / "g2p.safetensors", metadata={"symbols": symbols})
    (out / "g2p.log.json").write_text(json.dumps(log, indent=1))
    return log
