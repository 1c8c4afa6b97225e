"""A conversation as the page keeps it: the turns so far and their sound files.

It lives in the visitor's session only. Its sound files are in Gradio's upload folder, under names that say nothing,
and are deleted when the conversation ends.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from gradio.utils import get_upload_folder

from emotion_omni import audio
from emotion_omni.types import Audio, Done, Event, Exchange, Heard, Plan, SpeakerEstimate, Speech, Text

REMEMBERED_TURNS = 40  # of one conversation; older ones are dropped
LONGEST_TRANSCRIPT = 600  # letters of a corrected transcript; checked here because a browser's limit can be bypassed


@dataclass
class ChatTurn:
    """A query and the answer to it, filled in as the engine's events arrive."""

    query: Audio
    query_file: str
    upload: str = ""  # as the browser sent it; deleted once the turn is answered
    heard: Heard | None = None
    planned: str = ""  # emotion label of the reply
    plan: Plan | None = None
    reply: str = ""
    sounds: list[Audio] = field(default_factory=list)
    reply_file: str = ""
    corrected: bool = False  # whether the visitor chose the emotion
    timings: dict[str, float] = field(default_factory=dict)
    recognized: Heard | None = None  # what the model itself heard, before any correction
    engine: str = ""
    seed: int = 0

    @property
    def known_turns(self) -> int:
        """Turns of this voice that the recognizer has heard, this one included; 0 where it does not learn voices."""
        return self.recognized.speaker.turns if self.recognized and self.recognized.speaker else 0

    def add(self, event: Event) -> None:
        """Record one event of the engine."""
        match event:
            case Heard():
                self.heard = event
                self.recognized = self.recognized or event
            case Plan():
                self.plan, self.planned = event, event.emotion
            case Text():
                self.reply += event.piece
            case Speech():
                self.sounds.append(event.audio)
            case Done():
                self.timings = dict(event.timings)
                self.reply_file = save_sound(audio.join(self.sounds)) if self.sounds else ""
                delete_sound(self.upload)
            case _:
                raise TypeError(f"An engine yielded {type(event).__name__}, which is not an event.")


@dataclass
class Conversation:
    """The turns of one visitor, newest last. ``identity`` tells the player which answer it is playing."""

    turns: list[ChatTurn] = field(default_factory=list)
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)

    def exchanges(self) -> tuple[Exchange, ...]:
        """The finished turns, as an engine reads them."""
        return tuple(
            Exchange(turn.heard.transcript, turn.heard.emotion.label, turn.reply.strip(), turn.planned)
            for turn in self.turns
            if turn.heard and turn.reply
        )

    def speaker(self) -> SpeakerEstimate | None:
        """What the recognizer knows of the visitor's voice after the last turn. It ends with the conversation."""
        found = (turn.recognized.speaker for turn in reversed(self.turns) if turn.recognized)
        return next(found, None)

    def forget(self) -> None:
        """Delete all turns and their sound files."""
        for turn in self.turns:
            for file in (turn.query_file, turn.reply_file, turn.upload):
                delete_sound(file)
        self.turns = []


def save_sound(sound: Audio) -> str:
    """Write a WAV file that Gradio can serve; the path does not say what it contains."""
    target = Path(get_upload_folder()) / uuid.uuid4().hex / "sound.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(audio.wav_bytes(sound))
    return str(target)


def delete_sound(file: str) -> None:
    """Delete a file of the upload folder; any other path is left alone."""
    if file and Path(file).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        Path(file).unlink(missing_ok=True)
