"""Text and an emotion → speech: Kokoro-82M through onnxruntime.

Text is normalized, turned into phonemes and spoken clause by clause, so the first sound comes after the first clause.
An emotion changes the style vector, the pace and the level (:mod:`emotion_omni.synthesis.prosody`). The signal is not
resynthesized, so its quality stays. There is nothing random: the seed has no effect.

Source: hexgrad, "Kokoro-82M" (Apache-2.0), after StyleTTS 2 (Li et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import onnxruntime

from emotion_omni import audio, processors, weights, zero_gpu
from emotion_omni.synthesis import prosody
from emotion_omni.synthesis.clauses import phonemes_of_clauses
from emotion_omni.synthesis.config import KokoroConfig
from emotion_omni.synthesis.g2p import G2P
from emotion_omni.synthesis.prosody import Prosody
from emotion_omni.synthesis.synthesizer import check_delivery
from emotion_omni.types import Audio, Delivery

HZ = 24_000
TIMBRE = 128  # of the 256 dimensions of a style vector; the others are prosody
MAX_PHONEMES = 500  # in one pass; the style table has 510 rows, one for each length
SPEECH_DBFS = -20.0
LEAD, TAIL = 0.06, 0.12  # seconds kept before and after the speech of a clause
PAUSES = {".": 0.28, "!": 0.28, "?": 0.30, ",": 0.10, ";": 0.18, ":": 0.18}  # seconds after a clause
SHORT_PAUSE = 0.06  # seconds, after a clause without punctuation
VOICES: tuple[str, ...] = get_args(get_type_hints(KokoroConfig)["voice"])

# Kokoro's ids of the phonemes that misaki's English uses
PHONEME_IDS = {
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


class KokoroSynthesizer:
    """``style_tables``: a file for each of :data:`VOICES`, float32 [phonemes, 256]. ``voice``: the default one."""

    hz = HZ

    def __init__(
        self,
        network: Path,
        style_tables: Mapping[str, Path],
        g2p: G2P,
        voice: str = KokoroConfig.voice,
        threads: int = processors.THREADS,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the other parts need the cores
        self._session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        self._styles = {
            name: np.fromfile(path, np.float32).reshape(-1, 2 * TIMBRE) for name, path in style_tables.items()
        }
        self._g2p = g2p
        self._voice = voice

    @classmethod
    def load(cls, config: KokoroConfig | None = None, threads: int = processors.THREADS) -> KokoroSynthesizer:
        """Fetches the weights. Raises :class:`EmotionOmniError` (code ``weights``)."""
        if zero_gpu.on_loan():
            threads = 1  # the helper threads of more would not survive the fork, and be waited for
        tables = {voice: weights.fetch(f"kokoro/{voice}.bin") for voice in VOICES}
        network = weights.fetch("kokoro/kokoro-82m-int8.onnx")
        config = config or KokoroConfig()
        return cls(network, tables, G2P.load(config.g2p), config.voice, threads)

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        """See :class:`~emotion_omni.synthesis.synthesizer.Synthesizer`. Voices: :data:`VOICES`."""
        delivery = check_delivery(delivery, VOICES)
        voice = delivery.voice or self._voice
        manner = prosody.BY_EMOTION[delivery.emotion].scaled(delivery.intensity, delivery.rate)
        for phonemes in phonemes_of_clauses(text, self._g2p, MAX_PHONEMES):
            yield self._clause(phonemes, voice, manner)

    def _clause(self, phonemes: str, voice: str, manner: Prosody) -> Audio:
        """The phonemes of one clause → its sound with the pause after it."""
        ids = [PHONEME_IDS[symbol] for symbol in phonemes if symbol in PHONEME_IDS]
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": self._style(voice, manner, len(ids))[None],
            "speed": np.array([manner.pace], np.float32),
        }
        (samples,) = self._session.run(None, inputs)
        return _finish(samples, manner.decibels, PAUSES.get(phonemes[-1:], SHORT_PAUSE))

    def _style(self, voice: str, manner: Prosody, length: int) -> np.ndarray:
        """float32 [256]: the voice's timbre, its prosody moved towards that of the emotion."""
        own, other = (self._style_row(name, length) for name in (voice, manner.style_voice))
        style = own.copy()
        style[TIMBRE:] += manner.share * (other[TIMBRE:] - own[TIMBRE:])
        return style

    def _style_row(self, voice: str, length: int) -> np.ndarray:
        table = self._styles[voice]
        return table[min(length, len(table) - 1)]


def _finish(samples: np.ndarray, decibels: float, pause: float) -> Audio:
    """Trim the model's own silence, set the level, fade out, and append the pause."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    start = max(0, loud[0] - int(LEAD * HZ)) if len(loud) else 0
    end = min(len(samples), loud[-1] + int(TAIL * HZ)) if len(loud) else len(samples)
    speech = audio.limit(audio.set_level(samples[start:end], SPEECH_DBFS + decibels))
    fade = min(len(speech), int(0.01 * HZ))
    speech[len(speech) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return Audio(np.concatenate([speech, np.zeros(int(pause * HZ), np.float32)]), HZ)
