"""Does the voice carry the emotion, and what does it cost? Our sentences, whose words say nothing of a feeling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emotion_omni import audio, emotion
from emotion_omni.evaluate import synthesis
from emotion_omni.evaluate.dnsmos import DNSMOS
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.functionals_recognizer import FunctionalsRecognizer
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.evaluate.measures.words import word_errors
from emotion_omni.evaluate.speaker_similarity import SpeakerEmbedder, similarity
from emotion_omni.evaluate.speech_quality import SpeechQuality
from emotion_omni.evaluate.synthesis import INTENSITIES, SENTENCES, Clip, same_quadrant
from emotion_omni.types import Audio, Delivery, EmotionOmniError, Turn

FRAME = 0.02  # seconds
SILENT_DBFS = -50.0
LONG_GAP = 0.6  # seconds of silence inside a sentence
ABSENT = {
    "UTMOS": "its published weights are a pickled checkpoint on the hub that no package holds; DNSMOS and DistillMOS "
    "are other predictors",
}


def measure(run: Run) -> Outcome:
    clips = list(speak(run))
    full = [clip for clip in clips if clip.intensity == 1]
    outcome = Outcome(not_run=dict(ABSENT))
    recognizer = FunctionalsRecognizer.load()
    heard = synthesis.judge(recognizer, clips, run.say, "second recognizer")
    outcome.samples += [_sample("heard", c, float(heard[c].label == c.emotion), group=c.emotion) for c in full]
    outcome.samples += [_sample("quadrant", c, float(same_quadrant(c.emotion, heard[c].label))) for c in full]
    outcome.samples += rising(clips, lambda clip: heard[clip].probabilities[clip.emotion])
    outcome.details = {
        "second recognizer": synthesis.heard_row(full, heard),
        "sentences": len({c.sentence for c in full}),
    }
    for name, values in (
        ("wer", _word_errors),
        ("mos", _quality),
        ("dnsmos", _background),
        ("similarity", _similarity),
    ):
        try:
            outcome.samples += values(full)
        except (EmotionOmniError, ImportError) as error:
            outcome.not_run[name] = str(error)
    outcome.samples += [
        sample
        for clip in full
        for sample in (
            _sample("level", clip, audio.dbfs(clip.sound.samples)),
            _sample("clipped", clip, float(np.abs(clip.sound.samples).max() >= 0.999)),
            _sample("step", clip, float(np.abs(np.diff(clip.sound.samples)).max())),
            _sample("gaps", clip, float(len(gaps(clip.sound)))),
        )
    ]
    return outcome


def speak(run: Run) -> Iterator[Clip]:
    """Every sentence in every emotion; the first third also at lower intensities."""
    chosen = SENTENCES[: run.size or None]
    for label in emotion.NAMES:
        for number, sentence in enumerate(chosen):
            lower = number < max(1, len(chosen) // 3) and label != "neutral"
            for intensity in INTENSITIES if lower else (1.0,):
                yield Clip("", label, intensity, sentence, run.subject.speak(sentence, Delivery(label, intensity)))
        run.say(f"  {label} spoken")


def _sample(figure: str, clip: Clip, value: float, group: str = "", weight: float = 1.0) -> Sample:
    """Emotions are drawn within themselves, so that each keeps its share."""
    item = f"{clip.emotion} {clip.sentence}"
    return Sample(figure, item, round(value, 5), group=group, stratum=clip.emotion, weight=weight)


def rising(clips: Sequence[Clip], probability: Callable[[Clip], float]) -> Iterator[Sample]:
    """Of each pair of neighboring intensities: is the meant emotion heard more at the higher one?"""
    graded = {clip.sentence for clip in clips if clip.intensity < 1}
    for label in emotion.NAMES[1:]:
        for sentence in sorted(graded):
            own = {c.intensity: probability(c) for c in clips if (c.emotion, c.sentence) == (label, sentence)}
            for low, high in zip(INTENSITIES, INTENSITIES[1:], strict=False):
                item = f"{label} {sentence} {high}"
                yield Sample("rising", item, float(own[high] > own[low]), f"{label} {sentence}")


def gaps(sound: Audio) -> list[float]:
    """Silences inside the speech that are longer than :data:`LONG_GAP`, in seconds."""
    size = int(FRAME * sound.hz)
    count = len(sound.samples) // size
    levels = 20 * np.log10(np.sqrt((sound.samples[: count * size].reshape(count, size) ** 2).mean(1)) + 1e-9)
    loud = np.flatnonzero(levels > SILENT_DBFS)
    runs = np.diff(loud)[np.diff(loud) > 1] * FRAME if len(loud) else np.zeros(0)
    return [float(one) for one in runs if one > LONG_GAP]


def _word_errors(clips: Sequence[Clip]) -> Iterator[Sample]:
    from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer

    recognizer = WhisperCT2Recognizer.load()
    for clip in clips:
        found = recognizer.recognize(Turn(clip.sound, emotion="neutral")).transcript
        errors, count = word_errors(clip.sentence, found)
        yield _sample("wer", clip, errors / count, weight=count)


def _quality(clips: Sequence[Clip]) -> Iterator[Sample]:
    quality = SpeechQuality.load()
    for clip in clips:
        score = quality.score(clip.sound)
        yield _sample("mos", clip, score)
        yield _sample(f"mos: {clip.emotion}", clip, score)


def _background(clips: Sequence[Clip]) -> Iterator[Sample]:
    judge = DNSMOS.load()
    for clip in clips:
        for name, score in judge.scores(clip.sound).items():
            yield _sample("dnsmos" if name == "overall" else f"dnsmos: {name}", clip, score)


def _similarity(clips: Sequence[Clip]) -> Iterator[Sample]:
    embedder = SpeakerEmbedder.load()
    neutral = {clip.sentence: embedder.embed(clip.sound) for clip in clips if clip.emotion == "neutral"}
    for clip in clips:
        if clip.emotion != "neutral":
            yield _sample("similarity", clip, similarity(embedder.embed(clip.sound), neutral[clip.sentence]))


MEASURE = Measure(
    name="voice",
    title="The voice",
    section="Voice",
    text="Neutral sentences in eight emotions. Heard by the second recognizer, whose features took no part in the "
    "search of "
    "the prosody (chance 0.125); predicted opinion scores by DistillMOS and DNSMOS; words by Whisper base.",
    figures=(
        Figure("heard", "the emotion meant is heard (second recognizer)", guarded=True, margin=0.03),
        Figure("quadrant", "its valence and arousal are heard", guarded=True, margin=0.03),
        Figure("rising", "more intensity is heard as more", guarded=True, margin=0.05),
        Figure("mos", "predicted opinion score (DistillMOS, 1 to 5)", "higher", "", guarded=True, margin=0.05),
        Figure("dnsmos", "predicted opinion score (DNSMOS P.835, 1 to 5)", "higher", "", guarded=True, margin=0.05),
        Figure("wer", "word error rate of the reply audio", "lower", guarded=True, margin=0.01),
        Figure("similarity", "likeness to the neutral voice (cosine)", "higher", "", guarded=True, margin=0.02),
        Figure("level", "level", "neither", "dBFS"),
        Figure("clipped", "clips that reach full scale", "lower", guarded=True),
        Figure("step", "largest step between samples", "neither", ""),
        Figure("gaps", f"silences over {LONG_GAP} s inside a sentence", "lower", "", guarded=True, margin=0.02),
    ),
    parts=("synthesizer",),
    run=measure,
    sizes={"quick": 3, "full": 0},
)
