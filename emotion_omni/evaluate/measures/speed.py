"""How long until the first sound, by stage; memory, the language model's speed, and energy where the machine tells."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from emotion_omni import audio, processors
from emotion_omni.evaluate import latency
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, NotRun, Outcome, Run
from emotion_omni.types import Done, EmotionOmniError, Speech, Text, Turn

WARM_UP = 1  # turns that do not count
COUNTERS = Path("/sys/class/powercap")  # Intel's and AMD's energy counters, in microjoules


def measure(run: Run) -> Outcome:
    queries = [audio.decode(path) for path in sorted(latency.EXAMPLES.glob("*.wav"))]
    if not queries:
        raise NotRun("the example clips of assets/examples are not installed")
    outcome = Outcome()
    before = joules()
    for number in range(run.size + WARM_UP):
        turn = _turn(run, Turn(queries[number % len(queries)]))
        if number >= WARM_UP:
            for figure in ("first_sound", "whole_reply", "real_time", "words_a_second"):
                if turn[figure] is not None:
                    outcome.samples.append(Sample(figure, f"turn {number}", turn[figure]))
            for stage, seconds in turn["stages"].items():
                outcome.samples.append(Sample(f"reached: {stage}", f"turn {number}", seconds))
        run.say(f"  turn {number + 1} of {run.size + WARM_UP}: {turn['first_sound']} s")
    outcome.details = _details(run, outcome)
    after = joules()
    if before is None or after is None:
        outcome.not_run["energy"] = f"this machine shows no energy counters under {COUNTERS}, or only to root"
    else:
        outcome.details["joules_a_turn"] = round((after - before) / (run.size + WARM_UP), 1)
    return outcome


def _details(run: Run, outcome: Outcome) -> dict[str, Any]:
    by_figure = defaultdict(list)
    for one in outcome.samples:
        by_figure[one.figure].append(one.value)
    found: dict[str, Any] = {
        "percentiles": {
            name: {"p50": latency._percentile(values, 50), "p95": latency._percentile(values, 95)}
            for name, values in by_figure.items()
        },
        "peak_memory_mb": round(processors.peak_megabytes()),
        "peak_memory_is": "of this process, judges included",
    }
    try:
        writer = run.subject.writer[0] if run.subject.config is not None else None
        found["decode_tokens_per_second"] = latency._decode_speed(writer)  # type: ignore[arg-type]
    except (AssertionError, AttributeError, EmotionOmniError):
        outcome.not_run["tokens a second"] = "this responder does not count its tokens; words a second stand beside"
    return found


def _turn(run: Run, turn: Turn) -> dict[str, Any]:
    spoken, text, done, first = 0.0, "", Done(), None
    started = time.perf_counter()
    for event in run.subject.respond(turn):
        if isinstance(event, Speech):
            first = first if first is not None else time.perf_counter() - started
            spoken += event.audio.seconds
        elif isinstance(event, Text):
            text += event.piece
        elif isinstance(event, Done):
            done = event
    whole = time.perf_counter() - started
    heard = done.timings.get("planned", done.timings.get("heard", 0.0))
    return {
        "first_sound": None if first is None else round(first, 4),
        "whole_reply": round(whole, 4),
        "real_time": round(whole / spoken, 4) if spoken else None,
        "words_a_second": round(len(text.split()) / max(1e-6, whole - heard), 2),
        "stages": {name: round(seconds, 4) for name, seconds in done.timings.items()},
    }


def joules() -> float | None:
    """Of all packages since some moment; ``None`` where the machine does not tell."""
    found = []
    for counter in COUNTERS.glob("*/energy_uj"):
        try:
            found.append(int(counter.read_text()) / 1e6)
        except (OSError, ValueError):
            return None
    return sum(found) if found else None


MEASURE = Measure(
    name="speed",
    title="Speed and cost",
    section="Speed and cost",
    text="Our example clips are answered one after the other on this machine, with whatever else it does: a figure "
    "of speed "
    "holds only for a quiet machine. Never guarded.",
    figures=(
        Figure("first_sound", "end of the query to the first sound", "lower", "s"),
        Figure("whole_reply", "whole reply written and spoken", "lower", "s"),
        Figure("real_time", "seconds of work for a second of reply", "lower", ""),
        Figure("words_a_second", "words of a reply written and spoken in a second", "higher", ""),
        Figure("reached", "reached after", "lower", "s"),
    ),
    parts=("recognizer", "responder", "synthesizer"),
    run=measure,
    sizes={"quick": 4, "full": 12},
    cached=False,
)
