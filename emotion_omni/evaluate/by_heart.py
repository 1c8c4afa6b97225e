"""Are 64 answers learnt by heart, words and voice? The second half of the experiment :mod:`tone_contrast`.

`python -m emotion_omni.evaluate.by_heart --out FOLDER`

FOLDER is that experiment's, with its condition ``both`` trained. Stage 2 goes on from there: from one
recording of each (sentence, tone) pair the model learns to say the answer's speech tokens. Then it is
asked as when talking, and answers in words and sound, the likeliest token each time. Counted are answers
that are right word for word, speech tokens that are right when all before them are, and the words that
Whisper base hears in the sound. The same for one recording of each pair by speakers never heard.

What Whisper mishears in the true tokens, made sound again by the codec, is the floor of the last figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jiwer
import torch
from torch import Tensor
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from emotion_omni import checkpoint, engine, processors
from emotion_omni.evaluate.tone_contrast import SETTINGS
from emotion_omni.omni.config import SpeechSampling, TextSampling
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.model import Omni
from emotion_omni.omni.padding import length_mask
from emotion_omni.omni.speech_decoder import TextInputs
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.synthesis.vocoder import Vocoder
from emotion_omni.train import dialogues
from emotion_omni.train.examples import Examples
from emotion_omni.train.features import Features
from emotion_omni.train.loop import STATE
from emotion_omni.train.settings import Settings
from emotion_omni.train.sources import sources
from emotion_omni.train.stage import Begin, train
from emotion_omni.types import Audio, EmotionOmniError

GREEDY_WORDS, GREEDY_SPEECH = TextSampling(temperature=0), SpeechSampling(temperature=0)
SPEAK = replace(SETTINGS, epochs=40, speech_rate=1e-3)

Listener = Callable[[Audio], str]
"""A spoken reply → the words heard in it."""


def one_of_each(rows: list[dict]) -> list[dict]:
    """The first recording of each answer in training and, where there is one, in test."""
    first: dict[tuple[str, str], dict] = {}
    for row in rows:
        if row["split"] != "dev":
            first.setdefault((row["split"], row["reply"]), row)
    return list(first.values())


def teach(folder: Path, settings: Settings) -> tuple[Omni, Path]:
    """Stage 2 on top of ``both`` → the model, and the manifest it learnt from. A second call goes on."""
    parent, manifest, run = folder / "both" / "last", folder / "by-heart.jsonl", folder / "speak"
    if not parent.is_dir():
        raise EmotionOmniError(
            f"There is no {str(parent)!r}. Run emotion_omni.evaluate.tone_contrast --out {folder} --only both first.",
            "missing",
        )
    rows = [json.loads(line) for line in (folder / "both.jsonl").read_text("utf-8").splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in one_of_each(rows)), "utf-8")
    settings = replace(settings, feature_folder=str(folder / "features"))
    train("speak", Begin(parent=str(parent)), str(manifest), run, settings, resume=(run / STATE).exists())
    model, _ = checkpoint.load(run / "last")
    return model.eval(), manifest


def examples_of(model: Omni, manifest: Path, split: str) -> Examples:
    """Rows of one split, with their speech tokens."""
    features = Features(manifest.parent / "features")
    networks = sources(model.config, features.folder, speech=True)
    made = Examples(dialogues.read(manifest).of(split), model.config, features, networks, model.prompt_builder)
    made.prepare()
    return made


@torch.no_grad()
def right_tokens(model: Omni, examples: Examples, place: int) -> tuple[int, int]:
    """→ how many speech tokens are the likeliest after the true ones before them, streaming; and of how many."""
    batch = examples.batch([place])
    answer, _ = model(batch.query, batch.prompts, batch.answers)
    text = TextInputs(answer.hidden_states, answer.token_embeddings, model.plan_emotions(answer), answer.lengths)
    logits = model.speech_decoder(text, batch.speech, batch.speech_lengths, torch.ones(1, dtype=torch.bool))[0]
    right = (logits[:, :-1].argmax(-1) == batch.speech) & length_mask(batch.speech_lengths, batch.speech.shape[1])
    return int(right.sum()), int(batch.speech_lengths.sum())


def answered(model: Omni, examples: Examples, vocoder: Vocoder, listen: Listener) -> list[dict[str, Any]]:
    """Each query asked as when talking: what was written, and what is heard in the sound; and in that of the true tokens."""
    generator = ReplyGenerator(model, GREEDY_WORDS, GREEDY_SPEECH)
    found = []
    for place, row in enumerate(examples.rows):
        batch = examples.batch([place])
        reply = generator.generate(batch.query, batch.prompts, [0])[0]
        right, of = right_tokens(model, examples, place)
        found.append(
            {
                "reply": row.reply,
                "tone": row.emotion,
                "written": reply.text,
                "tokens_right": right,
                "tokens": of,
                "heard": _heard(vocoder, reply.speech, listen),
                "heard_in_true_tokens": _heard(vocoder, batch.speech[0], listen),
            }
        )
    return found


def _heard(vocoder: Vocoder, tokens: tuple[int, ...] | Tensor, listen: Listener) -> str:
    samples = vocoder.stream(0).push([int(token) for token in tokens], last=True)
    return listen(Audio(samples, vocoder.hz)) if len(samples) else ""


def listener() -> Listener:
    """Whisper base, which the model hears with too: its encoder, but neither its decoder nor these words."""
    ear = engine.load("embedded").ear

    def listen(sound: Audio) -> str:
        try:
            return ear.hear(sound, tone="neutral")[0].transcript
        except EmotionOmniError:  # silence, or nothing that is speech: no words
            return ""

    return listen


def word_errors(true: list[str], heard: list[str]) -> float:
    """Word error rate over all of them together; case and punctuation do not count."""
    plain = BasicTextNormalizer()
    return round(jiwer.wer([plain(words).strip() for words in true], [plain(words).strip() for words in heard]), 3)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    true, written = ([row[name] for row in found] for name in ("reply", "written"))
    return {
        "recordings": len(found),
        "written_exactly": round(sum(map(str.__eq__, true, written)) / len(found), 3),
        "speech_tokens_right": round(
            sum(row["tokens_right"] for row in found) / sum(row["tokens"] for row in found), 3
        ),
        "word_errors_of_what_is_heard_against_what_it_wrote": word_errors(written, [row["heard"] for row in found]),
        "word_errors_of_the_true_tokens": word_errors(true, [row["heard_in_true_tokens"] for row in found]),
    }


def measure(folder: Path, settings: Settings = SPEAK) -> dict[str, Any]:
    """The report."""
    model, manifest = teach(folder, settings)
    trained = json.loads((folder / "speak" / "report.json").read_text("utf-8"))
    vocoder, listen = voice.vocoder(model.config), listener()
    found = {
        split: answered(model, examples_of(model, manifest, split), vocoder, listen) for split in ("train", "test")
    }
    return {
        "machine": processors.describe(),
        "settings": asdict(settings),
        "training_seconds": round(trained["seconds"]),
        "loss": trained["loss"]["loss"],
        **{split: summary(rows) for split, rows in found.items()},
        "answers": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder of emotion_omni.evaluate.tone_contrast")
    parser.add_argument("--epochs", type=int, default=SPEAK.epochs)
    parser.add_argument("--save", type=Path, help="also write the report here")
    arguments = parser.parse_args()
    report = measure(arguments.out, replace(SPEAK, epochs=arguments.epochs))
    print(json.dumps({split: report[split] for split in ("train", "test")}, indent=1))
    if arguments.save:
        arguments.save.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
