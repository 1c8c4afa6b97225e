"""What only the end-to-end model has: cost by stage beside the memory's speed, does it learn the tone, and by heart?"""

from __future__ import annotations

import os
from typing import Any

from emotion_omni import engine
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Run

NO_OMNI = "it is about the end-to-end model; this engine is {}. Name omni:CHECKPOINT"
RUNS = {True: 4, False: 12}


def _config(run: Run) -> Any:
    if run.subject.kind != "omni":
        raise NotRun(NO_OMNI.format(run.subject.name))
    from emotion_omni import checkpoint

    source = engine.parse(run.subject._whole).source or os.environ.get(engine.CHECKPOINT, "")
    return checkpoint.check(checkpoint.find(source))[1]


def cost(run: Run) -> Outcome:
    from emotion_omni.evaluate import omni_cost

    config = _config(run)
    report = omni_cost.measure(config, run.subject.name, run.size)
    samples = [Sample("first_sound", "p50", report["first_audio_p50"])]
    return Outcome(samples, report)


def tone_contrast(run: Run) -> Outcome:
    """Trains the ``small`` model anew: it tells what the architecture learns, not what this checkpoint knows."""
    _config(run)
    if not run.sources.recordings:
        raise NotRun("it needs labelled recordings: --data or EMOTION_OMNI_SPEECH")
    from emotion_omni.evaluate import tone_contrast as bench

    folder = run.cache / "tone-contrast"
    report = bench.measure(run.sources.recordings[0], folder, bench.SETTINGS, ("both",), run.say)
    found = report["conditions"]["both"] if "conditions" in report else report
    return Outcome([], found)


def memorization(run: Run) -> Outcome:
    _config(run)
    folder = run.cache / "tone-contrast"
    if not (folder / "both").is_dir():
        raise NotRun("it goes on from the measure tone-contrast, which has not been taken here")
    from emotion_omni.evaluate import memorization as bench

    return Outcome([], bench.measure(folder))


def _measure(name: str, title: str, text: str, figures: tuple[Figure, ...], **more: Any) -> Measure:
    parts = ("recognizer", "responder", "synthesizer")
    return Measure(name, title, "Speed and cost", text, figures, parts, **more)


MEASURES = (
    _measure(
        "omni-cost",
        "Cost of the end-to-end model",
        "Stages, a token beside what the memory's speed allows, several replies at once.",
        (Figure("first_sound", "first sound, median", "lower", "s"),),
        run=cost,
        sizes={"quick": 4, "full": 12},
        cached=False,
    ),
    _measure(
        "tone-contrast",
        "Does it learn the tone?",
        "The small model is trained on the same words in two tones with two answers; hours.",
        (),
        run=tone_contrast,
        sizes={"full": 0},
        sources=("recordings",),
    ),
    _measure(
        "memorization",
        "Does it learn by heart?",
        "The same model learns to speak those answers; an hour.",
        (),
        run=memorization,
        sizes={"full": 0},
        sources=("recordings",),
    ),
)
