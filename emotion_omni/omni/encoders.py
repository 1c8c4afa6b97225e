"""The two frozen encoders of a recording: one for what is said, one for how it is said.

Paper, model section: Whisper large-v3 and emotion2vec, both at 50 Hz and never trained. Each is made by
one function, :func:`semantic` and :func:`emotion`, in float32 on every device, and reads what :func:`prepare` made, for queries and
spoken answers alike. A recording is encoded by itself, so that its frames never depend on its batch
mates; only frames of the recording are given, none of padding. Knows neither adapters nor answers.

Axes: B recordings, N samples (16 kHz), T frames (50 Hz), E width, M mel bands, F mel frames (100 Hz).
Sources: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision"; Ma et al. 2023,
"emotion2vec"; Baevski et al. 2020, "wav2vec 2.0".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TransformersWhisper

from emotion_omni import audio, weights
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.recognition import speech_emotion, whisper_encoder
from emotion_omni.recognition.emotion2vec import EPSILON, Emotion2vec
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.recognition.whisper_encoder import HOP, HZ, PADDING_SECONDS, WINDOW_SECONDS, valid_frames
from emotion_omni.types import Audio, EmotionOmniError

PREPARED = 1  # of what prepare() does; raise it with any change, for frames kept on disk depend on it
LONGEST_SECONDS = 60.0  # of a query or a spoken answer
FRAME = 2 * HOP  # samples: 20 ms, the step of Whisper, wav2vec 2.0 and emotion2vec
WINDOW = int(WINDOW_SECONDS * HZ)  # samples; a whole number of frames
SHORTEST = 400  # samples that one frame of wav2vec 2.0 sees; Whisper could do with fewer
PADDED = f"padding {PADDING_SECONDS:g} s"  # of a Whisper; its frames depend on it


def prepare(speech: Audio) -> np.ndarray:
    """Any recording → float32 [N] at 16 kHz, without offset, at one level: loudness says nothing of the emotion.

    Raises :class:`EmotionOmniError` (codes ``silent``, ``too-short``, ``too-long``, ``not-finite``).
    """
    if not len(speech.samples):
        raise EmotionOmniError("The recording is empty. Check the microphone, then record again.", "silent")
    if speech.seconds > LONGEST_SECONDS:
        raise EmotionOmniError(
            f"The recording lasts {speech.seconds:.0f} s; at most {LONGEST_SECONDS:.0f} s can be encoded. Send a shorter part of it.",
            "too-long",
        )
    samples = audio.check(speech.samples, speech.hz).samples
    samples = samples - samples.mean()  # first, or resampling would make a click of where the offset begins
    samples = (
        2 * audio.resample(Audio(samples / 2, speech.hz), HZ).samples
    )  # it clips at 1, which peaks without offset may pass
    level = audio.dbfs(samples)
    if level < audio.QUIETEST_DBFS:
        raise EmotionOmniError(
            f"The recording is silent ({level:.0f} dBFS). Check the microphone, then record again.", "silent"
        )
    return audio.set_level(samples)


class Encoder:
    """Prepared recordings → frames. ``identity`` names the weights and the arithmetic: equal, the frames are equal.

    Deliberately no ``nn.Module``: a model that holds one neither saves nor trains it.
    """

    overlap = 0  # samples a window takes from the next one, where the last frame needs them

    def __init__(
        self, config: EncoderConfig, network: nn.Module, width: int, identity: str, device: str | torch.device
    ) -> None:
        _agree(config, width)
        self.width, self.hz = config.width, config.hz
        self.identity = identity
        self.device = torch.device(device)
        self.network: Any = network.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()  # not inference mode: nothing could be trained on what that gives
    def __call__(self, recordings: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """B times float32 [N] of :func:`prepare` → frames [B, T, E] float32, zero beyond their lengths; lengths [B]."""
        encoded = [self._whole(_checked(samples)) for samples in recordings]
        lengths = torch.tensor([len(frames) for frames in encoded], dtype=torch.long, device=self.device)
        if not encoded:
            return torch.zeros(0, 0, self.width, device=self.device), lengths
        return nn.utils.rnn.pad_sequence(encoded, batch_first=True), lengths

    def _whole(self, samples: Tensor) -> Tensor:
        """[N] → [T, E], window after window."""
        samples = self._normalised(samples.to(self.device))
        return torch.cat([self._frames(window) for window in windows(samples, self.overlap)]).float()

    def _normalised(self, samples: Tensor) -> Tensor:
        """What this encoder was trained to see, if that is not what everybody gets. [N] → [N]."""
        return samples

    def _frames(self, samples: Tensor) -> Tensor:
        """One window [N] → [T, E]."""
        raise NotImplementedError


def windows(samples: Tensor, overlap: int = 0) -> list[Tensor]:
    """[N] → equal windows of at most 29 s, so that none is a scrap too short to make sense of.

    They begin on whole frames: put end to end, their frames keep time.
    """
    count = math.ceil(len(samples) / WINDOW)
    size = math.ceil(len(samples) / count / FRAME) * FRAME
    return [samples[at : at + size + overlap] for at in range(0, len(samples), size)]


def _checked(samples: np.ndarray) -> Tensor:
    if samples.ndim != 1 or samples.dtype != np.float32 or len(samples) < SHORTEST or not np.isfinite(samples).all():
        raise ValueError(
            f"An encoder reads finite float32 [N] at {HZ} Hz, N {SHORTEST} or more, not {samples.dtype} "
            f"{list(samples.shape)}. Give it what prepare() returns."
        )
    return torch.from_numpy(np.ascontiguousarray(samples))


def _agree(config: EncoderConfig, width: int, step: int = FRAME) -> None:
    """The configuration is believed by all that is built upon it, so it must be true."""
    if config.width != width:
        raise EmotionOmniError(
            f"The configured width of the encoder {config.name!r} is {config.width}, and its frames have {width} features. "
            f"Set width to {width}.",
            "config",
        )
    if config.hz * step != HZ:
        raise EmotionOmniError(
            f"The configured rate of the encoder {config.name!r} is {config.hz} Hz, and it gives {HZ / step:g} frames a second. "
            f"Set hz to that, or choose an encoder of {HZ // FRAME} Hz.",
            "config",
        )


# --- what was said ------------------------------------------------------------------------------


def semantic(config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder:
    """``embedded``, ``random``, or any Whisper by hub id (``id@revision`` pins it) or folder, of which only the encoder is kept.

    Raises :class:`EmotionOmniError` (codes ``config``, ``weights``).
    """
    if config.name == "embedded":
        return EmbeddedWords(config, device)
    if config.name == "random":
        return _random(config, device, seed=0)
    return _whisper(config, device)


class EmbeddedWords(Encoder):
    """The last state of the Whisper base that the embedded engine hears with, 512-d."""

    def __init__(self, config: EncoderConfig, device: str | torch.device = "cpu") -> None:
        network, identity = _whisper_base()
        super().__init__(
            config, network, network.tensors("layer_norm", "gamma")[0].numel(), f"{identity} {PADDED}", device
        )

    def _frames(self, samples: Tensor) -> Tensor:
        return self.states(samples)[-1]

    def states(self, samples: Tensor) -> list[Tensor]:
        """One window [N] → every state [T, E] over the clip alone."""
        states = self.network(self.network.log_mel(_padded(samples)[None]))
        return [state[0, : valid_frames(len(samples))] for state in states]


class WhisperWords(Encoder):
    """The encoder of any Whisper of transformers, over the clip and one second of padding instead of 30 s."""

    def __init__(
        self, config: EncoderConfig, network: TransformersWhisper, identity: str, device: str | torch.device
    ) -> None:
        super().__init__(config, network, network.config.d_model, f"{identity} {PADDED}", device)
        self.mel = transformers.WhisperFeatureExtractor(
            feature_size=network.config.num_mel_bins
        )  # 80, or 128 in large-v3

    def _frames(self, samples: Tensor) -> Tensor:
        return self.encode(self.log_mel(_padded(samples)))[0, : valid_frames(len(samples))]

    def log_mel(self, samples: Tensor) -> Tensor:
        """[N], a whole number of frames → [1, M, F], as this Whisper was trained on it."""
        mel = self.mel(
            samples.cpu().numpy(), sampling_rate=HZ, padding="do_not_pad", truncation=False, return_tensors="pt"
        )
        return mel["input_features"].to(self.device)

    def encode(self, mel: Tensor) -> Tensor:
        """[1, M, F] → [1, F / 2, E]. The steps of the network's own forward, which insists on 3000 mel frames."""
        net = self.network
        x = F.gelu(net.conv1(mel))
        x = F.gelu(net.conv2(x)).transpose(1, 2)
        x = x + net.embed_positions.weight[: x.shape[1]]
        for layer in net.layers:
            x = layer(x, attention_mask=None)
        return net.layer_norm(x)


class _WhisperEncoderOnly(TransformersWhisper):
    _keys_to_ignore_on_load_unexpected = [r"^(model\.)?decoder\.", r"^proj_out\."]


def _padded(samples: Tensor) -> Tensor:
    """The clip, a second of silence and the rest of the last frame.

    Whisper has learnt that speech ends in silence: without any it goes astray at the end, and with its usual
    30 s it does fifteen times the arithmetic. The embedded engine pads alike, and its tone head was trained so.
    """
    return F.pad(samples, (0, int(PADDING_SECONDS * HZ) + -len(samples) % FRAME))


def _whisper_base() -> tuple[whisper_encoder.WhisperEncoder, str]:
    name = "whisper-base/model.bin"
    return whisper_encoder.WhisperEncoder.load(weights.fetch(name)), f"{name} {weights.find(name).sha256}"


def _whisper(config: EncoderConfig, device: str | torch.device) -> Encoder:
    with _explained(config.name):
        source, shape = _described(config.name)
        if shape.model_type != "whisper":
            raise EmotionOmniError(
                f"The semantic encoder must be a Whisper, and {config.name!r} is a {shape.model_type}. Name one, as openai/whisper-base.",
                "config",
            )
        _agree(config, shape.d_model)  # before gigabytes are fetched
        network = _pretrained(_WhisperEncoderOnly, source, key_mapping={r"^(model\.)?encoder\.": ""})
        return WhisperWords(config, network, _identity(source), device)


def _random(config: EncoderConfig, device: str | torch.device, seed: int) -> Encoder:
    """A Whisper for tests: two thin layers, the same weights for the same seed."""
    if config.width % 2:
        raise EmotionOmniError(
            f"A random encoder has an even width, not {config.width}, for its positions are sine and cosine.", "config"
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
    return WhisperWords(config, network, f"random {hashlib.sha256(content).hexdigest()}", device)


# --- how it was said ----------------------------------------------------------------------------


def emotion(config: EncoderConfig, device: str | torch.device = "cpu") -> Encoder:
    """``embedded``, ``random``, an emotion2vec, or any encoder like wav2vec 2.0 (HuBERT, WavLM); hub id, ``id@revision`` or folder.

    A name with ``emotion2vec`` in it is read by the package funasr; one that begins with ``iic/`` comes from
    ModelScope, others from the Hugging Face hub. Raises :class:`EmotionOmniError` (codes ``config``, ``weights``, ``missing-package``).
    """
    if config.name == "embedded":
        return EmbeddedTone(config, device)
    if config.name == "random":
        return _random(config, device, seed=1)  # not the weights of the semantic one
    if "emotion2vec" in config.name.lower():
        return _emotion2vec(config, device)
    return _speech_model(config, device)


class EmbeddedTone(Encoder):
    """The states of Whisper base as the embedded engine's tone head adapts and mixes them, 512-d, before it pools them."""

    def __init__(self, config: EncoderConfig, device: str | torch.device = "cpu") -> None:
        self.words = EmbeddedWords(config, device)
        head = SpeechEmotionHead.load(speech_emotion.SHIPPED, self.words.network)
        self.first = head.config.first
        identity = f"{self.words.identity} tone.safetensors {weights.sha256(speech_emotion.SHIPPED)}"
        super().__init__(config, head.adapted, head.config.width, identity, device)

    def _frames(self, samples: Tensor) -> Tensor:
        state = self.words.states(samples)[self.first]
        return self.network.features(state[None], torch.ones(1, len(state), dtype=torch.bool, device=self.device))[0]


class StridedEncoder(Encoder):
    """Networks that read samples through convolutions without padding: the last frame of a window needs samples of the next.

    ``kernels``: (size, stride) of each convolution. ``epsilon``: the whole recording is set to mean 0 and variance 1,
    and this is added to the variance it is divided by; ``None``: it is left alone. ``read``: [1, N] → frames [1, T, E].
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
        field, step = 1, 1  # samples that one frame sees, and from one frame to the next
        for size, stride in kernels:
            field, step = field + (size - 1) * step, step * stride
        _agree(config, width, step)
        super().__init__(config, network, width, identity, device)
        self.overlap = field - step
        self.epsilon, self.read = epsilon, read

    def _normalised(self, samples: Tensor) -> Tensor:
        return samples if self.epsilon is None else F.layer_norm(samples, samples.shape, eps=self.epsilon)

    def _frames(self, samples: Tensor) -> Tensor:
        return self.read(samples[None])[0]


def _speech_model(config: EncoderConfig, device: str | torch.device) -> Encoder:
    with _explained(config.name):
        source, shape = _described(config.name)
        if not hasattr(shape, "conv_kernel") or not hasattr(shape, "conv_stride"):
            raise EmotionOmniError(
                f"The emotion encoder {config.name!r} is a {shape.model_type}, which does not read samples. "
                "Name an emotion2vec, or a wav2vec 2.0, HuBERT, WavLM or the like.",
                "config",
            )
        _agree(config, shape.hidden_size)
        features = transformers.AutoFeatureExtractor.from_pretrained(**source, trust_remote_code=False)
        if features.sampling_rate != HZ:
            raise EmotionOmniError(
                f"{config.name!r} reads {features.sampling_rate} Hz, not {HZ} Hz. Choose another encoder.", "config"
            )
        network = _pretrained(transformers.AutoModel, source)
    return StridedEncoder(
        config,
        network,
        shape.hidden_size,
        _identity(source),
        device,
        kernels=list(zip(shape.conv_kernel, shape.conv_stride, strict=True)),
        epsilon=1e-7 if features.do_normalize else None,
        read=lambda samples: network(samples).last_hidden_state,
    )


def _emotion2vec(config: EncoderConfig, device: str | torch.device) -> Encoder:
    with _explained(config.name):
        made = Emotion2vec.load(config.name)
    return StridedEncoder(
        config,
        made.network,
        made.width,
        f"emotion2vec {_digest(made.files)}",
        device,
        kernels=made.kernels,
        epsilon=EPSILON if made.normalised else None,
        read=made.frames,
    )


# --- the hub ------------------------------------------------------------------------------------


def _described(name: str) -> tuple[dict[str, Any], Any]:
    """A hub id, ``id@revision`` or a folder → where it is, for ``from_pretrained``, and its configuration.

    A revision is resolved once to its commit, so that all files are of one state, which the identity then names.
    """
    source: dict[str, Any] = {"pretrained_model_name_or_path": name}
    if not Path(name).is_dir():
        name, _, revision = name.partition("@")
        found = huggingface_hub.hf_hub_download(
            name, "config.json", revision=revision or None, etag_timeout=weights.HUB_PATIENCE
        )
        source = {"pretrained_model_name_or_path": name, "revision": Path(found).parent.name}
    return source, transformers.AutoConfig.from_pretrained(**source, trust_remote_code=False)


def _pretrained(kind: Any, source: dict[str, Any], **more: Any) -> Any:
    """Only safetensors are read and no code of the repository is run; a weight that is missing is not made up."""
    network, report = kind.from_pretrained(
        **source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **more
    )
    lacking = [
        str(key)
        for what in ("missing_keys", "mismatched_keys")
        for key in report[what]
        if "masked_spec_embed" not in str(key)
    ]
    if lacking:  # masked_spec_embed: for pretraining alone, and many files come without it
        raise ValueError(f"Its file of weights lacks {len(lacking)} tensors, {lacking[0]} for one.")
    return network


def _identity(source: dict[str, Any]) -> str:
    """The repository and its commit; of a folder, which may move or change, the content."""
    name = source["pretrained_model_name_or_path"]
    if "revision" in source:
        return f"{name}@{source['revision']}"
    return f"folder {_digest(sorted([*Path(name).glob('*.safetensors'), *Path(name).glob('*config.json')]))}"


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256("".join(weights.sha256(file) for file in files).encode()).hexdigest()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """What the clients of hubs and the readers of files raise → :class:`EmotionOmniError`."""
    try:
        yield
    except weights.loading_errors() as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
            :300
        ].rstrip(".")
        raise EmotionOmniError(
            f"The encoder {name!r} cannot be loaded: {reason}. Check the name and the network, or name a folder that holds it.",
            "weights",
        ) from error
