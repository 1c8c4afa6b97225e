"""The emotion encoder: how it was said.

Axes: N samples (16 kHz), T frames (50 Hz), E width.
Sources: Ma et al. 2023, "emotion2vec"; Baevski et al. 2020, "wav2vec 2.0".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from emotion_omni import loading, weights
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.omni.encoders import pretrained
from emotion_omni.omni.encoders.encoder import Encoder, check_config
from emotion_omni.omni.encoders.semantic import EmbeddedSemanticEncoder, random_encoder
from emotion_omni.recognition import lora_head
from emotion_omni.recognition.emotion2vec import EPSILON, Emotion2vec
from emotion_omni.recognition.lora_head import LoRAHead
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import EmotionOmniError


def emotion_encoder(config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder:
    """``embedded``, ``random``, an emotion2vec, or any encoder like wav2vec 2.0 (HuBERT, WavLM).

    By hub id, ``id@revision`` or folder. A name that contains ``emotion2vec`` is read by the package funasr;
    ids that begin with ``iic/`` come from ModelScope, others from the Hugging Face hub. Raises
    :class:`EmotionOmniError` (codes ``config``, ``weights``, ``missing-package``, ``memory``).
    """
    if config.name == "embedded":
        return EmbeddedEmotionEncoder(config, device)
    if config.name == "random":
        return random_encoder(config, device, seed=1)  # not the weights of the semantic one
    with loading.explained(config.name):
        return _emotion2vec(config, device) if "emotion2vec" in config.name.lower() else _wav2vec(config, device)


class EmbeddedEmotionEncoder(Encoder):
    """The states of Whisper base, adapted to emotion and mixed as :class:`LoRAHead` does before pooling, 512-d."""

    def __init__(self, config: EncoderConfig, device: str | torch.device = "cpu") -> None:
        self.whisper = EmbeddedSemanticEncoder(config, device)
        head = LoRAHead.load(lora_head.SHIPPED, self.whisper.network)
        self.first = head.config.first
        identity = f"{self.whisper.identity} tone.safetensors {weights.sha256(lora_head.SHIPPED)}"
        super().__init__(config, head.adapted, head.config.width, identity, device)

    def _frames(self, samples: Tensor) -> Tensor:
        state = self.whisper.hidden_states(samples)[self.first]
        return self.network.features(state[None], torch.ones(1, len(state), dtype=torch.bool, device=self.device))[0]


class StridedEncoder(Encoder):
    """Networks that read samples by convolutions without padding: the last frame of a window needs samples of the next.

    ``kernels``: (size, stride) of each convolution. ``epsilon``: the whole recording is normalized to mean 0
    and variance 1, and this is added to the variance; None: it is not normalized. ``read``: samples [1, N] →
    frames [1, T, E].
    """

    def __init__(
        self,
        config: EncoderConfig,
        network: nn.Module,
        width: int,
        identity: str,
        device: str | torch.device,
        *,
        kernels: Sequence[tuple[int, int]],
        epsilon: float | None,
        read: Callable[[Tensor], Tensor],
    ) -> None:
        field, step = 1, 1  # receptive field of a frame, and distance between frames, in samples
        for size, stride in kernels:
            field, step = field + (size - 1) * step, step * stride
        check_config(config, width, step)
        super().__init__(config, network, width, identity, device)
        self.overlap = field - step
        self.epsilon, self.read = epsilon, read

    def _normalize(self, samples: Tensor) -> Tensor:
        return samples if self.epsilon is None else F.layer_norm(samples, samples.shape, eps=self.epsilon)

    def _frames(self, samples: Tensor) -> Tensor:
        return self.read(samples[None])[0]


def _wav2vec(config: EncoderConfig, device: str | torch.device) -> Encoder:
    source, shape = pretrained.locate(config.name)
    if not hasattr(shape, "conv_kernel") or not hasattr(shape, "conv_stride"):
        raise EmotionOmniError(
            f"The emotion encoder {config.name!r} is a {shape.model_type}, which does not read samples. "
            "Name an emotion2vec, or a wav2vec 2.0, HuBERT, WavLM or the like.",
            "config",
        )
    check_config(config, shape.hidden_size)
    features = transformers.AutoFeatureExtractor.from_pretrained(**source, trust_remote_code=False)
    if features.sampling_rate != HZ:
        raise EmotionOmniError(
            f"{config.name!r} reads {features.sampling_rate} Hz, not {HZ} Hz. Choose another encoder.", "config"
        )
    network = pretrained.load_network(transformers.AutoModel, source)
    return StridedEncoder(
        config,
        network,
        shape.hidden_size,
        pretrained.identity(source),
        device,
        kernels=list(zip(shape.conv_kernel, shape.conv_stride, strict=True)),
        epsilon=1e-7 if features.do_normalize else None,
        read=lambda samples: network(samples).last_hidden_state,
    )


def _emotion2vec(config: EncoderConfig, device: str | torch.device) -> Encoder:
    network = Emotion2vec.load(config.name)
    return StridedEncoder(
        config,
        network.network,
        network.width,
        f"emotion2vec {pretrained.digest(network.files)}",
        device,
        kernels=network.kernels,
        epsilon=EPSILON if network.normalised else None,
        read=network.frames,
    )
