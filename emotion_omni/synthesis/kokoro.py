"""Words and an emotion → a voice: Kokoro-82M through onnxruntime.

A style vector holds timbre (first half) and prosody (second half). The timbre stays one person's;
an emotion moves the prosody part of the way towards another speaker's, with pace and level. No
signal is resynthesised, so the quality stays. Long text is spoken clause by clause, so the first
sound comes after the first clause.

Source: hexgrad, "Kokoro-82M" (Apache-2.0), after StyleTTS 2 (Li et al. 2023).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from emotion_omni import audio
from emotion_omni.synthesis.g2p import Pronouncer
from emotion_omni.synthesis.text_normalization import spoken_form
from emotion_omni.types import Audio

HZ = 24_000
TIMBRE = 128  # of the 256 style dimensions
LONGEST = 500  # phonemes in one pass; the style table has 510 rows
SPEECH_DBFS = -20.0
LEAD, TAIL = 0.06, 0.12  # seconds kept around the sound of a clause
PAUSES = {".": 0.28, "!": 0.28, "?": 0.30, ",": 0.10, ";": 0.18, ":": 0.18}  # seconds after a clause
CLAUSE = re.compile(r"[^.!?;]+[.!?;]*\s*")
COMFORTABLE = 160  # characters; a longer clause is cut again at a comma, so that its sound does not wait

# Kokoro's own numbering of the phonemes that misaki's English uses
_PHONEMES = {
    symbol: first + index
    for first, symbols in (
        (1, ";:,.!?"),
        (16, " "),
        (24, "AI"),
        (31, "O"),
        (33, "Q"),
        (35, "ST"),
        (39, "W"),
        (41, "Yᵊabcdef"),
        (50, "hijklmnopqrstuvwxyzɑɐɒæ"),
        (76, "ɔ"),
        (81, "ðʤə"),
        (85, "ɚɛɜ"),
        (92, "ɡ"),
        (102, "ɪ"),
        (112, "ŋ"),
        (119, "θ"),
        (123, "ɹ"),
        (125, "ɾ"),
        (131, "ʃ"),
        (133, "ʧ"),
        (135, "ʊ"),
        (138, "ʌ"),
        (147, "ʒʔ"),
        (156, "ˈˌː"),
        (177, "ᵻ"),
    )
    for index, symbol in enumerate(symbols)
}


@dataclass(frozen=True)
class Manner:
    """How one emotion is spoken: prosody ``share`` of the way to ``donor``, pace, level against neutral."""

    donor: str
    share: float
    pace: float
    decibels: float


SPEAKER = "af_heart"
MANNERS: dict[str, Manner] = {
    "neutral": Manner("af_heart", 0.0, 1.0, 0.0),
    "happy": Manner("af_jessica", 0.6, 1.08, 1.0),
    "sad": Manner("af_nicole", 0.6, 0.86, -3.0),
    "angry": Manner("af_bella", 0.7, 1.10, 2.5),
    "fearful": Manner("af_jessica", 0.4, 1.16, -1.5),
    "disgusted": Manner("af_bella", 0.5, 0.92, 0.0),
    "surprised": Manner("af_jessica", 0.8, 1.02, 1.5),
    "calm": Manner("af_nicole", 0.4, 0.93, -1.5),
}
VOICES = tuple(sorted({SPEAKER, *(manner.donor for manner in MANNERS.values())}))


class Speaker:
    """One voice with eight manners. ``tables``: a style table file for each of :data:`VOICES`."""

    def __init__(self, network: Path, tables: dict[str, Path], pronouncer: Pronouncer, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the other parts need the cores
        self._session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        self._tables = {name: np.fromfile(path, np.float32).reshape(-1, 2 * TIMBRE) for name, path in tables.items()}
        self._pronouncer = pronouncer

    def speak(self, text: str, emotion: str) -> Iterator[Audio]:
        """Text → sound at 24 kHz, a piece for each clause as soon as it is ready."""
        for clause in clauses(text):
            piece = self.speak_clause(clause, emotion)
            if piece is not None:
                yield piece

    def speak_clause(self, clause: str, emotion: str) -> Audio | None:
        """One clause with the pause after it; ``None`` where nothing can be said of it."""
        phonemes = self._pronouncer(spoken_form(clause))
        tokens = [_PHONEMES[symbol] for symbol in phonemes if symbol in _PHONEMES][:LONGEST]
        if not any(symbol.isalpha() for symbol in phonemes):
            return None
        manner = MANNERS[emotion]
        feeds = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": self._style(manner, len(tokens))[None],
            "speed": np.array([manner.pace], np.float32),
        }
        (samples,) = self._session.run(None, feeds)
        return _finish(samples, manner.decibels, PAUSES.get(phonemes[-1:], 0.06))

    def _style(self, manner: Manner, length: int) -> np.ndarray:
        own, other = (self._tables[name][min(length, len(self._tables[name]) - 1)] for name in (SPEAKER, manner.donor))
        style = own.copy()
        style[TIMBRE:] += manner.share * (other[TIMBRE:] - own[TIMBRE:])
        return style


def clauses(text: str) -> list[str]:
    """Sentences, and the parts at commas of a long one. Joined they are the text."""
    found = []
    for sentence in CLAUSE.findall(text):
        while len(sentence) > COMFORTABLE:
            cut = sentence.rfind(",", 20, COMFORTABLE) + 1 or sentence.rfind(" ", 20, COMFORTABLE) + 1 or COMFORTABLE
            found.append(sentence[:cut])
            sentence = sentence[cut:]
        found.append(sentence)
    return [clause for clause in found if clause.strip()]


def _finish(samples: np.ndarray, decibels: float, pause: float) -> Audio:
    """Trim the model's own silence, set the level, and append the pause."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    start = max(0, loud[0] - int(LEAD * HZ)) if len(loud) else 0
    end = min(len(samples), loud[-1] + int(TAIL * HZ)) if len(loud) else len(samples)
    sound = audio.limit(audio.set_level(samples[start:end], SPEECH_DBFS + decibels))
    fade = min(len(sound), int(0.01 * HZ))
    sound[len(sound) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return Audio(np.concatenate([sound, np.zeros(int(pause * HZ), np.float32)]), HZ)
