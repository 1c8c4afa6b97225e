"""Blind re-rating: a comparison of parent and child on locked items, words and sound apart, and what came of it.

The queries are those of evaluation studies, which nothing was trained on. Each is answered by both; what they answer
alike is left out, and counted. Raters do not know which is which: the sides are shuffled as in any comparison.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import soundfile

from annotation.analysis.blind_verdict import BlindVerdict, blind_verdict
from annotation.analysis.results import Results
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.clips import Clips
from annotation.study.items import Item, make_item
from annotation.study.producing import Answer, Query, answer
from annotation.study.progress import Progress, no_progress
from annotation.study.rules import Study
from emotion_omni.engine import Engine
from emotion_omni.types import Audio, EmotionOmniError

MODES = ("words", "voice")
INSTRUCTIONS = (
    "You will hear what a person said. Then you read two answers, or hear them.",
    "Listen to every recording to the end. You may hear it again as often as you like.",
    "Choose the answer you would rather be given. Where you read the answers, judge their words; where you hear them, "
    "judge the voice as well.",
    "There is no right taste: we want your own impression, not what you think others would say.",
)


@dataclass(frozen=True)
class Rerating:
    """A study that was made. ``same``: queries that both answered in the same words; ``refused``: faults by query."""

    study: str
    items: int
    same: int
    refused: tuple[str, ...]


def locked_queries(items: Sequence[Row], clips: Clips, most: int = 0) -> list[Query]:
    """The recordings of evaluation items that can be answered, each once. ``most``: so many at most; 0: all.

    Those that a visitor may take back are left out: another study would keep them.
    """
    found: dict[str, Query] = {}
    for item in items:
        stored = item["content"].get("clips", {})
        clip = stored.get("query") or (stored.get("speech") if item["content"].get("mode", "both") == "both" else None)
        if item["role"] != "rate" or item.get("contributor") or clip is None or clip["sha"] in found:
            continue
        samples, hz = soundfile.read(io.BytesIO(clips.read(clip["sha"])), dtype="float32")
        found[clip["sha"]] = Query(item["family"], Audio(samples, hz), clip["sha"])
        if most and len(found) >= most:
            break
    return list(found.values())


def create(
    studio: Studio,
    parent: tuple[str, Engine],
    child: tuple[str, Engine],
    queries: Sequence[Query],
    title: str = "",
    by: str | None = None,
    progress: Progress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
    **rules: object,
) -> Rerating:
    """A study in which raters compare both answers to each query, read and heard. Engines: (name, engine).

    Raises :class:`EmotionOmniError` (code ``nothing-to-compare``) if no query has two different answers.
    """
    settings = {"title": title or f"{child[0]} or {parent[0]}?", "template": "compare", "modes": list(MODES)}
    study_rules = Study.read(settings | {"split": "evaluation", "instructions": list(INSTRUCTIONS)} | rules)
    items: list[Item] = []
    refused: list[str] = []
    same = 0
    for number, query in enumerate(queries):
        if stopped():
            break
        progress(number, len(queries), "both answer")
        try:
            answers = [answer(engine, query.sound) for _, engine in (parent, child)]
        except EmotionOmniError as error:
            refused.append(f"{query.name}: {error}")
            continue
        if answers[0].text == answers[1].text:
            same += 1
        items += compared(query, answers, (parent[0], child[0]), study_rules, studio.clips)
    progress(len(queries), len(queries), "Done")
    if not items:
        raise EmotionOmniError(
            f"None of {len(queries)} queries has two different answers ({same} had the same words; {len(refused)} "
            "could not be answered). There is nothing to compare.",
            "nothing-to-compare",
        )
    study = lifecycle.create(studio.store, studio.clips, study_rules, items, by)
    return Rerating(study, len(items), same, tuple(refused))


def compared(query: Query, answers: Sequence[Answer], names: tuple[str, str], rules: Study, clips: Clips) -> list[Item]:
    """The items of one query: its answers to be read, where their words differ, and heard, where there is sound."""
    first, second = answers
    texts = {"query": first.heard.transcript, "a": first.text, "b": second.text}
    sounds = {"query": query.sound} | {
        role: one.speech for role, one in (("a", first), ("b", second)) if one.speech is not None
    }
    modes = [mode for mode in rules.modes if (mode == "words" and first.text != second.text) or mode == "voice"]
    if len(sounds) < 3 or _same_sound(first, second):
        modes = [mode for mode in modes if mode != "voice"]
    item = make_item(
        sounds,
        clips,
        texts,
        family=f"rerating {query.sha256 or query.name}",
        systems=dict(zip("ab", names, strict=True)),
        about={"a": first.about(), "b": second.about(), "source": query.name},
    )
    return [item | {"content": item["content"] | {"mode": mode}} for mode in modes]


def _same_sound(first: Answer, second: Answer) -> bool:
    one, other = first.speech, second.speech
    return one is not None and other is not None and one.samples.tobytes() == other.samples.tobytes()


def outcome(results: Results, child: str) -> dict[str, BlindVerdict]:
    """What raters say, by mode: of ``words`` and of ``voice``. Flagged raters do not count."""
    votes = results.votes()
    modes = [mode for mode in MODES if (votes["mode"] == mode).any()] if len(votes) else []
    return {mode: blind_verdict(votes[votes["mode"] == mode], child) for mode in modes}
