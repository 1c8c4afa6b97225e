"""Are the words right? Word errors on emotional and on made-up speech, beside faster-whisper with the same model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jiwer
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from emotion_omni import audio
from emotion_omni.evaluate import words
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.made_up_speech import VOICES, MadeUpSpeech, Query
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.types import Audio, EmotionOmniError

ENOUGH = 2  # a manifest without transcripts says nothing of words


def measure(run: Run) -> Outcome:
    outcome = Outcome()
    systems: dict[str, Callable[[Audio], str]] = {"wer": lambda sound: heard(run, sound)}
    try:
        others = words.faster_whisper()
        systems["beside"] = others["faster-whisper, greedy"]
    except EmotionOmniError as error:
        outcome.not_run["faster-whisper beside it"] = str(error)
    if not run.sources.recordings:
        outcome.not_run["recordings"] = "none are named: --data or EMOTION_OMNI_SPEECH"
    wrong = []
    for number, (source, text, sound) in enumerate(spoken(run), 1):
        for figure, transcribe in systems.items():
            found = transcribe(sound)
            errors, count = word_errors(text, found)
            item = f"{source} {number}"
            outcome.samples.append(Sample(figure, item, errors / count, stratum=source, weight=count))
            outcome.samples.append(Sample(f"{figure}: {source}", item, errors / count, weight=count))
            if figure == "wer" and errors:
                wrong.append({"source": source, "said": text, "heard": found})
    outcome.details = {"misheard": wrong[:20]}
    return outcome


def spoken(run: Run) -> Iterator[tuple[str, str, Audio]]:
    """(source, words, sound): clips with English transcripts, then sentences of our own voice."""
    for folder in run.sources.recordings:
        for one in words.manifest(folder, run.sources.split, run.size or 60):
            if one.language == "en" and len(one.transcript.split()) >= ENOUGH:
                yield one.source, one.transcript, one.read()
    speech = MadeUpSpeech(run.cache / "spoken")
    for number, text in enumerate(words.SENTENCES[: run.size or None]):
        query = Query(f"sentence {number}", text, words.EMOTIONS[number % 4], VOICES[number % 2])
        yield words.READ, text, speech.sound(query)


def heard(run: Run, sound: Audio) -> str:
    try:
        return run.subject.hear(audio.resample(sound, words.HZ)).transcript
    except EmotionOmniError:
        return ""


def word_errors(said: str, found: str) -> tuple[int, int]:
    """Without case and punctuation → errors and the number of words said."""
    normalize = BasicTextNormalizer()
    true, text = normalize(said).strip(), normalize(found).strip()
    counts = jiwer.process_words(true, text) if text else None
    total = max(1, len(true.split()))
    return (counts.substitutions + counts.deletions + counts.insertions if counts else total), total


MEASURE = Measure(
    name="words",
    title="Words",
    section="Hearing",
    text="Word error rate on English recordings with a transcript, and on sentences read by our own voice; "
    "faster-whisper "
    "with the same model file, greedy, beside it.",
    figures=(
        Figure("wer", "word error rate", "lower", guarded=True, margin=0.01),
        Figure("beside", "word error rate of faster-whisper base", "neither"),
    ),
    parts=("recognizer",),
    run=measure,
    sizes={"quick": 6, "full": 0},
    sources=("recordings", "split"),
)
