"""What is evaluated: an engine by its name, whose parts are loaded when a measure asks for them.

A cascade is taken apart, so that replies need no recognizer and hearing no voice; any other engine is used whole. Each
part has an identity: its settings, its weights and its code. Replies are kept on disk by the identity of their writer.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni import audio, emotion, engine, weights
from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.cascade.resolve import KINDS, resolve
from emotion_omni.evaluate.clip_features import hash_of_code
from emotion_omni.types import (
    Audio,
    Delivery,
    EmotionOmniError,
    Exchange,
    Heard,
    Plan,
    SpeakerEstimate,
    Speech,
    Text,
    Turn,
)

ROOT = Path(__file__).parents[1]
PARTS = ("recognizer", "responder", "synthesizer")
ROOMS = {"recognizer": "recognition", "responder": "response", "synthesizer": "synthesis"}
SETTINGS = {
    "recognizer": ("recognizer",),
    "responder": ("planner", "responder", "crisis"),
    "synthesizer": ("synthesizer",),
}


@dataclass(frozen=True)
class Reply:
    """``plan``: what the engine planned, as JSON knows it."""

    text: str
    news: str
    tone: str
    emotion: str
    unsure_between: tuple[str, ...] = ()
    conflict: bool = False

    @classmethod
    def of(cls, text: str, plan: Plan) -> Reply:
        return cls(text.strip(), plan.news, plan.tone, plan.emotion, plan.unsure_between, plan.conflict)


class Subject:
    """``cache``: a folder for replies. Raises :class:`EmotionOmniError` for a name that is none, before any loading."""

    def __init__(self, name: str, cache: Path, config: CascadeConfig | None = None) -> None:
        """``config``: of a cascade that has no name, then ``name`` is what is shown."""
        self.cache, self.config, self._whole = cache, config, name
        self.name = name
        if config is None:
            parsed = engine.parse(name)
            self._whole, self.kind = str(parsed), parsed.kind
            self.name = engine.public(name)
            if parsed.kind in KINDS:
                self.name, self.config = resolve(parsed.kind, parsed.source)
        else:
            self.kind = "cascade"

    # --- who it is ------------------------------------------------------------------------------------------------

    @functools.cached_property
    def identities(self) -> dict[str, str]:
        """Part → 16 hexadecimal digits. An engine that is no cascade has one identity for all of them."""
        if self.config is None:
            return dict.fromkeys(PARTS, self._identity_of_whole())
        return {part: self._identity(part) for part in PARTS}

    def _identity(self, part: str) -> str:
        settings = [_plain(getattr(self.config, name)) for name in SETTINGS[part]]
        room = ROOT / ROOMS[part]
        lines = [json.dumps(_without_folders(settings), sort_keys=True), _code_of(room), _weights_of(room)]
        lines += [weights.sha256(file) for file in _files_in(settings)]
        lines.append(hash_of_code(ROOT / "weights.py", ROOT / "emotion.py"))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _identity_of_whole(self) -> str:
        lines = [self.kind, _code_of(ROOT)]
        if self.kind == "omni":
            from emotion_omni import checkpoint

            source = engine.parse(self._whole).source or os.environ.get(engine.CHECKPOINT, "")
            lines.append(checkpoint.identity(source))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    @property
    def is_server(self) -> bool:
        """Whether a server writes the replies, whose weights nobody here can check."""
        return self.config is not None and hasattr(self.config.responder, "base_url")

    # --- what it does ---------------------------------------------------------------------------------------------

    def hear(self, sound: Audio, speaker: SpeakerEstimate | None = None) -> Heard:
        turn = Turn(sound, speaker=speaker, speak=False)
        if self.config is not None:
            return self.recognizer.recognize(turn)
        with closing(self.engine.respond(turn)) as events:  # type: ignore[type-var]
            return next(event for event in events if isinstance(event, Heard))

    def reply(self, text: str, tone: str, earlier: Sequence[Exchange] = (), seed: int = 0) -> Reply:
        """The tone is given, as if it had been heard with certainty."""
        return self.reply_to(Heard(text, emotion.one_hot(tone)), earlier, seed)

    def reply_to(self, heard: Heard, earlier: Sequence[Exchange] = (), seed: int = 0) -> Reply:
        key = _key(heard, earlier, seed)
        known = self._replies.get(key)
        if known is None:
            known = self._replies.add(key, self._reply_now(heard, tuple(earlier), seed))
        return known

    def _reply_now(self, heard: Heard, earlier: tuple[Exchange, ...], seed: int) -> Reply:
        if self.config is not None:
            responder, planner = self.writer
            plan = planner.plan(heard, earlier)
            with closing(responder.reply(heard, plan, earlier, seed=seed)) as pieces:
                return Reply.of("".join(pieces), plan)
        turn = Turn(None, earlier, heard.transcript, heard.emotion.label, speak=False)
        return _gathered(self.engine.respond(turn, seed=seed))

    def answer_audio(self, sound: Audio, seed: int = 0) -> tuple[Heard, Reply]:
        """From the recording alone, words only."""
        if self.config is not None:
            heard = self.hear(sound)
            return heard, self.reply_to(heard, seed=seed)
        events = list(self.engine.respond(Turn(sound, speak=False), seed=seed))
        return next(one for one in events if isinstance(one, Heard)), _gathered(iter(events))

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """Raises :class:`EmotionOmniError` (code ``no-voice``) for an engine that speaks no given words."""
        if self.config is not None:
            return audio.join(list(self.synthesizer.synthesize(text, delivery)))
        if not isinstance(self.engine, engine.SpeaksText):
            raise EmotionOmniError(f"The engine {self.name} speaks no given words.", "no-voice")
        return audio.join(list(self.engine.speak(text, delivery)))

    def respond(self, turn: Turn) -> Iterator[Any]:
        """All events of the whole engine."""
        return self.engine.respond(turn)

    # --- its parts ------------------------------------------------------------------------------------------------

    @functools.cached_property
    def engine(self) -> engine.Engine:
        if self.config is not None:
            from emotion_omni.cascade.engine import CascadeEngine

            responder, planner = self.writer
            return CascadeEngine(self.recognizer, planner, responder, self.synthesizer, self.name)
        return engine.load(self._whole)

    @functools.cached_property
    def recognizer(self) -> Any:
        from emotion_omni.cascade.parts import load_recognizer

        return load_recognizer(self._settings.recognizer, self._device)

    @functools.cached_property
    def writer(self) -> tuple[Any, Any]:
        """The responder and the planner."""
        from emotion_omni.cascade.parts import load_responder
        from emotion_omni.response.planner import Planner

        planner = Planner(self.guard if self._settings.planner.news == "guard" else None)
        return load_responder(self._settings.responder, self._device, self.guard), planner

    @functools.cached_property
    def guard(self) -> Any:
        from emotion_omni.cascade.parts import load_guard

        return load_guard(self._settings.planner, self._settings.crisis)

    @functools.cached_property
    def synthesizer(self) -> Any:
        from emotion_omni.cascade.parts import load_synthesizer

        return load_synthesizer(self._settings.synthesizer, self._device)

    @property
    def _settings(self) -> CascadeConfig:
        if self.config is None:
            raise EmotionOmniError(f"The engine {self.name} cannot be taken apart.", "no-parts")
        return self.config

    @functools.cached_property
    def _device(self) -> Any:
        from emotion_omni.loading import find_device

        self._settings.check_packages()
        return find_device(self._settings.device if self._settings.uses_device else "cpu")

    @functools.cached_property
    def _replies(self) -> _Replies:
        return _Replies(self.cache / f"replies-{self.identities['responder']}.jsonl", keep=not self.is_server)


def _gathered(events: Iterator[Any]) -> Reply:
    text, plan = "", Plan("neutral")
    for event in events:
        if isinstance(event, Text):
            text += event.piece
        elif isinstance(event, Plan):
            plan = event
        assert not isinstance(event, Speech)
    return Reply.of(text, plan)


class _Replies:
    """Replies by key, appended to a file; a line that was cut short is left out. ``keep``: else in memory only."""

    def __init__(self, file: Path, keep: bool) -> None:
        self._file, self._known = file if keep else None, dict[str, Reply]()
        if self._file and self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    tones = tuple(row["reply"].pop("unsure_between"))
                    self._known[row["key"]] = Reply(**row["reply"], unsure_between=tones)
                except (ValueError, TypeError, KeyError):
                    continue

    def get(self, key: str) -> Reply | None:
        return self._known.get(key)

    def add(self, key: str, reply: Reply) -> Reply:
        self._known[key] = reply
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "reply": dataclasses.asdict(reply)}, ensure_ascii=False) + "\n")
        return reply


def _key(heard: Heard, earlier: Sequence[Exchange], seed: int) -> str:
    felt = {name: round(value, 4) for name, value in heard.emotion.probabilities.items()}
    given = [heard.transcript, felt, [dataclasses.astuple(one) for one in earlier], seed]
    return hashlib.sha256(json.dumps(given, ensure_ascii=False).encode()).hexdigest()[:24]


# --- identities ---------------------------------------------------------------------------------------------------


def _plain(settings: Any) -> Any:
    return dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else settings  # type: ignore[arg-type]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
    elif isinstance(value, str):
        yield value


def _files_in(settings: Any) -> list[Path]:
    """The files and folders' files that settings name."""
    paths = [Path(text) for text in _strings(settings) if os.sep in text and Path(text).exists()]
    return [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.safetensors")))]


def _without_folders(value: Any) -> Any:
    """Where a file lies does not count, its content does."""
    if isinstance(value, dict):
        return {name: _without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    return Path(value).name if isinstance(value, str) and os.sep in value and Path(value).exists() else value


@functools.cache
def _code_of(room: Path) -> str:
    return hash_of_code(*sorted(room.rglob("*.py")))


@functools.cache
def _weights_of(room: Path) -> str:
    files = sorted(file for kind in ("*.safetensors", "*.json", "*.tsv") for file in room.rglob(kind))
    shas = [weights.sha256(file) for file in files if not file.name.endswith(".log.json")]
    return hashlib.sha256("\n".join(shas).encode()).hexdigest()
