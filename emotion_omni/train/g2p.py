"""Teach a small network to sound out words that no lexicon holds: names, inventions, slips.

`python -m emotion_omni.train.g2p --out FOLDER`. Data: misaki's US lexicon (Apache-2.0), one
word in fifty held out. Loss: connectionist temporal classification (Graves et al. 2006).
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from emotion_omni import weights
from emotion_omni.synthesis.g2p import LETTERS, SLOTS, GraphemeToPhoneme, default_pronunciation, encode_letters
from emotion_omni.train.part_settings import G2PSettings

BATCH = 256


def read_lexicon() -> dict[str, str]:
    """Words of letters only, with the sound of their default reading."""
    words = {}
    for name in ("us_silver.json", "us_gold.json"):
        for word, entry in json.loads(weights.fetch(f"misaki/{name}").read_text(encoding="utf-8")).items():
            sounds = default_pronunciation(entry) or ""
            plain = word.lower()
            readable = len(plain) > 2 and set(plain) <= set(LETTERS) and 0 < len(sounds) <= SLOTS * len(plain)
            if readable and not word.isupper():  # NASA is read by custom, not by its letters
                words[plain] = sounds
    return words


def is_validation(word: str) -> bool:
    return hashlib.sha256(word.encode()).digest()[0] < 5


def distance(one: str, other: str) -> int:
    """Levenshtein: insertions, deletions and substitutions."""
    row = list(range(len(other) + 1))
    for index, symbol in enumerate(one, start=1):
        last, row[0] = row[0], index
        for at, target in enumerate(other, start=1):
            last, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, last + (symbol != target))
    return row[-1]


def evaluate(sounder: GraphemeToPhoneme, pairs: list[tuple[str, str]]) -> dict:
    sounder.eval()
    guesses = [(sounder.predict(word), sounds) for word, sounds in pairs]
    sounder.train()
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
    tests = rng.sample([(word, sounds) for word, sounds in lexicon.items() if is_validation(word)], 1500)
    sounder = GraphemeToPhoneme(symbols)
    steps = epochs * (len(pairs) // BATCH)
    optimizer = torch.optim.AdamW(sounder.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    loss_of, started, step = torch.nn.CTCLoss(zero_infinity=True), time.monotonic(), 0
    for epoch in range(epochs):
        rng.shuffle(pairs)
        for start in range(0, len(pairs) - BATCH + 1, BATCH):
            chunk = pairs[start : start + BATCH]
            letters = [torch.tensor(encode_letters(word)) for word, _ in chunk]
            sounds = [torch.tensor([symbols.index(symbol) + 1 for symbol in said]) for _, said in chunk]
            scores = sounder(torch.nn.utils.rnn.pad_sequence(letters, batch_first=True)).transpose(0, 1)
            loss = loss_of(
                scores,
                torch.cat(sounds),
                torch.tensor([SLOTS * len(word) for word in letters]),
                torch.tensor([len(said) for said in sounds]),
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(sounder.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
            step += 1
        print(f"epoch {epoch} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)
    log = {"epochs": epochs, "trained_on": len(pairs), "validation": evaluate(sounder, tests)}
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in sounder.state_dict().items()}
    save_file(tensors, out / "g2p.safetensors", metadata={"symbols": symbols})
    (out / "g2p.log.json").write_text(json.dumps(log, indent=1))
    return log
