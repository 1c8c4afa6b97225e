"""The recordings that the codec learns from: sentences of the reply corpus, spoken by our own voice.

Axes: K samples at 24 kHz, F frames of 10 ms.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from emotion_omni import audio, emotion, json_lines
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.pitch_tracking import track_pitch
from emotion_omni.recognition.utterance import Utterance
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, encode_windows
from emotion_omni.synthesis.codec import HZ
from emotion_omni.types import Audio, Delivery

CORPUS = Path(__file__).with_name("replies.jsonl.gz")
SENTENCE = re.compile(r"[^.!?]+[.!?]+")
MIN_WORDS, MAX_WORDS = 4, 16  # of a sentence
WHISPER_WIDTH = 512  # of Whisper's hidden states


@dataclass(frozen=True, eq=False)
class Recording:
    """``pitch``: float64 [F] in Hz, arbitrary where nothing is voiced. ``voiced``: [F], 0 to 1.

    ``whisper_states``: float32 [50 per second, 512], the last hidden states of Whisper's encoder.
    """

    text: str
    samples: np.ndarray
    pitch: np.ndarray
    voiced: np.ndarray
    whisper_states: np.ndarray


def read_sentences(count: int) -> list[tuple[str, str]]:
    """→ sentences, each with its emotion; the emotions of replies in rotation. Always the same ones."""
    replies = [row["reply"] for _, row in json_lines.read_file(CORPUS)]
    found = sorted({sentence.strip() for reply in replies for sentence in SENTENCE.findall(reply)})
    chosen = [sentence for sentence in found if MIN_WORDS <= len(sentence.split()) <= MAX_WORDS]
    random.Random(0).shuffle(chosen)
    emotions = sorted({emotion.answer_with(heard, news) for heard in emotion.NAMES for news in emotion.NEWS})
    return [(sentence, emotions[index % len(emotions)]) for index, sentence in enumerate(chosen[:count])]


def record(embedded: CascadeEngine, folder: Path, sentences: list[tuple[str, str]]) -> list[Recording]:
    """Our voice speaks them; what is already in ``folder`` is not spoken again."""
    folder.mkdir(parents=True, exist_ok=True)
    recognizer = embedded.recognizer
    assert isinstance(recognizer, WhisperCT2Recognizer)  # that of the preset
    recordings = []
    for text, tone in sentences:
        path = folder / f"{hashlib.sha256(f'{tone} {text}'.encode()).hexdigest()[:16]}.wav"
        if not path.is_file():
            part = path.with_suffix(".part")
            part.write_bytes(audio.wav_bytes(audio.join(list(embedded.speak(text, Delivery(tone))))))
            part.rename(path)
        samples = audio.decode(path).samples
        recordings.append(Recording(text, samples, *track_pitch(samples, HZ), whisper_states(recognizer, samples)))
    return recordings


def whisper_states(recognizer: WhisperCT2Recognizer, samples: np.ndarray) -> np.ndarray:
    """24 kHz [K] → [50 per second, 512], the last hidden states of Whisper's encoder."""
    prepared = audio.set_level(audio.resample(Audio(samples, HZ), 16_000).samples)
    states = torch.cat([window[-1] for window in encode_windows(recognizer.encoder, Utterance.of(prepared))])
    return states.numpy()[: len(samples) * 50 // HZ]


def standardize(recordings: list[Recording]) -> list[Recording]:
    """The same with each dimension of the states at mean 0 and deviation 1: otherwise a few large ones dominate."""
    states = np.concatenate([recording.whisper_states for recording in recordings])
    mean, deviation = states.mean(0), states.std(0) + 1e-6
    return [
        replace(recording, whisper_states=(recording.whisper_states - mean) / deviation) for recording in recordings
    ]
