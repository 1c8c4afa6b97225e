"""One worker: a written dialogue → a finished one, spoken and judged. Runs in a process of its own, one thread a model.

Keeps nothing between dialogues but its models, so any worker gives the same bytes for a dialogue. Writes no files.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from emotion_omni.data.audio_filter import AudioFilter
from emotion_omni.data.channel import channel_of
from emotion_omni.data.dialogue import WrittenDialogue
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.data.scenarios import Scenario
from emotion_omni.data.voice import DialogueSpeaker, channel_name, flac, load_synthesizer
from emotion_omni.types import EmotionOmniError

ORPHAN_POLL = 1.0  # seconds between looks for the coordinator


@dataclass(frozen=True)
class Task:
    scenario: Scenario
    dialogue: WrittenDialogue


@dataclass(frozen=True)
class Finished:
    """``rows``: one a turn, without the sounds; ``sounds``: FLAC by name, ``query-0``, ``reply-0``, …

    ``reasons``: against the dialogue, empty if it is kept. ``timings``: seconds by stage; never stored with the rows.
    """

    index: int
    rows: list[dict[str, Any]]
    sounds: dict[str, bytes] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)


class Worker:
    """Models are loaded with the first dialogue."""

    def __init__(self, plan: CorpusPlan, threads: int = 1) -> None:
        self._plan, self._threads = plan, threads
        self._speaker: DialogueSpeaker | None = None
        self._filter: AudioFilter | None = None

    def load(self) -> tuple[DialogueSpeaker, AudioFilter]:
        if self._speaker is None or self._filter is None:
            self._speaker = DialogueSpeaker(load_synthesizer(self._plan.speech, self._threads), self._plan.speech)
            self._filter = AudioFilter.load(self._plan.filters, self._threads)
        return self._speaker, self._filter

    def finish(self, task: Task) -> Finished:
        """Speak and judge. What the models refuse is a reason against this dialogue; a missing weight stops the run."""
        speaker, judge = self.load()
        scenario, dialogue = task.scenario, task.dialogue
        started = time.perf_counter()
        try:
            spoken = speaker.speak(scenario, dialogue)
        except EmotionOmniError as error:
            if error.code in ("weights", "unknown-voice"):
                raise
            return Finished(scenario.index, rows_of(scenario, dialogue, self._plan), {}, [f"unspoken: {error}"])
        said = time.perf_counter()
        rows, sounds, reasons = rows_of(scenario, dialogue, self._plan), {}, []
        for number, (turn, sound) in enumerate(zip(dialogue.turns, spoken, strict=True)):
            query, reply = judge.measure(turn, sound)
            reasons += judge.reasons("query", query)
            sounds[f"query-{number}"] = flac(sound.query)
            rows[number]["query_measured"] = asdict(query)
            if reply is not None and sound.reply is not None:
                reasons += judge.reasons("reply", reply)
                sounds[f"reply-{number}"] = flac(sound.reply)
                rows[number]["reply_measured"] = asdict(reply)
        timings = {"speak": said - started, "filter": time.perf_counter() - said}
        return Finished(scenario.index, rows, sounds, reasons, timings)


def rows_of(scenario: Scenario, dialogue: WrittenDialogue, plan: CorpusPlan) -> list[dict[str, Any]]:
    """The columns of each turn that are known before it is spoken."""
    rows: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    for number, turn in enumerate(dialogue.turns):
        rows.append(
            {
                "id": f"{scenario.id}-{number}",
                "dialogue": scenario.id,
                "turn": number,
                "split": scenario.split,
                "group": dialogue.group or scenario.group,
                "kind": scenario.kind,
                "domain": dialogue.domain or scenario.domain,
                "situation": "" if dialogue.domain else scenario.situation,
                "style": "" if dialogue.domain else scenario.style,
                "cue": scenario.cue if number == 0 else "",
                "transcript": turn.text,
                "emotion": turn.emotion,
                "intensity": turn.intensity,
                "reply": turn.reply,
                "reply_emotion": turn.reply_emotion,
                "strategy": list(turn.strategy),
                "news": turn.news,
                "history": list(history),
                "speaker": scenario.voice,
                "reply_speaker": scenario.reply_voice,
                "channel": channel_name(channel_of(plan.speech, scenario.seed)),
                "source": dialogue.source,
            }
        )
        history += [
            {"role": "user", "text": turn.text, "emotion": turn.emotion},
            {"role": "assistant", "text": turn.reply, "emotion": turn.reply_emotion},
        ]
    return rows


# --- in a process of its own ----------------------------------------------------------------------------------------

_worker: Worker | None = None


def start(plan: CorpusPlan, threads: int) -> None:
    """Called once in each process. It ends when the coordinator has gone, also by SIGKILL."""
    global _worker
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _worker = Worker(plan, threads)


def finish(task: Task) -> Finished:
    assert _worker is not None, "start() comes first"
    return _worker.finish(task)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL)
    os._exit(1)
