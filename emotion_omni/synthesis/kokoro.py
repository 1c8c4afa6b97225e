"""Text and an emotion → speech: Kokoro-82M through onnxruntime.

Text is normalized, turned into phonemes and spoken clause by clause, so the first sound comes after the first clause.
An emotion changes pitch, energy, durations and style inside the network (:mod:`emotion_omni.synthesis.prosody`). The
signal is not processed, so its quality stays. There is nothing random: the seed has no effect.

Source: hexgrad, "Kokoro-82M" (Apache-2.0), after StyleTTS 2 (Li et al. 2023).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from emotion_omni import audio, processors, weights, zero_gpu
from emotion_omni.synthesis import prosody
from emotion_omni.synthesis.clauses import phonemes_of_clauses
from emotion_omni.synthesis.config import KokoroConfig
from emotion_omni.synthesis.g2p import G2P
from emotion_omni.synthesis.kokoro_graph import KokoroGraph, Predicted
from emotion_omni.synthesis.prosody import Prosody
from emotion_omni.synthesis.synthesizer import check_delivery
from emotion_omni.types import Audio, Delivery

HZ = 24_000
MODEL = "kokoro/kokoro-82m-int8.onnx"  # the published graph
DIRECTIONS = Path(__file__).parent / "weights" / "kokoro_directions.safetensors"  # its card lies beside it
STYLE = 256  # dimensions of a style vector
MAX_PHONEMES = 500  # in one pass; the style table has 510 rows, one for each length
SPEECH_DBFS = -20.0
LEAD, TAIL = 0.06, 0.12  # seconds kept before and after the speech of a clause
PAUSES = {".": 0.28, "!": 0.28, "?": 0.30, ",": 0.10, ";": 0.18, ":": 0.18}  # seconds after a clause
SHORT_PAUSE = 0.06  # seconds, after a clause without punctuation
FADE_IN, FADE_OUT = 0.003, 0.01  # seconds
VOICES = tuple(weights.KOKORO_VOICES)

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
    """``voice``: the one that speaks where a delivery names none. ``level``: whether the emotion changes the level."""

    hz = HZ
    voices = VOICES

    def __init__(
        self,
        graph: KokoroGraph,
        g2p: G2P,
        voice: str = KokoroConfig.voice,
        level: bool = False,
        settings: Mapping[str, Prosody] | None = None,
        directions: Path = DIRECTIONS,
    ) -> None:
        """``settings``: of each emotion; without them the shipped ones."""
        self._graph, self._g2p, self._voice, self._level, self._settings = graph, g2p, voice, level, settings
        with weights.part_explained(directions, "prosody"):
            self.directions = safetensors.numpy.load_file(directions)
        style_table(voice)  # fetched now, not in the first reply

    @classmethod
    def load(cls, config: KokoroConfig | None = None, threads: int = processors.THREADS) -> KokoroSynthesizer:
        """Fetches the weights. Raises :class:`EmotionOmniError` (code ``weights``)."""
        config = config or KokoroConfig()
        if zero_gpu.on_loan():
            threads = 1  # the helper threads of more would not survive the fork, and be waited for
        graph = KokoroGraph.load(weights.fetch(MODEL), threads)
        settings = prosody.load(Path(config.prosody)) if config.prosody else None
        directions = Path(config.directions or DIRECTIONS)
        return cls(graph, G2P.load(config.g2p), config.voice, config.level, settings, directions)

    @property
    def fingerprint(self) -> str:
        """Of all that the sound of a word depends on, this code included."""
        folder = Path(__file__).parent
        names = ("kokoro.py", "kokoro_graph.py", "prosody.py", "clauses.py", "weights/g2p.safetensors")
        digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in names))
        settings = sorted((self._settings or prosody.by_emotion()).items())
        digest.update(f"{weights.find(MODEL).sha256} {self._voice} {self._level} {settings}".encode())
        for name in sorted(self.directions):
            digest.update(self.directions[name].tobytes())
        return digest.hexdigest()[:16]

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        """See :class:`~emotion_omni.synthesis.synthesizer.Synthesizer`. Voices: :data:`VOICES`."""
        delivery = check_delivery(delivery, VOICES)
        voice = delivery.voice or self._voice
        settings = self._settings or prosody.by_emotion()
        manner = settings[delivery.emotion].scaled(delivery.intensity, settings["neutral"], delivery.rate)
        yield from self.speak_in(text, voice, manner)

    def speak_in(self, text: str, voice: str, manner: Prosody) -> Iterator[Audio]:
        """In a manner of no label, as the search for settings does."""
        for phonemes in phonemes_of_clauses(text, self._g2p, MAX_PHONEMES):
            yield self._clause(phonemes, voice, manner)

    def _clause(self, phonemes: str, voice: str, manner: Prosody) -> Audio:
        """The phonemes of one clause → its sound with the pause after it."""
        phonemes = "".join(symbol for symbol in phonemes if symbol in PHONEME_IDS)
        samples = self._speak(phonemes, voice, manner)
        decibels = manner.decibels if self._level else 0.0
        return _finish(samples, decibels, PAUSES.get(phonemes[-1:], SHORT_PAUSE) / manner.pace)

    def _speak(self, phonemes: str, voice: str, manner: Prosody) -> np.ndarray:
        """→ float32 [S]."""
        ids = np.array([0, *(PHONEME_IDS[symbol] for symbol in phonemes), 0])
        table = style_table(voice)
        style = manner.move(table[min(len(phonemes), len(table) - 1)], self.directions)
        said = self._graph.predict(ids, style, manner.speeds(phonemes)).without_silence()
        energy = manner.energy_contour(said.energy, said.pitch)
        return self._graph.decode(Predicted(manner.pitch_contour(said.pitch), energy, said.text), style)


@functools.cache
def style_table(voice: str) -> np.ndarray:
    """A voice's styles, float32 [510, 256]: one for each length of a clause in phonemes."""
    return np.fromfile(weights.fetch(f"kokoro/{voice}.bin"), np.float32).reshape(-1, STYLE)


def _finish(samples: np.ndarray, decibels: float, pause: float) -> Audio:
    """Trim the model's own silence, set the level, fade in and out, and append the pause."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    start = max(0, loud[0] - int(LEAD * HZ)) if len(loud) else 0
    end = min(len(samples), loud[-1] + int(TAIL * HZ)) if len(loud) else len(samples)
    speech = audio.limit(audio.set_level(samples[start:end], SPEECH_DBFS + decibels))
    ahead, behind = (min(len(speech), int(seconds * HZ)) for seconds in (FADE_IN, FADE_OUT))
    speech[:ahead] *= np.linspace(0, 1, ahead, dtype=np.float32)
    speech[len(speech) - behind :] *= np.linspace(1, 0, behind, dtype=np.float32)
    return Audio(np.concatenate([speech, np.zeros(int(pause * HZ), np.float32)]), HZ)
