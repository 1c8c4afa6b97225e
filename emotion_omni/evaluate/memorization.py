"""Does the model memorize 64 answers, text and voice? The second half of the experiment :mod:`tone_contrast`.

``python -m emotion_omni bench memorization --folder FOLDER``

FOLDER is that experiment's, with its condition ``both`` trained. Stage 2 starts from there: from one recording of each
(sentence, tone) pair the model learns to say the answer's speech tokens. Then it answers as in a conversation, in text
and sound, with greedy decoding. Counted are answers that are right word for word, speech tokens that are right given
all true ones before them, and the words that Whisper base hears in the sound. The same for one recording of each pair
by speakers that were never heard.

What Whisper mishears in the true tokens, decoded by the codec, is the floor of the last figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jiwer
import torch
from torch import Tensor
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from emotion_omni import checkpoint, json_lines, processors
from emotion_omni.evaluate.tone_contrast import SETTINGS
from emotion_omni.omni.config import SpeechSampling, TextSampling
from emotion_omni.omni.generation import ReplyGenerator
from emotion_omni.omni.model import Omni
from emotion_omni.omni.padding import length_mask
from emotion_omni.omni.speech_decoder import TextInputs
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.synthesis.vocoder import Vocoder
from emotion_omni.train import dialogues
from emotion_omni.train.batches import DialogueDataset
from emotion_omni.train.feature_extractors import extractors
from emotion_omni.train.features import FeatureCache
from emotion_omni.train.loop import STATE
from emotion_omni.train.settings import Settings
from emotion_omni.train.stage import Start, train
from emotion_omni.types import Audio, EmotionOmniError, Turn

GREEDY_TEXT, GREEDY_SPEECH = TextSampling(temperature=0), SpeechSampling(temperature=0)
SPEAK_SETTINGS = replace(SETTINGS, epochs=40)

Transcriber = Callable[[Audio], str]


def one_of_each(rows: list[dict]) -> list[dict]:
    """The first recording of each answer in training and, where there is one, in test."""
    first: dict[tuple[str, str], dict] = {}
    for row in rows:
        if row["split"] != "dev":
            first.setdefault((row["split"], row["reply"]), row)
    return list(first.values())


def train_speech(folder: Path, settings: Settings) -> tuple[Omni, Path]:
    """Stage 2 on top of ``both`` → the model, and its manifest. A second call resumes."""
    parent, manifest, run = folder / "both" / "last", folder / "memorization.jsonl", folder / "speak"
    if not parent.is_dir():
        raise EmotionOmniError(
            f"There is no {str(parent)!r}. First run: python -m emotion_omni bench tone-contrast --data RECORDINGS "
            f"--folder {folder} --only both",
            "missing",
        )
    rows = [row for _, row in json_lines.read_file(folder / "both.jsonl")]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in one_of_each(rows)), "utf-8")
    settings = replace(settings, feature_folder=str(folder / "features"))
    train("speak", Start(parent=str(parent)), str(manifest), run, settings, resume=(run / STATE).exists())
    model, _ = checkpoint.load(run / "last")
    return model.eval(), manifest


def dataset_of(model: Omni, manifest: Path, split: str) -> DialogueDataset:
    """Rows of one split, with their speech tokens."""
    features = FeatureCache(manifest.parent / "features")
    networks = extractors(model.config, features.folder, speech=True)
    dataset = DialogueDataset(
        dialogues.read(manifest).of(split), model.config, features, networks, model.prompt_builder
    )
    dataset.prepare()
    return dataset


@torch.no_grad()
def right_tokens(model: Omni, dataset: DialogueDataset, index: int) -> tuple[int, int]:
    """→ how many speech tokens are the argmax given the true ones before them, streaming; and of how many."""
    batch = dataset.batch([index])
    answer, _ = model(batch.query, batch.prompts, batch.answers)
    text = TextInputs(answer.hidden_states, answer.token_embeddings, model.plan_emotions(answer), answer.lengths)
    logits = model.speech_decoder(text, batch.speech, batch.speech_lengths, torch.ones(1, dtype=torch.bool))[0]
    right = (logits[:, :-1].argmax(-1) == batch.speech) & length_mask(batch.speech_lengths, batch.speech.shape[1])
    return int(right.sum()), int(batch.speech_lengths.sum())


def answers(model: Omni, dataset: DialogueDataset, vocoder: Vocoder, transcribe: Transcriber) -> list[dict[str, Any]]:
    """Each query answered as in a conversation: the text, and the words heard in its sound and in the true tokens'."""
    generator = ReplyGenerator(model, GREEDY_TEXT, GREEDY_SPEECH)
    found = []
    for index, row in enumerate(dataset.rows):
        batch = dataset.batch([index])
        reply = generator.generate(batch.query, batch.prompts, [0])[0]
        right, count = right_tokens(model, dataset, index)
        found.append(
            {
                "reply": row.reply,
                "tone": row.emotion,
                "written": reply.text,
                "tokens_right": right,
                "tokens": count,
                "heard": _words_in(vocoder, reply.speech, transcribe),
                "heard_in_true_tokens": _words_in(vocoder, batch.speech[0], transcribe),
            }
        )
    return found


def _words_in(vocoder: Vocoder, tokens: tuple[int, ...] | Tensor, transcribe: Transcriber) -> str:
    samples = vocoder.stream(0).push([int(token) for token in tokens], last=True)
    return transcribe(Audio(samples, vocoder.hz)) if len(samples) else ""


def transcriber() -> Transcriber:
    """Whisper base. The model uses its encoder too, but not its decoder."""
    recognizer = WhisperCT2Recognizer.load()

    def transcribe(sound: Audio) -> str:
        try:
            return recognizer.recognize(Turn(sound, emotion="neutral")).transcript
        except EmotionOmniError:  # silence, or no speech: no words
            return ""

    return transcribe


def word_errors(true: list[str], heard: list[str]) -> float:
    """Word error rate over all of them together, without case and punctuation."""
    normalize = BasicTextNormalizer()
    return round(jiwer.wer([normalize(text).strip() for text in true], [normalize(text).strip() for text in heard]), 3)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    true, written = [row["reply"] for row in found], [row["written"] for row in found]
    exact = sum(row["reply"] == row["written"] for row in found)
    tokens = sum(row["tokens"] for row in found)
    return {
        "recordings": len(found),
        "written_exactly": round(exact / len(found), 3),
        "speech_tokens_right": round(sum(row["tokens_right"] for row in found) / tokens, 3),
        "word_errors_of_what_is_heard_against_what_it_wrote": word_errors(written, [row["heard"] for row in found]),
        "word_errors_of_the_true_tokens": word_errors(true, [row["heard_in_true_tokens"] for row in found]),
    }


def measure(folder: Path, settings: Settings = SPEAK_SETTINGS) -> dict[str, Any]:
    """The report."""
    model, manifest = train_speech(folder, settings)
    trained = json.loads((folder / "speak" / "report.json").read_text("utf-8"))
    vocoder = voice.load_vocoder(model.config.voice, model.config.speech.codebook_size)
    transcribe = transcriber()
    found = {
        split: answers(model, dataset_of(model, manifest, split), vocoder, transcribe) for split in ("train", "test")
    }
    return {
        "machine": processors.describe(),
        "settings": asdict(settings),
        "training_seconds": round(trained["seconds"]),
        "loss": trained["loss"]["loss"],
        **{split: summary(rows) for split, rows in found.items()},
        "answers": found,
    }


def as_text(report: dict[str, Any]) -> str:
    return json.dumps({split: report[split] for split in ("train", "test")}, indent=1)
