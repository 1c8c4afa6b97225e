"""Does it repeat itself over a conversation of twenty turns?"""

from __future__ import annotations

from pathlib import Path

from emotion_omni import json_lines
from emotion_omni.evaluate import text_figures
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.types import Exchange

TALKS = Path(__file__).parents[1] / "sets" / "talks.jsonl"  # what a person says, each with its tone


def measure(run: Run) -> Outcome:
    talks = [row for _, row in json_lines.read_file(TALKS)]
    outcome = Outcome()
    for talk in talks[: run.size or None]:
        history: list[Exchange] = []
        for number, (text, tone) in enumerate(talk["turns"], 1):
            reply = run.subject.reply(text, tone, tuple(history))
            before = [one.reply for one in history]
            for figure, value in (
                ("repeated_sentences", text_figures.repeated(reply.text, before)),
                ("repeated_pairs", text_figures.repeated_pairs(reply.text, before)),
            ):
                outcome.samples.append(
                    Sample(figure, f"{talk['id']} {number}", round(value, 5), weight=float(number > 1))
                )
            history.append(Exchange(text, tone, reply.text, reply.emotion))
        run.say(f"  conversation {talk['id']}: {len(history)} turns")
        outcome.details[talk["id"]] = [
            {"tone": one.heard, "said": one.transcript, "reply": one.reply} for one in history
        ]
    return outcome


MEASURE = Measure(
    name="conversation",
    title="Twenty turns",
    section="Answering",
    text="Written conversations; each turn is answered with all that was said and answered before.",
    figures=(
        Figure("repeated_sentences", "sentences said before, word for word", "lower", guarded=True, margin=0.03),
        Figure("repeated_pairs", "pairs of words said before", "lower"),
    ),
    parts=("responder",),
    run=measure,
    sizes={"quick": 1, "full": 0},
    files=(TALKS,),
)
