"""How it was said: a linear classifier on the hidden states of Whisper's encoder that gets to know a voice.

Features are the means of every hidden state over the frames in which somebody speaks, standardized over the training
speakers. Those of the person's earlier turns, whose emotions are unknown, shift and scale them towards that person
(empirical Bayes: ``count / (count + PRIOR_TURNS)`` of the way), because people differ more than their moods. Turns in
one mood say little of the voice: taking their mean off would take the mood off. So earlier turns count as far as their
moods vary, seen by the spread of the classifier's own logits over them. One classifier serves any number of earlier
turns; it was trained with all of them. Probabilities are calibrated on corpora that took no part in training, flatter
the less is known of the voice and the further the sound lies from all training speech.

Axes: L hidden states of the encoder, T frames (50 Hz), D width, F = L · D features, C emotions, B windows.
Sources: speaker normalization, Busso et al. 2011, "Iterative feature normalization scheme for automatic emotion
detection from speech"; temperature scaling, Guo et al. 2017.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from emotion_omni import emotion, weights
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.recognizer import Classified
from emotion_omni.recognition.whisper_encoder import FRAME_HZ, WhisperEncoder
from emotion_omni.types import Emotion, SpeakerEstimate

SHIPPED = Path(__file__).parent / "weights" / "speech_emotion.safetensors"  # trained by us, with its card
WINDOW_BLOCKS, BLOCK_FRAMES = 6, 10  # of the trajectory: windows of 1.2 s, 0.2 s apart
LEAST_FRAMES = 20  # of speech in a window; one with fewer says nothing
PRIOR_TURNS = 4.0  # turns that the training speakers count for beside the person's own
VARIED, STEP, ONE_TURN = 0.58, 0.06, 0.6  # spread of logits at which turns count half, its scale; what one turn counts
FLATTENED = 1.5  # divides the logits whose spread is taken
LARGEST = 6.0  # standard deviations that a feature may lie from the mean


@dataclass(frozen=True)
class HeadConfig:
    """The head's sizes; saved with its weights."""

    states: int = 7
    width: int = 512
    emotions: tuple[str, ...] = emotion.NAMES

    @property
    def features(self) -> int:
        return self.states * self.width


class SpeechEmotionHead(nn.Module):
    """``temperature`` [2]: with nothing known of the voice, and with everything. ``distance`` [2]: from where on a
    sound counts as unlike the training speech, and how much each unit beyond adds to the temperature."""

    mean: Tensor
    std: Tensor
    temperature: Tensor
    distance: Tensor

    def __init__(self, config: HeadConfig = HeadConfig(), space: str = "") -> None:
        super().__init__()
        self.config, self.space = config, space
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("std", torch.ones(config.features))
        self.classifier = nn.Linear(config.features, len(config.emotions))
        self.register_buffer("temperature", torch.ones(2))
        self.register_buffer("distance", torch.tensor([1e4, 0.0]))

    def save(self, path: Path) -> None:
        tensors = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        safetensors.torch.save_file(tensors, path, metadata={"head": json.dumps(asdict(self.config))})

    def features(self, hidden_states: Tensor, speech: Tensor) -> Tensor:
        """Hidden states [L, T, D] and which frames are speech [T] → standardized features [F]."""
        return self.standardize(mean_states(hidden_states, speech))

    def standardize(self, means: Tensor) -> Tensor:
        """[..., F] → [..., F], in standard deviations of the training speech."""
        return ((means - self.mean) / self.std).clamp(-LARGEST, LARGEST)

    def logits(self, features: Tensor, speaker: SpeakerEstimate | None) -> Tensor:
        """[..., F] → [..., C]."""
        return self.classifier(self.adapt(features, speaker))

    @torch.inference_mode()
    def classify(self, features: Tensor, speaker: SpeakerEstimate | None = None) -> tuple[Emotion, SpeakerEstimate]:
        """[F] → the emotion, judged by what is known of the speaker, and what is known after this turn."""
        speaker = self._known(speaker)
        return self._emotions(features[None], speaker, features)[0], self.estimate(features, speaker)

    @torch.inference_mode()
    def predict(self, hidden_states: Tensor, speech: Tensor, speaker: SpeakerEstimate | None = None) -> Classified:
        """The frames of a clip [L, T, D] and which are speech [T] → its emotion, as a whole and over time."""
        speaker, features = self._known(speaker), self.features(hidden_states, speech)
        whole, estimate = self.classify(features, speaker)
        middles, windows = window_means(hidden_states, speech)
        if len(middles) < 2:
            return Classified(whole, ((hidden_states.shape[1] / FRAME_HZ / 2, whole),), estimate)
        over_time = self._emotions(self.standardize(windows), speaker, features)
        return Classified(whole, tuple(zip(middles, over_time, strict=True)), estimate)

    def _known(self, speaker: SpeakerEstimate | None) -> SpeakerEstimate | None:
        return speaker if speaker is not None and speaker.space == self.space else None

    def adapt(self, features: Tensor, speaker: SpeakerEstimate | None) -> Tensor:
        """[..., F] → relative to the speaker, as far as the number and the variety of the turns allow."""
        if speaker is None or not speaker.turns:
            return features
        count, size = speaker.turns, self.config.features
        mean, power = torch.from_numpy(speaker.total / count)
        variance = (power - mean**2).clamp_min(0)
        counts = _variety(variance[size:], count)
        relative = features - mean[:size] * (counts * count / (count + PRIOR_TURNS))
        if count <= 2:
            return relative
        share = counts * (count - 1) / (count - 1 + 2 * PRIOR_TURNS)
        return relative / (share * (variance[:size].sqrt() + 0.05) + 1 - share)

    def estimate(self, features: Tensor, speaker: SpeakerEstimate | None) -> SpeakerEstimate:
        """What is known of the speaker after a turn with these features [F]."""
        return updated(speaker, features, self.classifier(features), self.space)

    def _emotions(self, features: Tensor, speaker: SpeakerEstimate | None, turn: Tensor) -> list[Emotion]:
        """[B, F] of a turn whose own features are [F] → B emotions."""
        turns = speaker.turns if speaker is not None else 0
        temperature = self.temperature_after(turns, turn.square().mean().sqrt())
        probabilities = (self.logits(features, speaker) / temperature).softmax(-1)
        rows = probabilities.double().tolist()
        return [emotion.mixture(dict(zip(self.config.emotions, row, strict=True))) for row in rows]

    def temperature_after(self, turns: int, distance: Tensor) -> Tensor:
        """What logits are divided by, after so many turns and at distances from the training speech [...]."""
        new, known = self.temperature
        start, slope = self.distance
        return known + (new - known) * PRIOR_TURNS / (turns + PRIOR_TURNS) + slope * (distance - start).clamp_min(0)


def updated(speaker: SpeakerEstimate | None, features: Tensor, logits: Tensor, space: str) -> SpeakerEstimate:
    """An estimate with one more turn: its features [F], and its logits [C] as of somebody unknown."""
    turn = torch.cat([features, (logits - logits.mean()) / FLATTENED])
    total = torch.stack([turn, turn**2]).detach().numpy().astype(np.float32)
    if speaker is None:
        return SpeakerEstimate(1, total, space)
    return SpeakerEstimate(speaker.turns + 1, speaker.total + total, space)


def _variety(variance: Tensor, count: int) -> float:
    """How far the moods of turns vary, 0 to 1, from the variance of their logits over them [C]."""
    if count < 2:
        return ONE_TURN
    spread = (variance * count / (count - 1)).sqrt().mean().item()
    return 1 / (1 + math.exp(-(spread - VARIED) / STEP))


def mean_states(hidden_states: Tensor, speech: Tensor) -> Tensor:
    """[L, T, D] → means over the frames of speech [F]; over all frames where none is."""
    chosen = hidden_states[:, speech] if speech.any() else hidden_states
    return chosen.mean(1).flatten()


def window_means(hidden_states: Tensor, speech: Tensor) -> tuple[list[float], Tensor]:
    """[L, T, D] and which frames are speech [T] → the windows' middles in seconds, and their means [B, F]."""
    blocks = hidden_states.shape[1] // BLOCK_FRAMES
    if blocks <= WINDOW_BLOCKS:
        return [], torch.empty(0)
    mask = speech[: blocks * BLOCK_FRAMES, None].float()  # [T, 1]
    count = _windows(mask[None])  # [1, B, 1]
    means = _windows(hidden_states[:, : blocks * BLOCK_FRAMES] * mask) / count.clamp_min(1)  # [L, B, D]
    spoken = count[0, :, 0] >= LEAST_FRAMES
    middles = (torch.arange(len(spoken)) + WINDOW_BLOCKS / 2) * BLOCK_FRAMES / FRAME_HZ
    return middles[spoken].tolist(), means.transpose(0, 1).flatten(1)[spoken]


def _windows(frames: Tensor) -> Tensor:
    """[L, T, D] → sums over windows [L, B, D]."""
    blocks = frames.unflatten(1, (-1, BLOCK_FRAMES)).sum(2)
    return blocks.unfold(1, WINDOW_BLOCKS, 1).sum(-1)


def load_head(path: Path, encoder: WhisperEncoder) -> SpeechEmotionHead | LoRAHead:
    """A file of :meth:`SpeechEmotionHead.save`, or a head of release 0.1.

    Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    with weights.part_explained(path, "recognizer"), safe_open(path, "pt") as file:
        about = file.metadata() or {}
        if "head" not in about:
            return LoRAHead.load(path, encoder)
        shape = json.loads(about["head"])
        head = SpeechEmotionHead(HeadConfig(**shape | {"emotions": tuple(shape["emotions"])}), weights.sha256(path))
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        head.load_state_dict(tensors, strict=True)
        return head.eval()
