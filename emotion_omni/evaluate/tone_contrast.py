"""Does the answer follow the tone? The paper's claim in small, with ablations, on real recordings.

`python -m emotion_omni.evaluate.tone_contrast --data FOLDER --out FOLDER` (hours on one core)

FOLDER holds recordings and a ``manifest.csv`` with the columns path, emotion, speaker, transcript,
source and split (train, dev, test; no speaker in two). From it 32 sentences are taken that people say
in two tones, and each of the 64 (sentence, tone) pairs gets an answer of its own, spoken by our own
voice. The model is over-fitted on the training speakers' clips, from nothing but sound. Then it hears
the same pairs from speakers it has never heard: of the two answers of the sentence, which one does it
find likelier? Chance is one half.

Trained and measured alike, each from the same start: both encoders; without the emotion encoder;
without the semantic one; and with the two answers of each sentence dealt out at random in training,
which teaches no tone and must come out at chance. Whisper's states carry tone too, so that the second
need not fall to chance. The emotion encoder has heard the training speakers with their labels, never
the others.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import accelerate
import scipy.stats
import torch
from torch import Tensor

from emotion_omni import audio, emotion, engine, processors, weights
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Omni
from emotion_omni.train import dialogues
from emotion_omni.train.examples import Batch, Examples
from emotion_omni.train.features import Features, Source
from emotion_omni.train.loop import Run
from emotion_omni.train.settings import Settings
from emotion_omni.train.sources import Sources, sources
from emotion_omni.train.stage import Keeper
from emotion_omni.train.understand import Understand, prototypes
from emotion_omni.types import Audio, EmotionOmniError

SENTENCES = 32
MOST_CLIPS = 6  # of one pair from the training speakers, so that no corpus outweighs the others
LEAST_CLIPS = 2
SHARES = {"RAVDESS": 2, "EMO-DB": 10}  # sentences of each corpus; the rest come from the others
REPLIES = Path(__file__).parents[1] / "train" / "replies.jsonl.gz"
SHORTEST, LONGEST = 4, 11  # words of an answer
CONDITIONS = ("both", "semantic-only", "emotion-only", "tone-shuffled")


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
    """One sentence in one tone, and the answer it gets."""

    sentence: str
    tone: str
    reply: str
    reply_emotion: str


def read_clips(folder: Path) -> list[Clip]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
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
    """32 sentences, each with the two tones that leave most to measure. No look at any model: counts only.

    Both tones need clips of the training speakers; of those pairs of tones the one with the most clips of
    test speakers, then of training speakers, is taken.
    """
    count: dict[tuple[str, str, str], int] = defaultdict(int)
    source = {clip.sentence: clip.source for clip in clips}
    for clip in clips:
        count[clip.sentence, clip.tone, clip.split] += 1
    best: dict[str, tuple[tuple[int, ...], tuple[str, str]]] = {}
    for sentence in source:
        for tones in itertools.combinations(emotion.NAMES, 2):
            train, test = ([count[sentence, tone, split] for tone in tones] for split in ("train", "test"))
            worth = (min(test), sum(test), min(min(train), MOST_CLIPS))
            if min(train) >= LEAST_CLIPS and sum(test) and (sentence not in best or worth > best[sentence][0]):
                best[sentence] = worth, tones
    ranked = sorted(best, key=lambda sentence: (best[sentence][0], sentence), reverse=True)
    taken: list[str] = []
    for name, share in SHARES.items():
        taken += [sentence for sentence in ranked if source[sentence] == name][:share]
    taken += [sentence for sentence in ranked if source[sentence] not in SHARES][: SENTENCES - len(taken)]
    if len(taken) < SENTENCES:
        raise EmotionOmniError(
            f"Only {len(taken)} sentences are said in two tones by speakers of both train and test; {SENTENCES} are needed. "
            "Give a larger set of recordings.",
            "too-few",
        )
    return {sentence: best[sentence][1] for sentence in taken}


def give_answers(tones: dict[str, tuple[str, str]], seed: int = 0) -> list[Pair]:
    """A different answer for each pair, from our corpus of replies to that tone."""
    with gzip.open(REPLIES, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    openings: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for row in sorted(rows, key=lambda row: (row["event"] != "neutral", row["reply"])):
        opening = re.split(r"(?<=[.!?])\s", row["reply"])[0]
        if SHORTEST <= len(opening.split()) <= LONGEST and opening not in seen and not row.get("history"):
            seen.add(opening)
            openings[row["emotion"]].append(opening)
    draw = random.Random(seed)
    for known in openings.values():
        draw.shuffle(known)
    return [
        Pair(sentence, tone, openings[tone].pop(), emotion.answer_with(tone, "neutral"))
        for sentence, both in sorted(tones.items())
        for tone in both
    ]


def speak_answers(pairs: list[Pair], folder: Path) -> dict[str, Path]:
    """Each answer in our own voice → where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {pair.reply: folder / f"{number:02}.wav" for number, pair in enumerate(pairs)}
    missing = [pair for pair in pairs if not files[pair.reply].exists()]
    voice = engine.load("embedded") if missing else None
    for pair in missing:
        files[pair.reply].write_bytes(audio.wav_bytes(audio.join(list(voice.speak(pair.reply, pair.reply_emotion)))))
    return files


def deal(clips: list[Clip], pairs: list[Pair], spoken: dict[str, Path], shuffled: bool, seed: int = 0) -> list[dict]:
    """The manifest: a row for each clip of a pair. ``shuffled`` deals a sentence's two answers to its training clips at random."""
    draw = random.Random(seed)
    by_pair = {(pair.sentence, pair.tone): pair for pair in pairs}
    of_sentence = defaultdict(list)
    for pair in pairs:
        of_sentence[pair.sentence].append(pair)
    taken: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.path):
        if (clip.sentence, clip.tone) in by_pair:
            taken[clip.sentence, clip.tone, clip.split].append(clip)
    found = []
    for (sentence, tone, split), group in sorted(taken.items()):
        if split == "train" and len(group) > MOST_CLIPS:
            group = draw.sample(group, MOST_CLIPS)
        for clip in group:
            dealt = shuffled and split == "train"
            pair = draw.choice(of_sentence[sentence]) if dealt else by_pair[sentence, tone]
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


# --- one condition ------------------------------------------------------------------------------------------------------


def heard_by(config: OmniConfig, folder: Path, condition: str) -> Sources:
    """The frozen encoders; the one that a condition leaves out gives zeros of the same length."""
    both = sources(config, folder)
    if condition == "emotion-only":
        return replace(both, semantic=_silenced(both.semantic))
    return replace(both, emotion=_silenced(both.emotion)) if condition == "semantic-only" else both


def _silenced(source: Source) -> Source:
    def load() -> Callable[[Audio], Tensor]:
        frames = source.load()
        return lambda speech: torch.zeros_like(frames(speech))

    return Source(f"no {source.name}", f"zeros {source.identity}", load)


def run(condition: str, manifest: Path, choices: dict[str, tuple[str, str]], folder: Path, settings: Settings) -> dict:
    """Train on the manifest from the start that all conditions share, then measure."""
    config = small()
    data = dialogues.read(manifest)
    model = Omni.build(config, dtype=getattr(torch, settings.frozen), seed=settings.seed)
    features = Features(folder / "features")
    networks = heard_by(config, features.folder, condition)

    def examples(split: str) -> Examples:
        made = Examples(data.of(split), config, features, networks, model.prompt_builder)
        made.prepare()
        made.measure()
        return made

    parts = {split: examples(split) for split in ("train", "dev", "test")}
    (folder / condition).mkdir(exist_ok=True)
    accelerator = accelerate.Accelerator(mixed_precision="bf16" if settings.precision == "bfloat16" else "no", cpu=True)
    lesson = Understand(model, settings.emotion_weight)
    begun = {"condition": condition, "data": data.sha256, "settings": asdict(settings)}
    model.prototypes.copy_(prototypes(parts["train"], config.emotion.width))
    keeper = Keeper(folder / condition, "understand", model, data, settings, None, accelerator)
    training = Run(lesson, parts["train"], parts["dev"], settings, accelerator, folder / condition, begun, keeper.keep)
    training.resume()
    outcome = training.go()
    model.eval()
    found = {split: answered(model, parts[split], choices) for split in ("train", "test")}
    return {"condition": condition, "outcome": asdict(outcome), "data_sha256": data.sha256, "found": found}


# --- measuring ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def answered(model: Omni, examples: Examples, choices: dict[str, tuple[str, str]], batch: int = 8) -> list[dict]:
    """For each clip: how likely its answer and the other one of its sentence are (nats), and whether greedy writing gives either."""
    found = []
    for at in range(0, len(examples), batch):
        places = range(at, min(at + batch, len(examples)))
        rows, asked = [examples.rows[place] for place in places], examples.batch(places)
        mine, own = likelihoods(model, asked, [row.reply for row in rows])
        theirs, other = likelihoods(model, asked, [other_of(choices[row.reply], row.reply) for row in rows])
        for index, row in enumerate(rows):
            found.append(
                {
                    "source": Path(row.query.where).name,
                    "speaker": row.speaker,
                    "tone": row.emotion,
                    "right": float(mine[index]),
                    "other": float(theirs[index]),
                    "writes_right": bool(own[index]),
                    "writes_other": bool(other[index]),
                }
            )
    return found


def other_of(both: tuple[str, str], one: str) -> str:
    return both[both[0] == one]


def likelihoods(model: Omni, asked: Batch, replies: list[str]) -> tuple[Tensor, Tensor]:
    """→ log-likelihoods [B] of these answers to these queries, end included; and whether each token is the likeliest [B]."""
    answers = [model.prompt_builder.answer(reply) for reply in replies]
    _, logits = model(asked.query, asked.prompts, answers)
    scores, likeliest = [], []
    for index, ids in enumerate(answers):
        targets, rows = torch.tensor(ids), logits[index, : len(ids)].float().log_softmax(-1)
        scores.append(rows[range(len(ids)), targets].sum())
        likeliest.append(bool((rows.argmax(-1) == targets).all()))
    return torch.stack(scores), torch.tensor(likeliest)


def summary(found: list[dict]) -> dict:
    """Share of clips whose own answer is the likelier one, with a 95 % interval.

    Wilson's, which takes clips as independent; those of one speaker are not quite, so speakers are listed.
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
    data: Path, out: Path, settings: Settings, conditions: tuple[str, ...], say: Callable[[str], None] = print
) -> dict:
    """All conditions, one after the other; what a run before has finished is kept."""
    clips = read_clips(data)
    pairs = give_answers(choose_tones(clips))
    spoken = speak_answers(pairs, out / "answers")
    of_sentence = defaultdict(list)
    for pair in pairs:
        of_sentence[pair.sentence].append(pair.reply)
    choices = {reply: tuple(both) for both in of_sentence.values() for reply in both}
    reports = {}
    for condition in conditions:
        done = out / f"{condition}.json"
        if not done.exists():
            manifest = out / f"{condition}.jsonl"
            dealt = deal(clips, pairs, spoken, shuffled=condition == "tone-shuffled")
            manifest.write_text("".join(json.dumps(row) + "\n" for row in dealt), "utf-8")
            started = time.perf_counter()
            report = run(condition, manifest, choices, out, settings)
            report["seconds"] = round(time.perf_counter() - started)
            done.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        report = json.loads(done.read_text("utf-8"))
        reports[condition] = {
            "loss": report["outcome"]["loss"],
            "steps": report["outcome"]["done"],
            "seconds": report["seconds"],
        }
        reports[condition] |= {split: summary(report["found"][split]) for split in ("train", "test")}
        train, test = reports[condition]["train"], reports[condition]["test"]
        say(
            f"{condition:14} {test['accuracy']:.3f} {test['interval']} of {test['clips']} clips by speakers never heard; "
            f"training clips {train['accuracy']:.3f}, written out exactly {train['writes_right']:.3f}"
        )
    return {
        "machine": processors.describe(),
        "chance": 0.5,
        "pairs": len(pairs),
        "settings": asdict(settings),
        "manifest_sha256": weights.sha256(data / "manifest.csv"),
        "conditions": reports,
        "answers": [asdict(pair) for pair in pairs],
    }


SETTINGS = Settings(epochs=10, batch=4, adapter_rate=1e-3, lora_rate=1e-3, told=0, evaluate_every=10_000, save_every=50)
"""Rates above the paper's: it has hundreds of thousands of dialogues to learn from, and this has 64."""


def small() -> OmniConfig:
    """The preset without the dropout of LoRA: these answers are to be learnt by heart."""
    preset = OmniConfig.preset("small")
    return replace(preset, lora=replace(preset.lora, dropout=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="recordings with a manifest.csv")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for answers, states and reports; a second call goes on"
    )
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--only", choices=CONDITIONS, action="append", help="this condition; may be given again")
    parser.add_argument("--save", type=Path, help="also write the report here")
    arguments = parser.parse_args()
    processors.share_politely()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = replace(SETTINGS, epochs=arguments.epochs)
    report = measure(arguments.data, arguments.out, settings, tuple(arguments.only or CONDITIONS))
    if arguments.save:
        arguments.save.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
