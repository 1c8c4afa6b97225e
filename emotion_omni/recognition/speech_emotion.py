"""How it was said: a linear classifier on the hidden states of Whisper's encoder that gets to know a voice.

Features are the mean and the standard deviation of every hidden state over the frames in which somebody speaks,
standardized over the training speakers. Those of the person's earlier turns, whose emotions are unknown, shift and
scale them towards that person (empirical Bayes: ``count / (count + PRIOR_TURNS)`` of the way), because people differ
more than their moods. One classifier serves any number of earlier turns; it was trained with all of them.
Probabilities are calibrated on corpora that took no part in training, flatter the less is known of the voice and the
further the sound lies from all training speech.

Axes: L hidden states of the encoder, T frames (50 Hz), D width, F = L · 2 · D features, C emotions, B windows.
Sources: speaker normalization, Busso et al. 2011, "Iterative feature normalization scheme for automatic emotion
detection from speech"; temperature scaling, Guo et al. 2017.
"""

from __future__ import annotations

import json
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
LARGEST = 6.0  # standard deviations that a feature may lie from the mean


@dataclass(frozen=True)
class HeadConfig:
    """The head's sizes; saved with its weights."""

    states: int = 7
    width: int = 512
    emotions: tuple[str, ...] = emotion.NAMES

    @property
    def features(self) -> int:
        return self.states * 2 * self.width


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
        if not speech.any():
            speech = torch.ones_like(speech)
        return self.standardize(statistics(hidden_states[:, speech]))

    def standardize(self, found: Tensor) -> Tensor:
        """[..., F] → [..., F], in standard deviations of the training speech."""
        return ((found - self.mean) / self.std).clamp(-LARGEST, LARGEST)

    def logits(self, features: Tensor, speaker: SpeakerEstimate | None) -> Tensor:
        """[..., F] → [..., C]."""
        return self.classifier(self.adapt(features, speaker))

    @torch.inference_mode()
    def classify(self, features: Tensor, speaker: SpeakerEstimate | None = None) -> tuple[Emotion, SpeakerEstimate]:
        """[F] → the emotion, judged by what is known of the speaker, and what is known after this turn."""
        speaker = self._known(speaker)
        return self._emotions(features[None], speaker, features)[0], self._updated(features, speaker)

    @torch.inference_mode()
    def predict(self, hidden_states: Tensor, speech: Tensor, speaker: SpeakerEstimate | None = None) -> Classified:
        """The frames of a clip [L, T, D] and which are speech [T] → its emotion, as a whole and over time."""
        speaker, features = self._known(speaker), self.features(hidden_states, speech)
        whole, estimate = self.classify(features, speaker)
        middles, windows = window_statistics(hidden_states, speech)
        if len(middles) < 2:
            return Classified(whole, ((hidden_states.shape[1] / FRAME_HZ / 2, whole),), estimate)
        over_time = self._emotions(self.standardize(windows), speaker, features)
        return Classified(whole, tuple(zip(middles, over_time, strict=True)), estimate)

    def _known(self, speaker: SpeakerEstimate | None) -> SpeakerEstimate | None:
        return speaker if speaker is not None and speaker.space == self.space else None

    def adapt(self, features: Tensor, speaker: SpeakerEstimate | None) -> Tensor:
        """[..., F] → relative to the speaker, as far as the number of turns allows."""
        if speaker is None or not speaker.turns:
            return features
        count, total = speaker.turns, torch.from_numpy(speaker.total)
        mean, power = total[0] / count, total[1] / count
        relative = features - mean * count / (count + PRIOR_TURNS)
        if count <= 2:
            return relative
        share = (count - 1) / (count - 1 + 2 * PRIOR_TURNS)
        std = (power - mean**2).clamp_min(0).sqrt() + 0.05
        return relative / (share * std + 1 - share)

    def _updated(self, features: Tensor, speaker: SpeakerEstimate | None) -> SpeakerEstimate:
        turn = torch.stack([features, features**2]).numpy().astype(np.float32)
        if speaker is None:
            return SpeakerEstimate(1, turn, self.space)
        return SpeakerEstimate(speaker.turns + 1, speaker.total + turn, self.space)

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


def statistics(frames: Tensor) -> Tensor:
    """[L, T, D] → mean and standard deviation over time [F]."""
    std = frames.std(1) if frames.shape[1] > 1 else torch.zeros_like(frames[:, 0])
    return torch.stack([frames.mean(1), std]).flatten()


def window_statistics(hidden_states: Tensor, speech: Tensor) -> tuple[list[float], Tensor]:
    """[L, T, D] and which frames are speech [T] → the windows' middles in seconds, and their statistics [B, F]."""
    blocks = hidden_states.shape[1] // BLOCK_FRAMES
    if blocks <= WINDOW_BLOCKS:
        return [], torch.empty(0)
    mask = speech[: blocks * BLOCK_FRAMES].double()
    x = hidden_states[:, : blocks * BLOCK_FRAMES].double() * mask[None, :, None]
    count, total, power = (_windows(part) for part in (mask[None, :, None], x, x**2))  # [*, B, *]
    mean = total / count.clamp_min(1)
    variance = (power - count * mean**2).clamp_min(0) / (count - 1).clamp_min(1)
    found = torch.stack([mean, variance.sqrt()]).permute(2, 0, 1, 3).flatten(1).float()  # [B, 2, L, D] → [B, F]
    spoken = count[0, :, 0] >= LEAST_FRAMES
    middles = (torch.arange(len(found)) + WINDOW_BLOCKS / 2) * BLOCK_FRAMES / FRAME_HZ
    return middles[spoken].tolist(), found[spoken]


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
