"""Is what is written said as a good reader would say it?"""

from __future__ import annotations

from emotion_omni.evaluate import reading
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.evaluate.words import ours
from emotion_omni.types import Delivery


def measure(run: Run) -> Outcome:
    from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer
    from emotion_omni.synthesis.text_normalization import normalize_text

    every = reading.lines()
    outcome = Outcome()
    for line in every:
        wrong = reading.words(normalize_text(line.written)) != reading.words(line.spoken)
        outcome.samples.append(Sample("wrong_text", line.written, float(wrong)))
    count = run.size or len(every)
    transcribe, heard = ours(WhisperCT2Recognizer.load()), []
    for line in [every[at * len(every) // count] for at in range(count)]:
        heard.append((line, transcribe(run.subject.speak(line.written, Delivery("neutral")))))
        errors, total = reading.errors(line.spoken, heard[-1][1])
        outcome.samples.append(Sample("misheard", line.written, errors / max(1, total), weight=max(1, total)))
    outcome.details = reading.sound_report([line for line, _ in heard], [text for _, text in heard])
    return outcome


MEASURE = Measure(
    name="reading",
    title="Numbers, dates, abbreviations",
    section="Voice",
    text="300 written lines: is the normalized text what a good reader says, and is it heard back from the voice?",
    figures=(
        Figure("wrong_text", "lines whose normalized text is wrong", "lower", guarded=True, margin=0.003),
        Figure("misheard", "word error rate, spoken and heard back", "lower", guarded=True, margin=0.02),
    ),
    parts=("synthesizer",),
    run=measure,
    sizes={"quick": 12, "full": 0},
    files=(reading.LINES,),
)
