"""A second recognizer of emotion, from acoustic functionals: a judge for evaluation only.

**Nothing may be trained on, filtered, chosen or searched by it**, or it could not judge the result. It shares no
feature, no network and no code with the recognizers of the engines, so it errs in other places than they do. It is
weaker than they are (see ``weights/README.md``): quote it for groups of clips, beside its own recall, never for one
clip.

Two multinomial logistic regressions, one on standardized functionals and one on those standardized once more for the
speaker; the more turns of the speaker are known, the more the second counts.

Axes: C functionals, E emotions, K earlier turns of the speaker.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import safe_open

from emotion_omni import audio, emotion, weights
from emotion_omni.evaluate.acoustic_functionals import HZ, acoustic_functionals
from emotion_omni.types import Audio, Emotion, EmotionOmniError, SpeakerEstimate

SHIPPED = Path(__file__).parent / "weights" / "functionals.safetensors"
LARGEST = 4.0  # standard deviations; functionals beyond it are cut


@dataclass(frozen=True)
class Shrinkage:
    """How far an estimate of the speaker is drawn to the population; chosen on dev.

    ``mean``, ``variance``: turns that the population counts for. ``share``: as K / (K + share) the second classifier
    counts. The variance is estimated from three turns on.
    """

    mean: float = 2.0
    variance: float = 4.0
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class FunctionalsRecognizer:
    """``mean``, ``std`` [C] of the population; ``plain`` and ``standardized``: weights and bias [E, C + 1]."""

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    plain: np.ndarray
    standardized: np.ndarray
    temperature: float = 1.0
    shrinkage: Shrinkage = Shrinkage()
    space: str = "functionals"

    def features(self, sound: Audio) -> np.ndarray:
        """A recording → its functionals, standardized, float32 [C]."""
        found = acoustic_functionals(audio.resample(sound, HZ).samples)
        if tuple(found) != self.names:
            raise EmotionOmniError("These weights belong to other functionals. Train them again.", "checkpoint")
        return self.standardize(np.array(list(found.values()), np.float32))

    def standardize(self, functionals: np.ndarray) -> np.ndarray:
        """[..., C] → standard deviations from the population's mean."""
        return np.clip((functionals - self.mean) / self.std, -LARGEST, LARGEST).astype(np.float32)

    def classify(self, features: np.ndarray, speaker: SpeakerEstimate | None) -> tuple[Emotion, SpeakerEstimate]:
        """:meth:`features` and what is known of the speaker → the emotion, and the estimate with this turn."""
        if speaker is not None and speaker.space != self.space:
            speaker = None
        turns, total = (speaker.turns, speaker.total) if speaker else (0, np.zeros(2 * len(features), np.float32))
        logits = self.logits(features, for_speaker(features, turns, total, self.shrinkage), turns)
        probabilities = np.exp(log_softmax(logits / self.temperature))
        felt = emotion.mixture(dict(zip(emotion.NAMES, probabilities.tolist(), strict=True)))
        return felt, SpeakerEstimate(turns + 1, total + np.concatenate([features, features**2]), self.space)

    def logits(self, features: np.ndarray, for_this_speaker: np.ndarray, turns: int) -> np.ndarray:
        """[..., C], twice → log probabilities up to a constant [..., E]."""
        share = turns / (turns + self.shrinkage.share)
        plain, standardized = (
            log_softmax(inputs @ weight[:, :-1].T + weight[:, -1])
            for inputs, weight in ((features, self.plain), (for_this_speaker, self.standardized))
        )
        return (1 - share) * plain + share * standardized

    def save(self, path: Path) -> None:
        tensors = {name: getattr(self, name) for name in ("mean", "std", "plain", "standardized")}
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
        about = {"names": self.names, "temperature": self.temperature, "shrinkage": asdict(self.shrinkage)}
        safetensors.numpy.save_file(arrays, path, metadata={"about": json.dumps(about)})

    @classmethod
    def load(cls, path: Path = SHIPPED) -> FunctionalsRecognizer:
        """A file of :meth:`save`. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "functionals"), safe_open(path, "np") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in ("mean", "std", "plain", "standardized")}
            return cls(
                tuple(about["names"]),
                **tensors,
                temperature=about["temperature"],
                shrinkage=Shrinkage(**about["shrinkage"]),
                space=f"functionals {weights.sha256(path)[:16]}",
            )


def for_speaker(features: np.ndarray, turns: int, total: np.ndarray, shrinkage: Shrinkage) -> np.ndarray:
    """[C], with the sums of the speaker's features and of their squares [2 C] over K turns → standardized again [C].

    Mean and variance are drawn to the population's 0 and 1, the more so the fewer turns there are.
    """
    if turns == 0:
        return features
    sums, squares = np.split(total, 2)
    mean, variance = sums / turns, np.ones_like(features)
    if turns > 2:
        own = np.maximum(0, squares / turns - mean**2)
        variance = (shrinkage.variance + turns * own) / (shrinkage.variance + turns)
    return ((features - mean * turns / (turns + shrinkage.mean)) / np.sqrt(variance)).astype(np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
