"""CosyVoice2 speech tokens → sound: causal flow matching to a mel spectrogram, then the HiFT vocoder.

25 tokens of 6561 codes a second → 50 mel frames → 24 000 samples; one token is 2 frames or 960 samples.
Here too is the way back, for training targets and for a new voice: speech → tokens and a
:class:`VoicePrompt`. Knows nothing of language models, text or emotion.

The networks are those of the package ``cosyvoice-minicpmo`` (Apache-2.0), imported only when they are
built. It keeps no cache of the flow, so a stream runs each chunk over a bounded window: the voice prompt,
the last two seconds of the speech made so far, the new tokens and three to look ahead. Both prompt and past
mel are given to the flow as known, so that it continues them; the vocoder's chunks overlap by eight frames
and are cross-faded. Cost therefore grows with the length of the reply, not with its square.

Unknown here: how close chunks of the published weights sound to one pass; it was never heard.

Axes: P prompt tokens, N tokens, F mel frames, C = 80 mel bands, K samples.
Sources: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117); Li et al. 2023, "HiFTNet" (arXiv 2309.09493).
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import pickle
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError

HZ = 24_000
HEARING_HZ = 16_000  # what the speech tokenizer and the speaker encoder were trained on
TOKENS_PER_SECOND = 25
CODES = 6561  # 3^8, finite scalar quantisation
FRAMES = 2  # mel frames of one token
HOP = HZ // (TOKENS_PER_SECOND * FRAMES)  # 480 samples of one mel frame
BANDS = 80
SPEAKER = 192  # dimensions of a CAM++ speaker embedding
LOOKAHEAD = 3  # tokens the encoder's first layer sees of the future
MASK = 25  # tokens; the flow was trained to see its input in chunks that end at multiples of this
OVERLAP = 8  # mel frames the vocoder makes twice and cross-fades, 160 ms
LONGEST_SECONDS = 30.0  # the speech tokenizer's window
SEED_STRIDE = 7919  # frames; a prime, so that different seeds start apart in the table of noise
INSTALL = "pip install --no-deps -r requirements-gpu.txt"


@dataclass(frozen=True)
class Streaming:
    """How a reply is cut. The sizes follow a decoder that gives 15 tokens at a time: 12, 27, 57, 117 … are 3 less.

    The first chunk is short, for the first sound; later ones grow, since each pays for prompt and context again.
    """

    sizes: tuple[int, ...] = (12, 15, 30, 60)  # tokens of each chunk; the last size repeats
    context: int = 50  # tokens of finished speech that a chunk continues, 2 s
    steps: int = 10  # of the ordinary differential equation; fewer are faster and rougher

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) * FRAMES <= OVERLAP:
            raise ValueError(f"A chunk needs more than {OVERLAP // FRAMES} tokens, not {self.sizes}.")
        if self.context < 0 or self.steps < 1:
            raise ValueError(f"Context is 0 tokens or more and steps 1 or more, not {self.context} and {self.steps}.")


@dataclass(frozen=True)
class Size:
    """What may differ between models; the rest is fixed by the package. The defaults are CosyVoice2-0.5B's."""

    encoder_blocks: int = 6
    encoder_units: int = 2048
    flow_channels: int = 256
    flow_blocks: int = 4
    flow_middle: int = 12
    flow_heads: int = 8
    vocoder_channels: int = 512
    pitch_channels: int = 512


PUBLISHED = Size()
SMALL = Size(1, 64, 32, 1, 1, 1, 32, 16)  # for tests: the same classes, as thin as the package lets them be


@dataclass(frozen=True, eq=False)
class VoicePrompt:
    """Whose voice it is, made once per voice and kept as a file.

    ``embedding``: float32 [192], CAM++. ``tokens``: int64 [P] of the prompt's speech.
    ``mel``: float32 [2P, 80], its log-mel spectrogram. Raises :class:`EmotionOmniError` (code ``voice``).
    """

    embedding: np.ndarray
    tokens: np.ndarray
    mel: np.ndarray

    def __post_init__(self) -> None:
        parts = (self.embedding, self.tokens, self.mel)
        found = [(part.dtype, part.shape) for part in parts]
        wanted = [
            (np.float32, (SPEAKER,)),
            (np.int64, (self.tokens.size,)),
            (np.float32, (FRAMES * self.tokens.size, BANDS)),
        ]
        if found != wanted:
            raise EmotionOmniError(
                f"A voice is float32 [{SPEAKER}], P int64 tokens and a float32 mel [{FRAMES} P, {BANDS}], not "
                f"{', '.join(f'{part.dtype} {list(part.shape)}' for part in parts)}. Make it again from its recording.",
                "voice",
            )
        check_tokens(self.tokens)

    @classmethod
    def of(cls, speech: Audio, tokenizer: SpeechTokenizer, speaker: SpeakerEncoder) -> VoicePrompt:
        """A clear recording of 3 to 10 s of one person → their voice. Longer prompts cost more in every chunk."""
        tokens, mel = tokenizer(speech), prompt_mel(speech)
        count = min(len(tokens), len(mel) // FRAMES)  # the two round the end of the recording differently
        return cls(speaker(speech), tokens[:count], mel[: FRAMES * count])

    @classmethod
    def load(cls, path: str | Path) -> VoicePrompt:
        """From a safetensors file made by :meth:`save`."""
        try:
            parts = safetensors.numpy.load_file(_existing(Path(path)))
            return cls(parts["embedding"], parts["tokens"], parts["mel"])
        except (SafetensorError, KeyError) as error:
            raise EmotionOmniError(
                f"{path} holds no voice ({error}). Make it again from its recording.", "voice"
            ) from error

    def save(self, path: str | Path) -> None:
        """To one safetensors file."""
        parts = {"embedding": self.embedding, "tokens": self.tokens, "mel": self.mel}
        safetensors.numpy.save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, path)


class Token2Wav:
    """Speech tokens → one voice. Holds weights and the voice, never the state of a reply: streams do not meet.

    ``flow``: CausalMaskedDiffWithXvec. ``hift``: HiFTGenerator of ``hz``. Both are put into evaluation mode
    and must lie on one device.
    """

    def __init__(
        self, flow: Any, hift: Any, voice: VoicePrompt, hz: int = HZ, streaming: Streaming | None = None
    ) -> None:
        if (hz, hift.sampling_rate) != (HZ, HZ):
            raise ValueError(
                f"CosyVoice2 speaks at {HZ} Hz; asked for {hz} Hz of a vocoder of {hift.sampling_rate} Hz."
            )
        self.flow, self.hift, self.voice, self.hz = flow.eval(), hift.eval(), voice, hz
        self.streaming = streaming or Streaming()
        self.device = next(flow.parameters()).device
        with torch.inference_mode():
            speaker = nn.functional.normalize(torch.from_numpy(voice.embedding)[None].to(self.device), dim=1)
            self.speaker: Tensor = flow.spk_embed_affine_layer(speaker)  # [1, C]
        self.prompt_tokens = torch.from_numpy(voice.tokens).to(self.device)  # [P]
        self.prompt_mel = torch.from_numpy(voice.mel).T.contiguous().to(self.device)  # [C, 2P]
        self.noise: Tensor = flow.decoder.rand_noise[0].to(
            self.device
        )  # [C, 15000], the same in every copy of the model

    @classmethod
    def random(cls, seed: int = 0, streaming: Streaming | None = None) -> Token2Wav:
        """Small random weights through the very same classes: it babbles. For tests and machines without weights."""
        flow, hift = build(SMALL, seed)
        with torch.no_grad():  # an untrained pitch would lie near 0 Hz, and the voice would only hiss
            hift.f0_predictor.classifier.bias.fill_(200.0)
        generator = np.random.default_rng(seed)
        embedding, mel = generator.normal(size=SPEAKER), generator.normal(-5, 2, (FRAMES * 30, BANDS))
        voice = VoicePrompt(embedding.astype(np.float32), generator.integers(0, CODES, 30), mel.astype(np.float32))
        return cls(flow, hift, voice, streaming=streaming)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", streaming: Streaming | None = None) -> Token2Wav:
        """From a folder made by :func:`convert`; every weight must fit, or none is used.

        Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``, ``voice``).
        """
        folder = Path(folder)
        size, voice = _read_size(folder / "token2wav.json"), VoicePrompt.load(folder / "voice.safetensors")
        modules = build(size)
        for module, name in zip(modules, ("flow", "hift"), strict=True):
            path = _existing(folder / f"{name}.safetensors")
            try:
                _fill(module, safetensors.torch.load_file(path), path)
            except SafetensorError as error:
                raise EmotionOmniError(
                    f"{path.name} is not whole ({error}). Run convert() again.", "checkpoint"
                ) from error
        return cls(modules[0].to(device), modules[1].to(device), voice, streaming=streaming)

    def stream(self, seed: int = 0) -> TokenStream:
        """A reply to come. The same seed and pushes give the same samples."""
        return TokenStream(self, seed)

    def speech(self, tokens: Sequence[int] | np.ndarray, seed: int = 0) -> Audio:
        """N tokens at once, in one pass over the whole → N / 25 s of :class:`Audio`. For evaluation and files."""
        return Audio(TokenStream(self, seed).whole(tokens), self.hz)


class TokenStream:
    """One reply on its way from tokens to sound. Abandon it at any time; nothing else knows of it.

    ``flow_frames`` counts the mel frames the flow has worked through, prompt and context included: the cost so far.
    """

    def __init__(self, model: Token2Wav, seed: int) -> None:
        self.flow_frames = 0
        self._model, self._seed = model, seed
        self._vocoder = _Vocoder(model.hift, seed, model.device)
        self._pending: list[int] = []
        self._chunks = self._made = 0  # chunks, tokens
        self._past_tokens = model.prompt_tokens[:0]  # the last of the reply, at most Streaming.context
        self._past_mel = model.prompt_mel[:, :0]
        self._closed = False

    def push(self, tokens: Sequence[int] | np.ndarray, last: bool = False) -> np.ndarray:
        """More tokens (none is fine) → float32 [K] in [-1, 1], all the sound that is ready, perhaps none.

        Sound runs behind the tokens by the look-ahead and the overlap until ``last``, which gives the rest.
        Raises :class:`EmotionOmniError` (code ``speech-token``) for a code that cannot be spoken.
        """
        self._accept(tokens, last)
        pieces = [np.zeros(0, np.float32)]
        while len(self._pending) >= self._size() + LOOKAHEAD:
            pieces.append(self._advance(self._size(), final=False))
        if last and self._pending:
            pieces.append(self._advance(len(self._pending), final=True))
        return np.concatenate(pieces)

    def whole(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """All tokens in one pass in which every frame sees the others → float32 [960 N]. Only as the first call."""
        self._accept(tokens, last=True)
        return (
            self._advance(len(self._pending), final=True, chunked=False) if self._pending else np.zeros(0, np.float32)
        )

    def _accept(self, tokens: Sequence[int] | np.ndarray, last: bool) -> None:
        if self._closed:
            raise ValueError("This stream has had its last tokens. Open another for the next reply.")
        self._pending += check_tokens(tokens).tolist()
        self._closed = last

    def _size(self) -> int:
        sizes = self._model.streaming.sizes
        return sizes[min(self._chunks, len(sizes) - 1)]

    @torch.inference_mode()
    def _advance(self, count: int, final: bool, chunked: bool = True) -> np.ndarray:
        """The next ``count`` pending tokens → samples [K]."""
        ahead = 0 if final else LOOKAHEAD
        tokens = torch.tensor(self._pending[: count + ahead], device=self._model.device)
        mel = self._mel(tokens, count, chunked)  # [C, 2 count]
        del self._pending[:count]
        self._chunks += 1
        self._made += count
        keep = self._model.streaming.context
        past_tokens = torch.cat([self._past_tokens, tokens[:count]])
        past_mel = torch.cat([self._past_mel, mel], dim=1)
        self._past_tokens = past_tokens[max(0, len(past_tokens) - keep) :]
        self._past_mel = past_mel[:, max(0, past_mel.shape[1] - FRAMES * keep) :]
        return self._vocoder(mel, final)

    def _mel(self, tokens: Tensor, count: int, chunked: bool) -> Tensor:
        """``count`` tokens and their look-ahead [N] → mel [C, 2 count], as the continuation of prompt and past.

        The front of the prompt is cut so that a chunk ends where the mask the flow was trained with ends.
        """
        flow, model = self._model.flow, self._model
        known_tokens = torch.cat([model.prompt_tokens, self._past_tokens])
        known_mel = torch.cat([model.prompt_mel, self._past_mel], dim=1)
        aligned = chunked and len(tokens) > count  # the end of the reply may lie anywhere
        spare = min(len(known_tokens), (len(known_tokens) + count) % MASK) if aligned else 0
        known = FRAMES * (len(known_tokens) - spare)
        embedded = flow.input_embedding(torch.cat([known_tokens[spare:], tokens]))[None]
        body, ahead = embedded.tensor_split([embedded.shape[1] - (len(tokens) - count)], dim=1)
        lengths = torch.tensor([body.shape[1]], device=model.device)
        hidden, _ = flow.encoder(body, lengths, context=ahead, streaming=chunked)
        mean = flow.encoder_proj(hidden).transpose(1, 2)  # [1, C, F]
        condition = torch.zeros_like(mean)
        condition[0, :, :known] = known_mel[:, FRAMES * spare :]
        self.flow_frames += mean.shape[2]
        mel = flow.decoder.solve_euler(
            self._noise(spare, count)[None],
            t_span=self._times(),
            mu=mean,
            mask=torch.ones_like(mean[:, :1]),
            spks=model.speaker,
            cond=condition,
            streaming=chunked,
        )
        return mel[0, :, known:]

    def _noise(self, spare: int, count: int) -> Tensor:
        """[C, F]: a frame of the reply meets the same noise in whichever chunk it lies."""
        noise, prompt = self._model.noise, self._model.prompt_mel.shape[1]
        start, end = prompt + FRAMES * self._made - self._past_mel.shape[1], prompt + FRAMES * (self._made + count)
        frames = torch.cat([torch.arange(prompt), torch.arange(start, end)])[FRAMES * spare :]
        return noise[:, ((frames + SEED_STRIDE * self._seed) % noise.shape[1]).to(noise.device)]

    def _times(self) -> Tensor:
        """[steps + 1] from 0 to 1, small steps first: 1 - cos(πt/2) (CosyVoice, equation of the cosine schedule)."""
        even = torch.linspace(0, 1, self._model.streaming.steps + 1, device=self._model.device)
        return 1 - torch.cos(even * (math.pi / 2))


class _Vocoder:
    """Mel → samples for one reply, with the pitch's phase carried on and the seams cross-faded."""

    def __init__(self, hift: Any, seed: int, device: torch.device) -> None:
        self._hift = hift
        self._generator = torch.Generator().manual_seed(seed)
        self._cycles = 0.0  # of the fundamental, where the source made so far ends
        self._mel = torch.zeros(BANDS, 0, device=device)  # of the overlap
        self._source = torch.zeros(1, 1, 0, device=device)
        self._speech = torch.zeros(0, device=device)

    def __call__(self, mel: Tensor, last: bool) -> np.ndarray:
        """[C, F] → float32 [K]; until ``last`` the end of the sound is held back for the next seam."""
        window = torch.cat([self._mel, mel], dim=1)[None]
        pitch = self._hift.f0_predictor(window)[0, self._mel.shape[1] :]  # [F] in Hz
        fresh, self._cycles = excitation(self._hift.m_source, pitch, self._cycles, self._generator)
        source = torch.cat([self._source, fresh], dim=2)  # [1, 1, K]
        speech = self._hift.decode(x=window, s=source)[0]
        seam = len(self._speech)
        rise = torch.arange(seam, device=speech.device).add(0.5).mul(math.pi / 2 / max(seam, 1)).sin().square()
        speech = torch.cat([rise * speech[:seam] + (1 - rise) * self._speech, speech[seam:]])
        ready = len(speech) - (0 if last else OVERLAP * HOP)
        self._mel, self._source, self._speech = window[0, :, -OVERLAP:], source[:, :, -OVERLAP * HOP :], speech[ready:]
        return speech[:ready].cpu().numpy()


def excitation(module: Any, pitch: Tensor, cycles: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """Pitch [F] in Hz, and the cycles its phase stands at → the vocoder's source [1, 1, K], and the cycles at its end.

    Sines at the harmonics where voiced, noise where not: HiFTNet section 3.1, after Wang et al. 2019 (neural
    source-filter), with the weights of ``module``, a SourceModuleHnNSF2. That one starts the phase anew with
    each call; here it runs on, so that a seam does not click. As there, the harmonics start together, and the
    pitch leads by half a frame, which comes of interpolating the phase between the centres of frames.
    """
    sines = module.l_sin_gen
    steps = pitch.double().repeat_interleave(HOP) / HZ  # cycles a sample
    steps = torch.cat([steps[HOP // 2 :], steps[-1:].expand(HOP // 2)])
    ends = cycles + steps.cumsum(0)
    phase = ends - steps / 2  # at the middle of each sample
    orders = torch.arange(1, sines.harmonic_num + 2, device=pitch.device)
    waves = torch.sin(2 * math.pi * (phase[:, None] * orders % 1)).float() * sines.sine_amp  # [K, harmonics]
    voiced = (pitch > sines.voiced_threshold).float().repeat_interleave(HOP)[:, None]
    loudness = voiced * sines.noise_std + (1 - voiced) * sines.sine_amp / 3
    noise = torch.randn(waves.shape, generator=generator).to(pitch.device)
    return torch.tanh(module.l_linear(waves * voiced + loudness * noise)).T[None], float(ends[-1] % 1)


class Listener:
    """A network for speech in one ONNX file beside CosyVoice2's weights, opened at its first use.

    Raises :class:`EmotionOmniError` (code ``missing``) at once when there is no such file.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self._path, self._threads = _existing(Path(path)), threads

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])


class SpeechTokenizer(Listener):
    """Speech → CosyVoice2 tokens, by ``speech_tokenizer_v2.onnx``."""

    def __call__(self, speech: Audio) -> np.ndarray:
        """Up to 30 s → int64 [N], 25 a second. Raises :class:`EmotionOmniError` (code ``too-long``)."""
        if speech.seconds > LONGEST_SECONDS:
            raise EmotionOmniError(
                f"The speech lasts {speech.seconds:.1f} s; the speech tokenizer hears {LONGEST_SECONDS:.0f} s at once. Cut it.",
                "too-long",
            )
        mel = hearing_mel(speech)[None]
        mel_name, length_name = (tensor.name for tensor in self._session.get_inputs())
        given = {mel_name: mel, length_name: np.array([mel.shape[2]], np.int32)}
        return check_tokens(np.asarray(self._session.run(None, given)[0]).ravel())


class SpeakerEncoder(Listener):
    """Speech → who speaks, by ``campplus.onnx``."""

    def __call__(self, speech: Audio) -> np.ndarray:
        """→ float32 [192], from 80 log-mel bands in Kaldi's manner, their mean over time taken off."""
        samples = audio.resample(speech, HEARING_HZ).samples
        bands = mel_filter_bank(
            257, 80, 20.0, HEARING_HZ / 2, HEARING_HZ, mel_scale="kaldi", triangularize_in_mel_space=True
        )
        mel = spectrogram(
            samples,
            window_function(400, "povey", periodic=False),
            400,
            160,
            fft_length=512,
            power=2.0,
            center=False,
            preemphasis=0.97,
            mel_filters=bands,
            mel_floor=float(np.finfo(np.float32).eps),
            log_mel="log",
            remove_dc_offset=True,
        )
        given = (mel - mel.mean(axis=1, keepdims=True)).T[None].astype(np.float32)  # [1, frames, 80]
        return np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: given})[0], np.float32).ravel()


def hearing_mel(speech: Audio) -> np.ndarray:
    """→ Whisper's log-mel float32 [128, 100 a second] (Radford et al. 2022, section 2.2), not padded to 30 s."""
    samples = torch.from_numpy(audio.resample(speech, HEARING_HZ).samples)
    power = torch.stft(samples, 400, 160, window=torch.hann_window(400), return_complex=True)[:, :-1].abs().square()
    bands = mel_filter_bank(201, 128, 0.0, HEARING_HZ / 2, HEARING_HZ, norm="slaney", mel_scale="slaney")
    mel = (torch.from_numpy(bands).float().T @ power).clamp(min=1e-10).log10()
    return ((mel.maximum(mel.max() - 8) + 4) / 4).numpy()


def prompt_mel(speech: Audio) -> np.ndarray:
    """→ the log-mel float32 [F, 80] that the flow makes and the vocoder reads: 50 frames a second, 0 to 8 kHz."""
    samples = torch.from_numpy(audio.resample(speech, HZ).samples)
    width = 4 * HOP
    padded = nn.functional.pad(samples[None], ((width - HOP) // 2, (width - HOP) // 2), mode="reflect")[0]
    spectrum = torch.stft(padded, width, HOP, window=torch.hann_window(width), center=False, return_complex=True)
    bands = mel_filter_bank(width // 2 + 1, BANDS, 0.0, 8000.0, HZ, norm="slaney", mel_scale="slaney")
    loudness = (spectrum.abs().square() + 1e-9).sqrt()
    return (torch.from_numpy(bands).float().T @ loudness).clamp(min=1e-5).log().T.contiguous().numpy()


def check_tokens(tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """→ int64 [N], each a code of the speech vocabulary; its markers (end and the like) are not speech."""
    checked = np.asarray(tokens, np.int64).ravel()
    wrong = checked[(checked < 0) | (checked >= CODES)]
    if len(wrong):
        raise EmotionOmniError(
            f"Speech token {wrong[0]} cannot be spoken; tokens run from 0 to {CODES - 1}. Stop at the end marker, and leave it out.",
            "speech-token",
        )
    return checked


def convert(official: str | Path, folder: str | Path, voice: VoicePrompt, size: Size = PUBLISHED) -> None:
    """The published ``flow.pt`` and ``hift.pt`` of CosyVoice2-0.5B in ``official`` → a ``folder`` for :meth:`Token2Wav.load`.

    A .pt file is a pickle, which may run code: it is read with ``weights_only=True``, once, here and nowhere else.
    Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for module, name in zip(build(size), ("flow", "hift"), strict=True):
        path = _existing(Path(official) / f"{name}.pt")
        _fill(module, _unpickle(path), path)
        weights = {key: value.contiguous() for key, value in module.state_dict().items()}
        safetensors.torch.save_file(weights, folder / f"{name}.safetensors")
    voice.save(folder / "voice.safetensors")
    (folder / "token2wav.json").write_text(json.dumps(asdict(size), indent=1) + "\n")  # last: a folder with it is whole


def _unpickle(path: Path) -> dict[str, Tensor]:
    """The weights of a .pt file, by name without the prefix that adversarial training left on the vocoder's."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise EmotionOmniError(
            f"{path.name} is not a file of weights alone ({reason}). Fetch it again.", "checkpoint"
        ) from error
    return {key.removeprefix("generator."): value for key, value in weights.items()}


def build(size: Size, seed: int = 0) -> tuple[Any, Any]:
    """The flow and the vocoder with random weights, in evaluation mode; the global generators stay as they were.

    Raises :class:`EmotionOmniError` (code ``missing-package``) with the command that installs the package.
    """
    with _undisturbed():
        parts = _package()
        torch.manual_seed(seed)
        return _flow(parts, size).eval(), _vocoder(parts, size).eval()


def _flow(parts: SimpleNamespace, size: Size) -> Any:
    """112.5 M weights at the published size. Widths of 512, 80 and 192 are fixed inside the package."""
    encoder = parts.UpsampleConformerEncoder(
        input_size=512,
        output_size=512,
        attention_heads=8,
        linear_units=size.encoder_units,
        num_blocks=size.encoder_blocks,
        dropout_rate=0.1,
        positional_dropout_rate=0.1,
        attention_dropout_rate=0.1,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn",
        use_cnn_module=False,
        macaron_style=False,
        static_chunk_size=MASK,
    )
    estimator = parts.CausalConditionalDecoder(
        in_channels=4 * BANDS,
        out_channels=BANDS,
        channels=[size.flow_channels],
        dropout=0.0,
        attention_head_dim=64,
        n_blocks=size.flow_blocks,
        num_mid_blocks=size.flow_middle,
        num_heads=size.flow_heads,
        act_fn="gelu",
        static_chunk_size=FRAMES * MASK,
        num_decoding_left_chunks=-1,
    )
    equation = SimpleNamespace(
        sigma_min=1e-6,
        solver="euler",
        t_scheduler="cosine",
        training_cfg_rate=0.2,
        inference_cfg_rate=0.7,
        reg_loss_type="l1",
    )
    decoder = parts.CausalConditionalCFM(
        in_channels=3 * BANDS, cfm_params=equation, n_spks=1, spk_emb_dim=BANDS, estimator=estimator
    )
    return parts.CausalMaskedDiffWithXvec(
        input_size=512,
        output_size=BANDS,
        spk_embed_dim=SPEAKER,
        vocab_size=CODES,
        input_frame_rate=TOKENS_PER_SECOND,
        token_mel_ratio=FRAMES,
        pre_lookahead_len=LOOKAHEAD,
        encoder=encoder,
        decoder=decoder,
    )


def _vocoder(parts: SimpleNamespace, size: Size) -> Any:
    """20.8 M weights at the published size. 8 · 5 · 3 · 4 = 480 samples a frame."""
    dilations = [[1, 3, 5]] * 3
    return parts.HiFTGenerator(
        in_channels=BANDS,
        base_channels=size.vocoder_channels,
        nb_harmonics=8,
        sampling_rate=HZ,
        upsample_rates=[8, 5, 3],
        upsample_kernel_sizes=[16, 11, 7],
        istft_params={"n_fft": 16, "hop_len": 4},
        resblock_kernel_sizes=[3, 7, 11],
        resblock_dilation_sizes=dilations,
        source_resblock_kernel_sizes=[7, 7, 11],
        source_resblock_dilation_sizes=dilations,
        f0_predictor=parts.ConvRNNF0Predictor(num_class=1, in_channels=BANDS, cond_channels=size.pitch_channels),
    )


_PARTS = {
    "UpsampleConformerEncoder": "cosyvoice.transformer.upsample_encoder",
    "CausalMaskedDiffWithXvec": "cosyvoice.flow.flow",
    "CausalConditionalCFM": "cosyvoice.flow.flow_matching",
    "CausalConditionalDecoder": "cosyvoice.flow.decoder",
    "HiFTGenerator": "cosyvoice.hifigan.generator",
    "ConvRNNF0Predictor": "cosyvoice.hifigan.f0_predictor",
}


def _package() -> SimpleNamespace:
    """The six classes, imported. Of what the package drags in, two modules are only named and never used in speaking."""
    logger = ModuleType("matcha.utils.pylogger")  # its package wants lightning, hydra, gdown, wget and matplotlib
    logger.get_pylogger = logging.getLogger  # type: ignore[attr-defined]
    try:
        with _standing_in(ModuleType("torchaudio")):  # reads files; no release of it fits every torch we allow
            importlib.import_module("cosyvoice.utils.file_utils")
        with _standing_in(logger):
            return SimpleNamespace(
                **{name: getattr(importlib.import_module(module), name) for name, module in _PARTS.items()}
            )
    except ImportError as error:
        raise EmotionOmniError(
            f"Speech tokens need the package cosyvoice-minicpmo to become sound, and it cannot be imported ({error}). "
            f"Install the GPU extra from the folder of the repository: {INSTALL}",
            "missing-package",
        ) from error


@contextmanager
def _standing_in(module: ModuleType) -> Iterator[None]:
    """An empty module in place of one that is not loaded, for as long as something else is imported."""
    absent = module.__name__ not in sys.modules
    if absent:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if absent:
            del sys.modules[module.__name__]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The package would turn debug logging on when imported, and reseeds every generator when built: allow neither."""
    log, silent = logging.getLogger(), logging.NullHandler()
    log.addHandler(silent)  # logging.basicConfig does nothing where there is a handler
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        log.removeHandler(silent)
        random.setstate(python)
        np.random.set_state(numpy)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise EmotionOmniError(
            f"There is no {path.name} in {path.parent}. The files of CosyVoice2-0.5B (FunAudioLLM on the Hugging Face hub) "
            "hold it or are converted to it by emotion_omni.synthesis.token2wav.convert; name the folder they lie in.",
            "missing",
        )
    return path


def _read_size(path: Path) -> Size:
    try:
        return Size(**json.loads(_existing(path).read_text()))
    except (TypeError, ValueError) as error:
        raise EmotionOmniError(
            f"{path.name} does not describe a model ({error}). Run convert() again.", "checkpoint"
        ) from error


def _fill(module: Any, weights: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise EmotionOmniError(
            f"{path.name} does not fit the model: {reason}. Use the files of CosyVoice2-0.5B.", "checkpoint"
        ) from error
