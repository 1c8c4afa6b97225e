"""Evaluate a voice: is the meant emotion heard, and what does it cost?

``python -m emotion_omni evaluate --only synthesis --out FOLDER``

Every sentence is spoken in every emotion, by several voices; its words say nothing of an emotion. Two recognizers name
what they hear in clips of equal level, each knowing the voice from its other clips: that of the engine, by which the
prosody was searched, and the acoustic functionals, which took no part in the search. Beside it stand the predicted
opinion score, word errors, likeness to the neutral voice, level, and whether more intensity is heard as more.

Axes: N clips, E emotions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyloudnorm
import soundfile
import torch

from emotion_omni import audio, emotion, processors
from emotion_omni.engine import SpeaksText
from emotion_omni.evaluate.functionals_recognizer import FunctionalsRecognizer
from emotion_omni.evaluate.speaker_similarity import SpeakerEmbedder, similarity
from emotion_omni.evaluate.speech_quality import SpeechQuality
from emotion_omni.evaluate.words import word_errors
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, spoken_frames
from emotion_omni.types import Audio, Delivery, Emotion, SpeakerEstimate, Turn

SENTENCES = (  # none of the search; statements that go with any emotion
    "The train to the coast leaves at ten past four.",
    "My sister lives on the second floor.",
    "They painted the front door last week.",
    "He brought the boxes back on Thursday.",
    "The shop is opposite the old station.",
    "I have put your coat in the hall.",
    "We had dinner at their place again.",
    "Somebody left this in the car.",
    "The phone rang twice this morning.",
    "You are going to see them tomorrow.",
)
INTENSITIES = (0.25, 0.5, 0.75, 1.0)
LEVEL_DBFS = -23.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``sentences``: how many of :data:`SENTENCES`; every second one is also spoken at lower intensities."""

    voices: tuple[str, ...] = ("",)
    sentences: int = len(SENTENCES)


@dataclass(frozen=True, eq=False)
class Clip:
    voice: str
    emotion: str
    intensity: float
    sentence: str
    sound: Audio

    @property
    def equalized(self) -> Audio:
        """At the level of all others, so that loudness gives nothing away."""
        return replace(self.sound, samples=audio.set_level(self.sound.samples, LEVEL_DBFS))


class SpeakerAwareRecognizer(Protocol):
    """A recognizer of emotion that can know a voice."""

    def features(self, sound: Audio) -> np.ndarray: ...
    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, SpeakerEstimate]: ...


class EmbeddedEmotionRecognizer:
    """The recognizer of the engine ``embedded``."""

    def __init__(self, recognizer: WhisperCT2Recognizer) -> None:
        self._recognizer = recognizer
        self._head: Any = recognizer.emotion_head

    def features(self, sound: Audio) -> np.ndarray:
        encoded = self._recognizer.encode(self._recognizer.prepare(sound))
        return self._head.features(*spoken_frames(encoded.windows, encoded.utterance)).numpy()

    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, SpeakerEstimate]:
        return self._head.classify(torch.from_numpy(features), speaker)


def measure(engine: SpeaksText, options: Options, say: Say, keep: Callable[[Clip], None] = lambda clip: None) -> dict:
    """The report. ``keep`` is called with every clip at full intensity, e.g. to write samples."""
    recognizer = WhisperCT2Recognizer.load()
    clips = list(speak_all(engine, options, say))
    full = [clip for clip in clips if clip.intensity == 1]
    for clip in full:
        keep(clip)
    judges: dict[str, SpeakerAwareRecognizer] = {
        "embedded": EmbeddedEmotionRecognizer(recognizer),
        "functionals": FunctionalsRecognizer.load(),
    }
    heard = {name: judge(recognizes, clips, say, name) for name, recognizes in judges.items()}
    report: dict[str, Any] = {
        "machine": processors.describe(),
        "voices": list(options.voices),
        "sentences": list(SENTENCES[: options.sentences]),
        "clips": len(clips),
        "heard": {name: heard_row(full, found) for name, found in heard.items()},
        "by_intensity": {name: by_intensity(clips, found) for name, found in heard.items()},
        "cost": costs(full, recognizer, say),
    }
    return report


def writing_samples(folder: Path) -> Callable[[Clip], None]:
    """Writes the clips of the first sentence, as Ogg Opus."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(clip: Clip) -> None:
        if clip.sentence == SENTENCES[0]:
            file = folder / f"{clip.voice or 'default'}-{clip.emotion}.ogg"
            soundfile.write(file, clip.sound.samples, clip.sound.hz, format="OGG", subtype="OPUS")

    return write


def as_text(report: Mapping[str, Any]) -> str:
    lines = [f"{report['clips']} clips, voices {', '.join(report['voices'])}"]
    for name, row in report["heard"].items():
        recalls = "  ".join(f"{label} {value:.2f}" for label, value in row["recall"].items())
        rising = report["by_intensity"][name]["monotone"]
        lines.append(
            f"  heard by {name}: {row['uar']:.2f}, quadrant {row['right_quadrant']:.2f}; {recalls}; {rising} of 7 rise"
        )
    for label, row in report["cost"].items():
        lines.append(
            f"  {label}: " + "  ".join(f"{name} {value}" for name, value in row.items() if name != "mos_by_voice")
        )
    return "\n".join(lines)


# --- speaking -----------------------------------------------------------------------------------------------------


def speak_all(engine: SpeaksText, options: Options, say: Say) -> Iterator[Clip]:
    for voice in options.voices:
        for label in emotion.NAMES:
            for number, sentence in enumerate(SENTENCES[: options.sentences]):
                lower = number % 2 == 0 and label != "neutral"
                for intensity in INTENSITIES if lower else (1.0,):
                    pieces = list(engine.speak(sentence, Delivery(label, intensity, voice)))
                    yield Clip(voice, label, intensity, sentence, audio.join(pieces))
            say(f"{voice or 'default voice'}: {label} spoken")


# --- hearing ------------------------------------------------------------------------------------------------------


def judge(recognizer: SpeakerAwareRecognizer, clips: Sequence[Clip], say: Say, name: str) -> dict[Clip, Emotion]:
    """What is heard in each clip, with the voice known from its other clips at full intensity."""
    features = {clip: recognizer.features(clip.equalized) for clip in clips}
    say(f"{name}: heard {len(clips)} clips")
    found = {}
    for clip in clips:
        speaker = None
        for other in clips:
            same_voice = other.voice == clip.voice and other.intensity == 1
            if same_voice and (other.sentence != clip.sentence or other.emotion != clip.emotion):
                speaker = recognizer.classify(features[other], speaker)[1]
        found[clip] = recognizer.classify(features[clip], speaker)[0]
    return found


def heard_row(clips: Sequence[Clip], heard: Mapping[Clip, Emotion]) -> dict[str, Any]:
    """Recall, also with the right signs of valence and arousal only, and the confusion matrix."""
    confusion = {
        label: {
            other: sum(heard[clip].label == other for clip in clips if clip.emotion == label) for other in emotion.NAMES
        }
        for label in emotion.NAMES
    }
    recalls = {label: row[label] / max(1, sum(row.values())) for label, row in confusion.items()}
    return {
        "uar": round(float(np.mean(list(recalls.values()))), 4),
        "right_quadrant": round(float(np.mean([same_quadrant(clip.emotion, heard[clip].label) for clip in clips])), 4),
        "recall": {label: round(value, 4) for label, value in recalls.items()},
        "by_voice": _by_voice(clips, [heard[clip].label == clip.emotion for clip in clips]),
        "confusion": confusion,
    }


def same_quadrant(one: str, other: str) -> bool:
    """Neutral is only like itself; others agree in the signs of valence and arousal."""
    if "neutral" in (one, other):
        return one == other
    first, second = emotion.find(one), emotion.find(other)
    return first.valence * second.valence > 0 and first.arousal * second.arousal > 0


def by_intensity(clips: Sequence[Clip], heard: Mapping[Clip, Emotion]) -> dict[str, Any]:
    """The mean probability of the meant emotion at each intensity, and whether it rises."""
    found: dict[str, Any] = {}
    graded = {clip.sentence for clip in clips if clip.intensity < 1}
    for label in emotion.NAMES[1:]:
        own = [clip for clip in clips if clip.emotion == label and clip.sentence in graded]
        row = [
            float(np.mean([heard[clip].probabilities[label] for clip in own if clip.intensity == intensity]))
            for intensity in INTENSITIES
        ]
        rising = all(before < after for before, after in zip(row, row[1:], strict=False))
        found[label] = {"probability": [round(value, 4) for value in row], "monotone": rising}
    found["monotone"] = sum(row["monotone"] for row in found.values())
    return found


# --- what it costs ------------------------------------------------------------------------------------------------


def costs(clips: Sequence[Clip], recognizer: WhisperCT2Recognizer, say: Say) -> dict[str, Any]:
    """By emotion: opinion score, word errors, likeness to the neutral clip, level beside it, steps and clipping."""
    quality, embedder = SpeechQuality.load(), SpeakerEmbedder.load()
    neutral = {(clip.voice, clip.sentence): clip for clip in clips if clip.emotion == "neutral"}
    embeddings = {key: embedder.embed(clip.sound) for key, clip in neutral.items()}
    found: dict[str, Any] = {}
    for label in emotion.NAMES:
        own = [clip for clip in clips if clip.emotion == label]
        keys = [(clip.voice, clip.sentence) for clip in own]
        alike = [similarity(embedder.embed(clip.sound), embeddings[key]) for clip, key in zip(own, keys, strict=True)]
        words = [recognizer.recognize(Turn(clip.sound, emotion="neutral")).transcript for clip in own]
        scores = [quality.score(clip.sound) for clip in own]
        louder = [loudness(clip.sound) - loudness(neutral[key].sound) for clip, key in zip(own, keys, strict=True)]
        found[label] = {
            "mos": round(float(np.mean(scores)), 3),
            "mos_by_voice": _by_voice(own, scores),
            "wer": word_errors([clip.sentence for clip in own], words),
            "similarity": round(float(np.mean(alike)), 3),
            "louder_lu": round(float(np.mean(louder)), 2),
            "largest_step": round(max(float(np.abs(np.diff(clip.sound.samples)).max()) for clip in own), 3),
            "peak": round(max(float(np.abs(clip.sound.samples).max()) for clip in own), 3),
            "seconds": round(float(np.mean([clip.sound.seconds for clip in own])), 2),
        }
        say(f"{label}: {found[label]}")
    return found


def _by_voice(clips: Sequence[Clip], values: Sequence[float]) -> dict[str, float]:
    """The mean of one value a clip."""
    groups: dict[str, list[float]] = {}
    for clip, value in zip(clips, values, strict=True):
        groups.setdefault(clip.voice, []).append(value)
    return {voice: round(float(np.mean(group)), 3) for voice, group in groups.items()}


def loudness(sound: Audio) -> float:
    """LUFS (ITU-R BS.1770)."""
    return float(pyloudnorm.Meter(sound.hz).integrated_loudness(sound.samples.astype(np.float64)))
