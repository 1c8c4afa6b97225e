"""The semantic encoder: what was said. A Whisper encoder over the clip and one second of padding instead of 30 s.

Axes: N samples (16 kHz), T frames (50 Hz), E width, M mel bands, F mel frames (100 Hz).
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisper

from emotion_omni import loading, weights
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.omni.encoders import pretrained
from emotion_omni.omni.encoders.encoder import FRAME, Encoder, check_config
from emotion_omni.recognition import whisper_encoder
from emotion_omni.recognition.whisper_encoder import HZ, PADDING_SECONDS, valid_frames
from emotion_omni.types import EmotionOmniError

PADDED = f"padding {PADDING_SECONDS:g} s"  # part of a Whisper's identity: its frames depend on it


def semantic_encoder(config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder:
    """``embedded``, ``random``, or the encoder of any Whisper by hub id (``id@revision`` pins it) or folder.

    Raises :class:`EmotionOmniError` (codes ``config``, ``weights``, ``missing-package``, ``memory``).
    """
    if config.name == "embedded":
        return EmbeddedSemanticEncoder(config, device)
    if config.name == "random":
        return random_encoder(config, device, seed=0)
    with loading.explained(config.name):
        source, shape = pretrained.locate(config.name)
        if shape.model_type != "whisper":
            raise EmotionOmniError(
                f"The semantic encoder must be a Whisper, and {config.name!r} is a {shape.model_type}. "
                "Name one, such as openai/whisper-base.",
                "config",
            )
        check_config(config, shape.d_model)  # before gigabytes are downloaded
        network = pretrained.load_network(_WhisperEncoderOnly, source, key_mapping={r"^(model\.)?encoder\.": ""})
        return WhisperSemanticEncoder(config, network, pretrained.identity(source), device)


class EmbeddedSemanticEncoder(Encoder):
    """The last hidden states of the Whisper base with which the embedded preset recognizes speech, 512-d."""

    def __init__(self, config: EncoderConfig, device: str | torch.device = "cpu") -> None:
        name = "whisper-base/model.bin"
        network = whisper_encoder.WhisperEncoder.load(weights.fetch(name))
        width = network.tensors("layer_norm", "gamma")[0].numel()
        super().__init__(config, network, width, f"{name} {weights.find(name).sha256} {PADDED}", device)

    def _frames(self, samples: Tensor) -> Tensor:
        return self.hidden_states(samples)[-1]

    def hidden_states(self, samples: Tensor) -> list[Tensor]:
        """One window [N] → the hidden states of every layer [T, E], of the clip alone."""
        states = self.network(self.network.log_mel(_pad(samples)[None]))
        return [state[0, : valid_frames(len(samples))] for state in states]


class WhisperSemanticEncoder(Encoder):
    """The encoder of any Whisper of transformers."""

    def __init__(
        self, config: EncoderConfig, network: TransformersWhisper, identity: str, device: str | torch.device
    ) -> None:
        super().__init__(config, network, network.config.d_model, f"{identity} {PADDED}", device)
        bands = network.config.num_mel_bins  # 80, or 128 in large-v3
        self.feature_extractor = transformers.WhisperFeatureExtractor(feature_size=bands)

    def _frames(self, samples: Tensor) -> Tensor:
        return self.encode(self.log_mel(_pad(samples)))[0, : valid_frames(len(samples))]

    def log_mel(self, samples: Tensor) -> Tensor:
        """[N], a whole number of frames → [1, M, F], as in this Whisper's training."""
        mel = self.feature_extractor(
            samples.cpu().numpy(), sampling_rate=HZ, padding="do_not_pad", truncation=False, return_tensors="pt"
        )
        return mel["input_features"].to(self.device)

    def encode(self, mel: Tensor) -> Tensor:
        """[1, M, F] → [1, F / 2, E]. The steps of the network's own forward, which requires 3000 mel frames."""
        net = self.network
        x = F.gelu(net.conv1(mel))
        x = F.gelu(net.conv2(x)).transpose(1, 2)
        x = x + net.embed_positions.weight[: x.shape[1]]
        for layer in net.layers:
            x = layer(x, attention_mask=None)
        return net.layer_norm(x)


class _WhisperEncoderOnly(TransformersWhisper):
    _keys_to_ignore_on_load_unexpected = [r"^(model\.)?decoder\.", r"^proj_out\."]


def _pad(samples: Tensor) -> Tensor:
    """The clip, a second of silence and the rest of the last frame.

    Whisper has learned that speech ends in silence: without any, its last frames are wrong; its usual 30 s
    take fifteen times the arithmetic. The embedded preset pads in the same way, and its speech emotion head
    was trained so.
    """
    return F.pad(samples, (0, int(PADDING_SECONDS * HZ) + -len(samples) % FRAME))


def random_encoder(config: EncoderConfig, device: str | torch.device, seed: int) -> Encoder:
    """A Whisper for tests: two thin layers, the same weights for the same seed."""
    if config.width % 2:
        raise EmotionOmniError(
            f"A random encoder has an even width, not {config.width}, because its positions are sine and cosine.",
            "config",
        )
    shape = transformers.WhisperConfig(
        d_model=config.width,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=2 * config.width,
        num_mel_bins=80,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TransformersWhisper(shape)
    content = b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())
    return WhisperSemanticEncoder(config, network, f"random {hashlib.sha256(content).hexdigest()}", device)
