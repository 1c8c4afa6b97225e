"""Items from engines: every query answered by every engine."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from annotation.study import importing
from annotation.study.clips import Clips
from annotation.study.faults import Faults
from annotation.study.items import Item, make_item, presented
from annotation.study.progress import Progress, no_progress
from annotation.study.rules import Study
from annotation.study.source import Source
from emotion_omni import audio
from emotion_omni.engine import Engine
from emotion_omni.text_encoding import printable_name
from emotion_omni.types import Audio, Done, EmotionOmniError, Exchange, Heard, Plan, Speech, Text, Turn, VoiceSettings

AS_IT_IS = VoiceSettings()
LONGEST_FAMILY = 80  # characters


class Query(NamedTuple):
    """A recording to answer. ``sha256``: of its file. ``row``: of the researcher's table, which is at ``place``."""

    name: str
    sound: Audio
    sha256: str = ""
    row: Mapping[str, Any] | None = None
    place: str = ""

    def source(self, role: str) -> dict[str, Any]:
        """What an item keeps of it."""
        shas = {role: self.sha256} if self.sha256 else {}
        return {"file": {role: self.name}, "sha256": shas, "row": dict(self.row or {}), "place": self.place}


def read_queries(paths: Sequence[str | Path]) -> list[Query]:
    """Queries from recordings, and from folders and zip files of them, with a table or without.

    Raises :class:`ImportFaults` with all that cannot be used.
    """
    faults, queries = Faults(), list[Query]()
    for file in map(Path, paths):
        name = printable_name(file.name)
        with faults.at(name):
            if file.is_dir() or file.suffix.lower() == ".zip":
                queries += _in_source(Source.folder(file) if file.is_dir() else Source.archive(file))
            else:
                sound = audio.check_usable(audio.decode(file))
                queries.append(Query(name, sound, hashlib.sha256(file.read_bytes()).hexdigest()))
    faults.settle()
    return queries


def _in_source(source: Source) -> list[Query]:
    """A table's file column may be called "query"; its other columns are kept."""
    checked = importing.check(source, {"title": "Queries", "template": "emotion-recognition"})
    return [
        Query(
            name := entry.files["speech"],
            audio.decode(source.read(name)),
            checked.recordings[name][0],
            entry.given,
            entry.place,
        )
        for entry in checked.entries
    ]


@dataclass(frozen=True)
class Answer:
    """An engine's answer to a query."""

    engine: str
    heard: Heard
    planned: str
    text: str
    speech: Audio | None
    seed: int
    timings: Mapping[str, float]
    plan: Plan | None = None
    history: tuple[Exchange, ...] = ()
    voice: VoiceSettings = VoiceSettings()

    def about(self) -> dict[str, Any]:
        """What an item keeps as its provenance."""
        emotion = self.heard.emotion
        return self._situation() | {
            "engine": self.engine,
            "seed": self.seed,
            "planned": self.planned,
            "delivery": {"voice": self.voice.name, "intensity": self.voice.intensity, "rate": self.voice.rate},
            "transcript": self.heard.transcript,
            "heard": {name: round(value, 4) for name, value in emotion.probabilities.items()},
            "valence": round(emotion.valence, 4),
            "arousal": round(emotion.arousal, 4),
            "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
        }

    def _situation(self) -> dict[str, Any]:
        """What the responder was told besides the words: tone, kind of news, earlier turns. As training wants it."""
        found: dict[str, Any] = {}
        if self.plan is not None:
            tone = " or ".join(self.plan.unsure_between) or self.plan.tone
            found = {"event": self.plan.news, "tone": tone}
        if self.history:
            found["history"] = [
                message
                for one in self.history
                for message in (
                    {"role": "user", "text": one.transcript, "emotion": one.heard},
                    {"role": "assistant", "text": one.reply, "emotion": one.reply_emotion},
                )
            ]
        return found


def produce(
    engines: Sequence[tuple[str, Engine]],
    queries: Sequence[Query | tuple[str, Audio]],
    rules: Study,
    clips: Clips,
    seed: int = 0,
    progress: Progress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[Item], list[str]]:
    """Answer every query with every engine → items of the template, and what could not be answered.

    A comparison needs two engines, or one that is asked with two seeds.
    """
    is_comparison = rules.template == "compare"
    if is_comparison and len(engines) == 1:
        engines = [*engines, engines[0]]
    items: list[Item] = []
    refused: list[str] = []
    total = len(queries) * len(engines)
    families: set[str] = set()
    for number, given in enumerate(queries):
        query = Query(*given)
        answers = []
        for place, (engine_name, engine) in enumerate(engines):
            if stopped():
                return items, refused
            progress(number * len(engines) + place, total, f"{engine_name} answers")
            try:
                answers.append(answer(engine, query.sound, seed + place if is_comparison else seed))
            except EmotionOmniError as error:
                refused.append(f"{query.name}: {error}")
        try:
            made = items_of(_new_family(query.name, families), query.sound, answers, rules, clips)
        except EmotionOmniError as error:
            refused.append(f"{query.name}: {error}")
            continue
        for item in made:
            role = "query" if "query" in item["content"]["clips"] else "speech"
            item["content"]["source"] = query.source(role)
            item["content"]["about"] = item["content"]["about"] | {"source": query.name}
        items += made
    progress(total, total, "Done")
    return items, refused


def _new_family(name: str, taken: set[str]) -> str:
    """A name that no other query has, though files of one name lie in several folders; it is added to ``taken``."""
    numbered = (f"{number} {name}" for number in itertools.count(2))
    family = next(one for one in itertools.chain([name], numbered) if one not in taken)
    taken.add(family)
    return family


def answer(engine: Engine, query: Audio, seed: int = 0, voice: VoiceSettings = AS_IT_IS) -> Answer:
    heard: Heard | None = None
    plan: Plan | None = None
    text = ""
    sounds: list[Audio] = []
    timings: Mapping[str, float] = {}
    for event in engine.respond(Turn(query, voice=voice), seed=seed):
        match event:
            case Heard():
                heard = event
            case Plan():
                plan = event
            case Text():
                text += event.piece
            case Speech():
                sounds.append(event.audio)
            case Done():
                timings = event.timings
    if heard is None:
        raise EmotionOmniError(f"{engine.name} gave no answer.", "no-answer")
    speech = audio.join(sounds) if sounds else None
    planned = plan.emotion if plan else ""
    return Answer(engine.name, heard, planned, text.strip(), speech, seed, timings, plan, voice=voice)


# --- items ------------------------------------------------------------------------------------------------------


def items_of(name: str, query: Audio, answers: Sequence[Answer], rules: Study, clips: Clips) -> list[Item]:
    """The items of one query, as the template of the study needs them. Answers without speech are left out.

    Raises :class:`EmotionOmniError` (code ``no-words``) for *words vs voice* where no words could be made out; every
    other template takes such a query, with an empty text.
    """
    spoken = [answer for answer in answers if answer.speech is not None]
    if not spoken:
        return []
    if rules.template == "compare":
        if len(spoken) < 2:
            return []
        return presented(_pair(name, query, spoken[0], spoken[1], clips), {"query": query}, clips, rules)
    if rules.form.clips == ("speech",):
        if rules.template == "words-voice" and not spoken[0].heard.transcript:
            raise EmotionOmniError(
                "No words could be made out, and words against voice needs them. Import it with a transcript.",
                "no-words",
            )
        item = _query_alone(name, query, spoken[0], clips)
        return presented(item, {"speech": query}, clips, rules)
    answered = [_answered(name, query, answer, clips) for answer in spoken]
    return [one for item in answered for one in presented(item, {"query": query}, clips, rules)]


def _pair(name: str, query: Audio, a: Answer, b: Answer, clips: Clips) -> Item:
    """Two answers to a query, for comparing them."""
    return make_item(
        {"query": query, "a": _speech(a), "b": _speech(b)},
        clips,
        {"query": a.heard.transcript, "a": a.text, "b": b.text},
        family=_family(name),
        systems={"a": a.engine, "b": b.engine},
        about={"a": a.about(), "b": b.about(), "source": name},
    )


def _query_alone(name: str, query: Audio, answer: Answer, clips: Clips) -> Item:
    """A query, for rating its emotion."""
    return make_item(
        {"speech": query},
        clips,
        {"speech": answer.heard.transcript},
        family=_family(name),
        guess=_guess(answer.heard),
        systems={"speech": answer.engine},
        about=answer.about() | {"source": name},
    )


def _answered(name: str, query: Audio, answer: Answer, clips: Clips) -> Item:
    """A query and its answer, for rating the answer."""
    return make_item(
        {"query": query, "reply": _speech(answer)},
        clips,
        {"query": answer.heard.transcript, "reply": answer.text},
        systems={"reply": answer.engine},
        guess=_guess(answer.heard),
        about=answer.about() | {"source": name},
    )


def _family(name: str) -> str:
    """A query's name; a long one keeps its difference from others in a hash."""
    if len(name) <= LONGEST_FAMILY:
        return name
    return name[: LONGEST_FAMILY - 17] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _speech(answer: Answer) -> Audio:
    assert answer.speech is not None, "answers without speech are left out"
    return answer.speech


def _guess(heard: Heard) -> dict[str, Any]:
    return {"label": heard.emotion.label, "probability": round(heard.emotion.confidence, 3)}
