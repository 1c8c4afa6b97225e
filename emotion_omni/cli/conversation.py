"""hear, reply, speak, talk: use an engine from the shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emotion_omni import audio, emotion, engine, json_lines, sound_files, streams
from emotion_omni.cli.output import Commands, add_command, emit, for_each, load_engine
from emotion_omni.types import (
    NO_WORDS,
    Audio,
    Done,
    Emotion,
    EmotionOmniError,
    Event,
    Exchange,
    Heard,
    Plan,
    SpeakerEstimate,
    Speech,
    Text,
    Turn,
    VoiceSettings,
)

PAUSE_BETWEEN_TURNS = 0.6  # seconds, in the joined file of a conversation


def add_commands(commands: Commands) -> None:
    command = add_command(commands, "hear", hear, "hear clip.wav --json", uses_engine=True, prints_only=True)
    command.add_argument("files", nargs="+", metavar="FILE", help=audio.FORMATS)
    same_help = "the files are one person's turns in this order: each is heard knowing the voice of those before it"
    command.add_argument("--same-speaker", action="store_true", help=f"{same_help}; nothing is kept")
    example = """echo '{"text": "I lost my job.", "emotion": "sad"}' | python -m emotion_omni reply --json"""
    command = add_command(commands, "reply", reply, "reply --json", uses_engine=True, prints_only=True)
    command.epilog = f"Example: {example}"
    out_help = f"sound file to write: {sound_files.ENDINGS}"
    example = 'speak --text "Well done!" --emotion happy --out done.wav'
    command = add_command(commands, "speak", speak, example, uses_engine=True)
    command.add_argument("--text", type=streams.text_argument, required=True, help="the text to speak")
    emotions = f"one of: {', '.join(emotion.NAMES)}; default: %(default)s"
    command.add_argument("--emotion", type=_emotion_name, default="neutral", help=emotions)
    _add_voice_options(command)
    command.add_argument("--out", required=True, help=out_help)
    command = add_command(commands, "talk", talk, "talk one.wav two.wav --out reply.wav", uses_engine=True)
    command.add_argument("files", nargs="+", metavar="FILE", help="one file per turn; several are one conversation")
    command.add_argument("--out", required=True, help=f"{out_help}; with several files also OUT-1, OUT-2, …")
    command.add_argument("--emotion", type=_emotion_name, help="correct the heard emotion, for every file")
    transcript_help = "correct the heard words, for every file"
    command.add_argument("--transcript", type=streams.text_argument, help=transcript_help)
    _add_voice_options(command)


def _add_voice_options(command: argparse.ArgumentParser) -> None:
    voice_help = "a voice of the engine, such as am_michael; a wrong name lists all; default: the engine's own"
    command.add_argument("--voice", default="", help=voice_help)
    intensity_help = "of the emotion: 0 none, 1 as designed, up to 2; default: %(default)s"
    command.add_argument("--intensity", type=float, default=1.0, help=intensity_help)
    command.add_argument("--rate", type=float, default=1.0, help="of speaking, 0.5 to 2; default: %(default)s")


def _emotion_name(text: str) -> str:
    try:
        return emotion.find(text).name
    except EmotionOmniError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _of_file(file: str) -> dict[str, Any]:
    return {"file": file}


# --- hear ---------------------------------------------------------------------------------------------------------


def hear(options: argparse.Namespace) -> int:
    """What was said in each file, and how."""
    listening = _Listening(load_engine(options, replies=False), options)
    return for_each(options.files, options, listening.hear, _of_file)


class _Listening:
    """What is known of the person after the files so far: nothing, unless they are one person's."""

    def __init__(self, chosen: engine.Engine, options: argparse.Namespace) -> None:
        self.engine, self.options = chosen, options
        self.speaker: SpeakerEstimate | None = None

    def hear(self, file: str) -> None:
        options = self.options
        events = self.engine.respond(Turn(audio.decode(file), speak=False, speaker=self.speaker), seed=options.seed)
        heard = next(event for event in events if isinstance(event, Heard))
        events.close()  # type: ignore[attr-defined]  # a generator; the reply is not computed
        self._report(file, heard)
        if options.same_speaker:
            self.speaker = heard.speaker

    def _report(self, file: str, heard: Heard) -> None:
        belief, known = heard.emotion, self.speaker.turns if self.speaker else 0
        over_time = [{"seconds": round(at, 2), "label": felt.label} for at, felt in heard.trajectory]
        result = (
            {"file": file, "transcript": heard.transcript}
            | _emotion_row(belief)
            | {"sure": belief.is_sure, "trajectory": over_time, "turning_point": heard.turning_point}
        )
        voice = f"; {known} earlier turns of this voice known" if self.options.same_speaker else ""
        words = f"“{heard.transcript}”" if heard.transcript else NO_WORDS
        text = f"{file}: {words} — {_tone_in_words(heard)}{voice}"
        emit(self.options, result | {"turns_known": known}, text)


def _tone_in_words(heard: Heard) -> str:
    """For example "sad (52%); neutral → sad at 2.3 s" or "not sure: sad (38%) or calm (31%)"."""
    felt = heard.emotion
    (first, second), shares = felt.candidates, felt.probabilities
    unsure = f"not sure: {first} ({shares[first]:.0%}) or {second} ({shares[second]:.0%})"
    tone = f"{felt.label} ({felt.confidence:.0%})" if felt.is_sure else unsure
    if heard.turning_point is None:
        return tone
    before, after = emotion.labels_around(heard.trajectory, heard.turning_point)
    change = f"{before} → {after}" if before != after else "changes"
    return f"{tone}; {change} at {heard.turning_point:.1f} s"


# --- reply --------------------------------------------------------------------------------------------------------


def reply(options: argparse.Namespace) -> int:
    """Read JSON lines {"text", "emotion", "history"?} from stdin and reply to each."""
    chosen = load_engine(options)
    lines = json_lines.read(streams.standard_input())
    return for_each(lines, options, lambda line: _reply(chosen, line, options), lambda line: {"line": line.number})


def _reply(chosen: engine.Engine, line: json_lines.Line, options: argparse.Namespace) -> None:
    row = line.value()
    text = row.get("text")
    if not isinstance(text, str):
        raise EmotionOmniError(
            'Each line must be a JSON object with "text", a text, and optionally "emotion" and "history" '
            f'([{{role, text, emotion}}, …]). "text" is {text!r}.',
            "bad-line",
        )
    if not text.strip():
        raise EmotionOmniError('"text" is empty. Write what the person says.', "empty")
    tone = emotion.find(row.get("emotion") or "neutral").name
    turn = Turn(None, exchanges(row.get("history") or []), transcript=text.strip(), emotion=tone, speak=False)
    answer = _collect(chosen.respond(turn, seed=options.seed))
    result = {"line": line.number, "text": answer.text, "emotion": answer.emotion}
    emit(options, result, f"[{answer.emotion}] {answer.text}")


def exchanges(history: Any) -> tuple[Exchange, ...]:
    """Chat messages (role user or assistant; text under "text" or "content") → pairs, without a last open question."""
    if not isinstance(history, list) or not all(isinstance(message, dict) for message in history):
        raise EmotionOmniError('"history" must be a list of messages {"role", "text", "emotion"}.', "bad-line")
    found, question = [], None
    for message in history:
        text = message.get("text") or message.get("content") or ""
        if not isinstance(text, str) or "role" not in message:
            raise EmotionOmniError(
                f'A message of "history" needs "role" and "text", a text. This one does not fit: {message!r}.',
                "bad-line",
            )
        if message["role"] == "user":
            question = (text, emotion.find(message.get("emotion") or "neutral").name)
        elif message["role"] == "assistant" and question is not None:
            found.append(Exchange(*question, text))
            question = None
    return tuple(found)


# --- speak --------------------------------------------------------------------------------------------------------


def speak(options: argparse.Namespace) -> int:
    """Speak a given text in a given emotion."""
    target = Path(options.out)
    sound_files.check_target(target)
    chosen = load_engine(options, replies=False)
    if not isinstance(chosen, engine.SpeaksText):
        raise EmotionOmniError(f"The engine {chosen.name!r} only answers; it cannot speak a given text.", "no-reader")
    delivery = _voice_settings(options).delivery(options.emotion)
    pieces = list(chosen.speak(options.text, delivery))
    if not pieces:
        raise EmotionOmniError(f"Nothing in {options.text!r} can be spoken. Give some words.", "empty")
    sound = audio.join(pieces)
    sound_files.write(target, sound)
    result = {
        "text": options.text,
        "emotion": options.emotion,
        "intensity": options.intensity,
        "voice": options.voice,
        "rate": options.rate,
        "audio": options.out,
        "seconds": round(sound.seconds, 3),
        "hz": sound.hz,
    }
    emit(options, result, f"{options.out}: {sound.seconds:.1f} s, {options.emotion}")
    return 0


def _voice_settings(options: argparse.Namespace) -> VoiceSettings:
    return VoiceSettings(options.voice, options.intensity, options.rate)


# --- talk ---------------------------------------------------------------------------------------------------------


def talk(options: argparse.Namespace) -> int:
    """Reply to each file; several files are one conversation."""
    targets = _targets(Path(options.out), options.files)
    talking = _Conversation(load_engine(options), options)
    turns = list(zip(options.files, targets, strict=True))
    status = for_each(turns, options, lambda turn: talking.take_turn(*turn), lambda turn: _of_file(turn[0]))
    if talking.replies and len(turns) > 1:
        hz = talking.replies[0].hz
        pause = Audio(np.zeros(int(PAUSE_BETWEEN_TURNS * hz), np.float32), hz)
        pieces = [piece for sound in talking.replies for piece in (sound, pause)]
        sound_files.write(Path(options.out), audio.join(pieces[:-1]))
    return status


def _targets(out: Path, files: list[str]) -> list[Path]:
    """The sound file of each turn: OUT, or OUT-1, OUT-2, … of several, beside which OUT holds all."""
    sound_files.check_target(out, files)
    if len(files) == 1:
        return [out]
    targets = [out.with_stem(f"{out.stem}-{turn}") for turn in range(1, len(files) + 1)]
    for target in targets:
        sound_files.check_target(target, files)
    return targets


class _Conversation:
    """The turns so far, and the engine that replies."""

    def __init__(self, chosen: engine.Engine, options: argparse.Namespace) -> None:
        self.engine, self.options = chosen, options
        self.replies: list[Audio] = []
        self.earlier: list[Exchange] = []

    def take_turn(self, file: str, target: Path) -> None:
        options = self.options
        query, voice = audio.decode(file), _voice_settings(options)
        turn = Turn(query, tuple(self.earlier), options.transcript, options.emotion, voice=voice)
        answer = _collect(self.engine.respond(turn, seed=options.seed))
        if not answer.speech:
            raise EmotionOmniError(
                f"{self.engine.name} answered in text only, so there is no sound to write: {answer.text!r}. Train its "
                "checkpoint to speak (python -m emotion_omni train speak), or use: python -m emotion_omni reply.",
                "no-voice",
            )
        sound = audio.join(answer.speech)
        sound_files.write(target, sound)
        self.replies.append(sound)
        self._report(file, answer, target)

    def _report(self, file: str, answer: _Answer, target: Path) -> None:
        heard = answer.heard
        self.earlier.append(Exchange(heard.transcript, heard.emotion.label, answer.text, answer.emotion))
        result = {
            "file": file,
            "transcript": heard.transcript,
            "heard": _emotion_row(heard.emotion),
            "reply": {"text": answer.text, "emotion": answer.emotion},
            "audio": str(target),
            "timings": {stage: round(seconds, 4) for stage, seconds in answer.timings.items()},
        }
        words = heard.transcript or NO_WORDS
        user = f"{file}\n  you ({heard.emotion.label} {heard.emotion.confidence:.0%}): {words}\n"
        emit(self.options, result, f"{user}  reply ({answer.emotion}): {answer.text}\n  {target}")


# --- what an engine yields ----------------------------------------------------------------------------------------


@dataclass
class _Answer:
    """The events of one turn, put together."""

    heard: Heard
    emotion: str = "neutral"
    text: str = ""
    speech: list[Audio] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)


def _collect(events: Iterator[Event]) -> _Answer:
    first = next(events)
    assert isinstance(first, Heard)  # the contract of an engine
    answer = _Answer(first)
    for event in events:
        match event:
            case Plan():
                answer.emotion = event.emotion
            case Text():
                answer.text += event.piece
            case Speech():
                answer.speech.append(event.audio)
            case Done():
                answer.timings = dict(event.timings)
    answer.text = answer.text.strip()
    return answer


def _emotion_row(belief: Emotion) -> dict[str, Any]:
    return {
        "label": belief.label,
        "probabilities": {name: round(value, 4) for name, value in belief.probabilities.items()},
        "valence": round(belief.valence, 4),
        "arousal": round(belief.arousal, 4),
    }
