"""Items from engines: every query answered by every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.study.clips import Clips
from annotation.study.items import Item, in_modes, make_item
from annotation.study.progress import Progress, no_progress
from annotation.study.rules import Study
from emotion_omni import audio
from emotion_omni.engine import Engine
from emotion_omni.types import Audio, Done, EmotionOmniError, Heard, Plan, Speech, Text, Turn


def produce(
    engines: Sequence[tuple[str, Engine]],
    queries: Sequence[tuple[str, Audio]],
    rules: Study,
    clips: Clips,
    seed: int = 0,
    progress: Progress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[Item], list[str]]:
    """Answer every query with every engine → items of the template, and what could not be answered.

    Comparison needs two engines, or one that is asked with two seeds.
    """
    if rules.template == "compare" and len(engines) == 1:
        engines = [*engines, engines[0]]
    found, refused, total = [], [], len(queries) * len(engines)
    for number, (name, query) in enumerate(queries):
        answers = []
        for place, (engine_name, engine) in enumerate(engines):
            if stopped():
                return found, refused
            progress(number * len(engines) + place, total, f"{engine_name} answers")
            try:
                answers.append(answer(engine, query, seed + (place if rules.template == "compare" else 0)))
            except EmotionOmniError as error:
                refused.append(f"{name}: {error}")
        found += items_of(name, query, answers, rules, clips)
    progress(total, total, "Done")
    return found, refused


@dataclass(frozen=True)
class Answer:
    """What an engine made of a query."""

    engine: str
    heard: Heard
    planned: str
    text: str
    speech: Audio | None
    seed: int
    timings: Mapping[str, float]

    def about(self) -> dict[str, Any]:
        felt = self.heard.emotion
        return {
            "engine": self.engine,
            "seed": self.seed,
            "planned": self.planned,
            "transcript": self.heard.transcript,
            "heard": {name: round(value, 4) for name, value in felt.probabilities.items()},
            "valence": round(felt.valence, 4),
            "arousal": round(felt.arousal, 4),
            "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
        }


def answer(engine: Engine, query: Audio, seed: int = 0) -> Answer:
    heard, planned, text, sounds, timings = None, "", "", [], {}
    for event in engine.respond(Turn(query), seed=seed):
        match event:
            case Heard():
                heard = event
            case Plan():
                planned = event.emotion
            case Text():
                text += event.piece
            case Speech():
                sounds.append(event.audio)
            case Done():
                timings = event.timings
    return Answer(engine.name, heard, planned, text.strip(), audio.join(sounds) if sounds else None, seed, timings)


def items_of(name: str, query: Audio, answers: Sequence[Answer], rules: Study, clips: Clips) -> list[Item]:
    spoken = [one for one in answers if one.speech is not None]
    family = f"{name}"[:80]
    if not spoken:
        return []
    if rules.template == "compare":
        if len(spoken) < 2:
            return []
        a, b = spoken[:2]
        return [
            make_item(
                {"query": query, "a": a.speech, "b": b.speech},
                clips,
                {"query": a.heard.transcript, "a": a.text, "b": b.text},
                family=family,
                systems={"a": a.engine, "b": b.engine},
                about={"a": a.about(), "b": b.about(), "source": name},
            )
        ]
    if rules.form.clips == ("speech",):
        made = make_item(
            {"speech": query},
            clips,
            {"speech": spoken[0].heard.transcript},
            family=family,
            guess=guess_of(spoken[0].heard),
            systems={"speech": spoken[0].engine},
            about=spoken[0].about() | {"source": name},
        )
        return in_modes(made, query, clips) if rules.template == "words-voice" else [made]
    return [answered_item(query, one, clips, source=name) for one in spoken]


def answered_item(
    query: Audio, one: Answer, clips: Clips, source: str = "", contributor: str | None = None, **more: Any
) -> Item:
    """A query and its answer, for rating the answer."""
    return make_item(
        {"query": query, "reply": one.speech},
        clips,
        {"query": one.heard.transcript, "reply": one.text},
        contributor=contributor,
        systems={"reply": one.engine},
        guess=guess_of(one.heard),
        about=one.about() | {"source": source} | more,
    )


def guess_of(heard: Heard) -> dict[str, Any]:
    return {"label": heard.emotion.label, "probability": round(heard.emotion.confidence, 3)}
