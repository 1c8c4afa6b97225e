"""The data of the tone contrast: 32 sentences said in two tones, and an answer for each (sentence, tone) pair.

Chosen from a set of real recordings by counts alone, without looking at any model.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni import audio, emotion, json_lines
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.types import Delivery, EmotionOmniError

SENTENCES = 32
MAX_CLIPS = 6  # per pair from training speakers, so that no corpus outweighs the others
MIN_CLIPS = 2
SENTENCES_FROM = {"RAVDESS": 2, "EMO-DB": 10}  # the rest come from other corpora
REPLIES = Path(__file__).parents[1] / "train" / "replies.jsonl.gz"
MIN_WORDS, MAX_WORDS = 4, 11  # of an answer


@dataclass(frozen=True)
class Clip:
    path: str
    sentence: str
    tone: str
    speaker: str
    split: str
    source: str


@dataclass(frozen=True)
class Pair:
    """One sentence in one tone, and its answer."""

    sentence: str
    tone: str
    reply: str
    reply_emotion: str


def read_clips(folder: Path) -> list[Clip]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return [
        Clip(
            str((folder / row["path"]).resolve()),
            row["transcript"],
            emotion.find(row["emotion"]).name,
            row["speaker"],
            row["split"],
            row["source"],
        )
        for row in rows
    ]


def choose_tones(clips: list[Clip]) -> dict[str, tuple[str, str]]:
    """32 sentences, each with the two tones that allow the best measurement. Chosen by counts only.

    Both tones need clips of training speakers; among those pairs of tones, the one with the most clips of test
    speakers, then of training speakers, is chosen.
    """
    count: dict[tuple[str, str, str], int] = defaultdict(int)
    source = {clip.sentence: clip.source for clip in clips}
    for clip in clips:
        count[clip.sentence, clip.tone, clip.split] += 1
    best: dict[str, tuple[tuple[int, ...], tuple[str, str]]] = {}
    for sentence in source:
        for tones in itertools.combinations(emotion.NAMES, 2):
            train = [count[sentence, tone, "train"] for tone in tones]
            test = [count[sentence, tone, "test"] for tone in tones]
            rank = (min(test), sum(test), min(min(train), MAX_CLIPS))
            if min(train) >= MIN_CLIPS and any(test) and (sentence not in best or rank > best[sentence][0]):
                best[sentence] = rank, tones
    ranked = sorted(best, key=lambda sentence: (best[sentence][0], sentence), reverse=True)
    taken: list[str] = []
    for name, share in SENTENCES_FROM.items():
        taken += [sentence for sentence in ranked if source[sentence] == name][:share]
    taken += [sentence for sentence in ranked if source[sentence] not in SENTENCES_FROM][: SENTENCES - len(taken)]
    if len(taken) < SENTENCES:
        raise EmotionOmniError(
            f"Only {len(taken)} sentences are said in two tones by speakers of both train and test. "
            f"{SENTENCES} are needed: use a larger set of recordings.",
            "too-few",
        )
    return {sentence: best[sentence][1] for sentence in taken}


def assign_answers(tones: dict[str, tuple[str, str]], seed: int = 0) -> list[Pair]:
    """A different answer for each pair, from our corpus of replies to that tone."""
    rows = [row for _, row in json_lines.read_file(REPLIES)]
    openings: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for row in sorted(rows, key=lambda row: (row["event"] != "neutral", row["reply"])):
        opening = re.split(r"(?<=[.!?])\s", row["reply"])[0]
        if MIN_WORDS <= len(opening.split()) <= MAX_WORDS and opening not in seen and not row.get("history"):
            seen.add(opening)
            openings[row["emotion"]].append(opening)
    rng = random.Random(seed)
    for known in openings.values():
        rng.shuffle(known)
    return [
        Pair(sentence, tone, openings[tone].pop(), emotion.answer_with(tone, "neutral"))
        for sentence, both in sorted(tones.items())
        for tone in both
    ]


def synthesize_answers(pairs: list[Pair], folder: Path) -> dict[str, Path]:
    """Each answer in our own voice → its file."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {pair.reply: folder / f"{number:02}.wav" for number, pair in enumerate(pairs)}
    missing = [pair for pair in pairs if not files[pair.reply].exists()]
    if missing:
        embedded = CascadeEngine.load()
        for pair in missing:
            sound = audio.join(list(embedded.speak(pair.reply, Delivery(pair.reply_emotion))))
            files[pair.reply].write_bytes(audio.wav_bytes(sound))
    return files


def manifest_rows(
    clips: list[Clip], pairs: list[Pair], spoken: dict[str, Path], shuffled: bool, seed: int = 0
) -> list[dict[str, Any]]:
    """A row for each clip of a pair. ``shuffled`` assigns a sentence's two answers to its training clips at random."""
    rng = random.Random(seed)
    by_pair = {(pair.sentence, pair.tone): pair for pair in pairs}
    by_sentence = defaultdict(list)
    for pair in pairs:
        by_sentence[pair.sentence].append(pair)
    taken: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.path):
        if (clip.sentence, clip.tone) in by_pair:
            taken[clip.sentence, clip.tone, clip.split].append(clip)
    found = []
    for (sentence, tone, split), group in sorted(taken.items()):
        if split == "train" and len(group) > MAX_CLIPS:
            group = rng.sample(group, MAX_CLIPS)
        for clip in group:
            pair = by_pair[sentence, tone]
            if shuffled and split == "train":
                pair = rng.choice(by_sentence[sentence])
            found.append(
                {
                    "query": clip.path,
                    "reply": pair.reply,
                    "reply_audio": str(spoken[pair.reply].resolve()),
                    "reply_emotion": pair.reply_emotion,
                    "emotion": tone,
                    "speaker": clip.speaker,
                    "split": split,
                }
            )
    return found
