"""Sound as it arrives → when somebody begins to speak, and when their turn is over.

Voice activity detection starts a turn. A pause ends it where Smart Turn takes the speaker to have finished; it is asked
early, and again while the pause lasts, so that nobody waits for a fixed silence. Knows no conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emotion_omni.recognition.voice_activity import FRAME, HZ, OFF, ON, VoiceStream
from emotion_omni.turn_detection.smart_turn import FINISHED

START_FRAMES = 3  # of 32 ms in a row: a shorter burst is a click, and the reply would stop for it
PREFIX_SECONDS = 0.3  # kept before the first frame of speech: onsets are soft
ASKED_AT = (0.2, 0.5, 0.8, 1.1)  # seconds of silence after which Smart Turn is asked
LONGEST_PAUSE = 1.6  # seconds of silence that end a turn whatever it says
LONGEST_TURN = 115.0  # seconds; a recording may have 120


@dataclass(frozen=True)
class SpeechStarted:
    """``seconds``: since the first sample, ``PREFIX_SECONDS`` before the speech."""

    seconds: float


@dataclass(frozen=True)
class SpeechStopped:
    """``seconds``: where the turn ends, its last pause included. ``finished``: Smart Turn's probability, if asked."""

    seconds: float
    finished: float | None = None


TurnEvent = SpeechStarted | SpeechStopped


class EndOfTurn(Protocol):
    def probability(self, samples: np.ndarray) -> float: ...


class TurnDetector:
    """``end_of_turn``: None to end each turn after ``silence`` seconds, the fixed pause of "server_vad"."""

    def __init__(
        self, voice: VoiceStream, end_of_turn: EndOfTurn | None, silence: float = LONGEST_PAUSE, threshold: float = ON
    ) -> None:
        self._voice, self._end_of_turn = voice, end_of_turn
        self._silence, self._threshold = silence, threshold
        self._left = np.zeros(0, np.float32)  # samples that do not fill a frame yet
        self._turn: list[np.ndarray] = []  # frames since PREFIX_SECONDS before the speech
        self._frames = 0  # seen so far
        self._run = 0  # frames of speech in a row, before a turn; frames of silence in a row, within one
        self._asked = 0
        self.speaking = False

    def feed(self, samples: np.ndarray) -> list[TurnEvent]:
        """float32 [N] at 16 kHz, of any length."""
        joined = np.concatenate([self._left, samples])
        whole = len(joined) // FRAME * FRAME
        self._left = joined[whole:]
        events = [self._frame(frame) for frame in joined[:whole].reshape(-1, FRAME)]
        return [event for event in events if event is not None]

    def reset(self) -> None:
        """Forget the turn that is being spoken; the clock goes on."""
        self.speaking, self._run, self._asked, self._turn = False, 0, 0, []
        self._voice.reset()

    def _frame(self, frame: np.ndarray) -> TurnEvent | None:
        self._frames += 1
        self._turn.append(frame)
        probability = self._voice.probability(frame)
        return self._within(probability) if self.speaking else self._before(probability)

    def _before(self, probability: float) -> TurnEvent | None:
        self._run = self._run + 1 if probability >= self._threshold else 0
        kept = self._run + int(PREFIX_SECONDS * HZ / FRAME)
        self._turn = self._turn[-kept:]
        if self._run < START_FRAMES:
            return None
        self.speaking, self._run, self._asked = True, 0, 0
        return SpeechStarted(self._seconds() - len(self._turn) * FRAME / HZ)

    def _within(self, probability: float) -> TurnEvent | None:
        if probability >= OFF:
            self._run, self._asked = 0, 0
        else:
            self._run += 1
        silence = self._run * FRAME / HZ
        finished = self._ask() if self._is_time(silence) else None
        over = silence >= self._silence or len(self._turn) * FRAME / HZ >= LONGEST_TURN
        if not over and (finished is None or finished < FINISHED):
            return None
        self.reset()
        return SpeechStopped(self._seconds(), finished)

    def _is_time(self, silence: float) -> bool:
        return self._end_of_turn is not None and self._asked < len(ASKED_AT) and silence >= ASKED_AT[self._asked]

    def _ask(self) -> float:
        assert self._end_of_turn is not None
        self._asked += 1
        return self._end_of_turn.probability(np.concatenate(self._turn))

    def _seconds(self) -> float:
        return self._frames * FRAME / HZ
