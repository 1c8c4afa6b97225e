"""Our small speech codec: speech ↔ 25 tokens a second, in one voice. The voice of the small model.

Small enough to train and to run on one CPU core. It has the same interface as :mod:`emotion_omni.synthesis.token2wav`.
An encoder maps the log-mel spectrogram of 40 ms to one of 1024 codes (the nearest vector of a codebook); a decoder maps
codes to a pitch and two spectral envelopes every 10 ms; a source-filter vocoder without weights filters pulses of that
pitch with one envelope and noise with the other. Knows nothing of language models, text or emotion, and no voice but
the one it was trained on.

A stream looks five tokens ahead and decodes a bounded window, so its cost is linear in the length of the reply. Every
frame depends on the same tokens however they are cut, so chunks differ from one pass by rounding only.

Axes: B batch, N tokens, F = 4 N frames, C bands, D width, K = 960 N samples, Q = 513 frequencies.
Sources: van den Oord et al. 2017, "Neural discrete representation learning" (arXiv 1711.00937), the codebook;
Liu et al. 2022, "A ConvNet for the 2020s" (arXiv 2201.03545), the blocks; Liu et al. 2020, "Neural homomorphic
vocoder" (Interspeech), pulses and noise through minimum-phase filters predicted by a network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError

HZ = 24_000
TOKENS_PER_SECOND = 25
CODES = 1024
FRAMES = 4  # frames of one token, 10 ms each
HOP = HZ // (TOKENS_PER_SECOND * FRAMES)  # 240 samples of one frame
BANDS = 80  # of the mel spectrogram and of each envelope
WINDOW = 1024  # samples: of the analysis window, and of one filtered frame
READ_BANDS = 66  # the encoder reads the bands up to 7.3 kHz, so that a recording of 16 kHz gives the same tokens
MEL_FLOOR = 1e-3  # below it there is no speech, only the recorder's noise
TOP_HZ = 11_500.0  # highest harmonic of the pulses
PITCH_RANGE = (60.0, 600.0)  # Hz, of the decoder's output
ENVELOPE_RANGE = (-12.0, 5.0)  # natural logarithm of an envelope's amplitude
SHIPPED = Path(__file__).parent / "weights" / "codec.safetensors"


@dataclass(frozen=True)
class CodecSize:
    """Sizes of the networks, saved with their weights. ``ahead``: future positions that each decoder block reads."""

    codes: int = CODES
    dimensions: int = 32  # of a code's vector
    encoder_width: int = 160
    encoder_blocks: int = 3  # at 25 Hz, and two at 100 Hz
    decoder_width: int = 224
    slow_blocks: int = 4  # of the decoder, at 25 Hz
    fast_blocks: int = 4  # of the decoder, at 100 Hz
    kernel: int = 7
    ahead: int = 1

    @property
    def lookahead(self) -> int:
        """Future tokens that a token's frames depend on."""
        return self.ahead * self.slow_blocks + -(-self.ahead * self.fast_blocks // FRAMES)

    @property
    def left_context(self) -> int:
        """Past tokens that a frame depends on."""
        behind = self.kernel - 1 - self.ahead
        return behind * self.slow_blocks + -(-behind * self.fast_blocks // FRAMES)


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block: depthwise convolution over time, then a pointwise MLP, with a residual. [B, T, D] → [B, T, D]."""

    def __init__(self, width: int, kernel: int, ahead: int) -> None:
        super().__init__()
        self.padding = (kernel - 1 - ahead, ahead)
        self.over_time = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, hidden_states: Tensor) -> Tensor:
        mixed = self.over_time(nn.functional.pad(hidden_states.transpose(1, 2), self.padding)).transpose(1, 2)
        return hidden_states + self.narrow(nn.functional.gelu(self.widen(self.norm(mixed))))


class Encoder(nn.Module):
    """Log-mel → latents. Not causal: speech to be tokenized is complete."""

    def __init__(self, size: CodecSize) -> None:
        super().__init__()
        width, reach = size.encoder_width, size.kernel // 2
        self.enter = nn.Linear(READ_BANDS, width)
        self.fast = nn.Sequential(*(ConvNeXtBlock(width, size.kernel, reach) for _ in range(2)))
        self.fall = nn.Linear(FRAMES * width, width)
        self.slow = nn.Sequential(*(ConvNeXtBlock(width, size.kernel, reach) for _ in range(size.encoder_blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size.dimensions))

    def forward(self, mel: Tensor) -> Tensor:
        """[B, F, C] → [B, N, dimensions]."""
        hidden_states = self.fast(self.enter(mel[..., :READ_BANDS]))  # [B, F, D]
        return self.leave(self.slow(self.fall(hidden_states.unflatten(1, (-1, FRAMES)).flatten(2))))


class Decoder(nn.Module):
    """Code vectors → the vocoder's input, four frames a token."""

    def __init__(self, size: CodecSize) -> None:
        super().__init__()
        width = size.decoder_width
        self.enter = nn.Linear(size.dimensions, width)
        self.slow = nn.Sequential(*(ConvNeXtBlock(width, size.kernel, size.ahead) for _ in range(size.slow_blocks)))
        self.rise = nn.Linear(width, FRAMES * width)
        self.fast = nn.Sequential(*(ConvNeXtBlock(width, size.kernel, size.ahead) for _ in range(size.fast_blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1 + 2 * BANDS))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, dimensions] → pitch [B, F] in Hz, log envelopes [B, F, 2, C] of pulses and noise."""
        return self.frames(self.hidden_states(vectors))

    def hidden_states(self, vectors: Tensor) -> Tensor:
        """[B, N, dimensions] → [B, N, D], each token in its context."""
        return self.slow(self.enter(vectors))

    def frames(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, D] → pitch and envelopes, as :meth:`forward`."""
        out = self.leave(self.fast(self.rise(hidden_states).unflatten(2, (FRAMES, -1)).flatten(1, 2))).float()
        low, high = (math.log(pitch) for pitch in PITCH_RANGE)
        pitch = torch.exp(low + (high - low) * torch.sigmoid(out[..., 0]))
        return pitch, (2 * out[..., 1:] - 4).clamp(*ENVELOPE_RANGE).unflatten(2, (2, BANDS))


class Codec(nn.Module):
    """Encoder, codebook [codes, dimensions], decoder. The attribute names are the keys of the released weights."""

    def __init__(self, size: CodecSize) -> None:
        super().__init__()
        self.size = size
        self.encoder, self.decoder = Encoder(size), Decoder(size)
        self.codebook: Tensor
        self.register_buffer("codebook", torch.randn(size.codes, size.dimensions))

    def encode(self, mel: Tensor) -> Tensor:
        """Log-mel [B, F, C] → codes, int64 [B, N]."""
        return nearest_codes(self.encoder(mel), self.codebook)

    def decode(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, N] → pitch [B, F] in Hz, log envelopes [B, F, 2, C] of pulses and noise."""
        return self.decoder(self.codebook[codes])


def nearest_codes(latents: Tensor, codebook: Tensor) -> Tensor:
    """[..., dimensions] → index of the nearest vector, int64 [...]."""
    return (codebook.square().sum(1) - 2 * latents @ codebook.T).argmin(-1)


def mel_bands(count: int = BANDS) -> Tensor:
    """Triangular filters of equal height, evenly spaced on the mel scale 2595 log10(1 + f / 700), 0 to 12 kHz → [Q, C].

    Rows sum to 1.
    """
    mels = 2595 * np.log10(1 + np.linspace(0, HZ / 2, WINDOW // 2 + 1) / 700)
    positions = mels / mels[-1] * (count - 1)  # 0 is the center of the first band, C - 1 of the last
    return torch.from_numpy(np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(count)))).float()


def log_mel(samples: Tensor) -> Tensor:
    """24 kHz [B, K], K a multiple of 960 → [B, F, C], about -1 to 2; frame j is centered on sample 240 j."""
    bands = mel_bands().to(samples.device)
    window = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)[..., :-1].abs()
    mean = spectrum.transpose(1, 2) @ (bands / bands.sum(0))
    return mean.clamp(min=MEL_FLOOR).log() / 3 + 1


def pulse_train(pitch: np.ndarray, cycles: float) -> tuple[np.ndarray, float]:
    """Pitch [F] in Hz, constant in a frame → samples [240 F] of mean power 1 with a flat spectrum, and the phase.

    Cosines of all harmonics up to TOP_HZ: sum of cos(n x), n = 1 to H, is sin((H + 1/2) x) / (2 sin(x / 2)) - 1/2.
    ``cycles``: phase of the fundamental before the first sample; the second value is its phase after the last.
    """
    steps = np.repeat(np.asarray(pitch, np.float64), HOP) / HZ
    ends = cycles + np.cumsum(steps)
    half = np.pi * (ends % 1.0)
    harmonics = np.floor(TOP_HZ / HZ / steps)
    divisor = 2 * np.sin(half)
    near = np.abs(divisor) < 1e-6  # at the peak, where the quotient is 0 / 0
    sums = np.where(near, harmonics, np.sin((2 * harmonics + 1) * half) / np.where(near, 1, divisor) - 0.5)
    return (sums * np.sqrt(2 / harmonics)).astype(np.float32), float(ends[-1] % 1.0) if len(ends) else cycles


def minimum_phase(envelopes: Tensor) -> Tensor:
    """Log amplitudes [..., C] → the minimum-phase filter with them, complex [..., Q], by way of the real cepstrum."""
    full = envelopes @ mel_bands(envelopes.shape[-1]).T.to(envelopes.device)
    cepstrum = torch.fft.irfft(full, WINDOW)
    fold = torch.zeros(WINDOW, device=envelopes.device)
    fold[0] = fold[WINDOW // 2] = 1
    fold[1 : WINDOW // 2] = 2
    logarithm = torch.fft.rfft(cepstrum * fold)
    return torch.polar(logarithm.real.exp(), logarithm.imag)


def filter_frames(sources: Tensor, envelopes: Tensor) -> Tensor:
    """Pulses and noise [B, 2, 240 (F + 1)], log envelopes [B, F, 2, C] → filtered frames [B, F, 1024].

    Frame j windows the sources with two hops of Hann around sample 240 j; the sources begin a hop before frame 0.
    """
    window = torch.hann_window(2 * HOP, device=sources.device)
    frames = sources.unfold(2, 2 * HOP, HOP) * window  # [B, 2, F, 480]
    spectra = torch.fft.rfft(frames, WINDOW).transpose(1, 2) * minimum_phase(envelopes)
    return torch.fft.irfft(spectra.sum(2), WINDOW)


def overlap_add(frames: Tensor) -> Tensor:
    """Frames [B, F, 1024], one hop apart → their sum [B, 240 (F - 1) + 1024], which begins a hop before frame 0."""
    batch, count, _ = frames.shape
    total = HOP * (count - 1) + WINDOW
    return nn.functional.fold(frames.transpose(1, 2), (1, total), (1, WINDOW), stride=(1, HOP)).reshape(batch, total)


class CodecVocoder:
    """Tokens → one voice. Holds weights only, never the state of a reply: streams are independent."""

    hz = HZ

    def __init__(self, codec: Codec) -> None:
        self.codec = codec.eval()
        self.codes = codec.size.codes
        self.lookahead = codec.size.lookahead  # tokens
        self.device: torch.device = codec.codebook.device

    @classmethod
    def load(cls, path: str | Path = SHIPPED, device: str = "cpu") -> CodecVocoder:
        """From a weights file. Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``)."""
        return cls(load_codec(path).to(device))

    @classmethod
    def random(cls, codes: int = CODES, seed: int = 0) -> CodecVocoder:
        """Small random weights in the same classes: it hums. For tests without training."""
        return cls(build_codec(_small(codes), seed))

    def stream(self, seed: int = 0) -> CodecStream:
        """A new reply. The same seed and tokens give the same samples; the seed chooses the noise in the voice."""
        return CodecStream(self, seed)

    def decode(self, tokens: Sequence[int] | np.ndarray, seed: int = 0) -> Audio:
        """N tokens at once → N / 25 s of :class:`Audio`."""
        return Audio(CodecStream(self, seed).push(tokens, last=True), self.hz)


class CodecStream:
    """The state of one reply between tokens and sound. It can be dropped at any time.

    ``decoded`` counts the tokens that the network has processed, repeats at the seams included: the cost so far.
    """

    def __init__(self, vocoder: CodecVocoder, seed: int) -> None:
        self.decoded = 0
        self._vocoder = vocoder
        self._noise = np.random.default_rng(seed)
        self._tokens: list[int] = []  # those that a later frame may depend on
        self._done = 0  # how many of them already have their frames
        self._cycles = 0.0
        self._sources = torch.zeros(1, 2, HOP)  # the last hop of pulses and noise
        self._tail = torch.zeros(HOP)  # of the frames so far, to be added to the next; begins a hop before it
        self._lead = HOP  # samples before the first frame, dropped
        self._closed = False

    def push(self, tokens: Sequence[int] | np.ndarray, last: bool = False) -> np.ndarray:
        """More tokens (may be empty) → float32 [K] in [-1, 1], all samples that are final, possibly none.

        Samples lag behind the tokens by the decoder's look-ahead and 10 ms until ``last``, which returns the rest:
        960 samples a token in total. Raises :class:`EmotionOmniError` (code ``speech-token``) for an invalid code.
        """
        if self._closed:
            raise ValueError("This stream has received its last tokens. Open another for the next reply.")
        self._tokens += check_tokens(tokens, self._vocoder.codes).tolist()
        self._closed = last
        size = self._vocoder.codec.size
        ready = len(self._tokens) - (0 if last else size.lookahead)
        if ready <= self._done:
            return self._rest() if last else np.zeros(0, np.float32)
        pitch, envelopes = self._decode(ready)
        sound = self._vocode(pitch, envelopes)
        outdated = max(0, ready - size.left_context)
        del self._tokens[:outdated]
        self._done = ready - outdated
        return np.concatenate([sound, self._rest()]) if last else sound

    @torch.inference_mode()
    def _decode(self, ready: int) -> tuple[Tensor, Tensor]:
        """The new frames of the tokens up to ``ready``: pitch [F], envelopes [1, F, 2, C]."""
        self.decoded += len(self._tokens)
        pitch, envelopes = self._vocoder.codec.decode(torch.tensor([self._tokens], device=self._vocoder.device))
        fresh = slice(FRAMES * self._done, FRAMES * ready)
        return pitch[0, fresh].cpu(), envelopes[:, fresh].cpu()

    @torch.inference_mode()
    def _vocode(self, pitch: Tensor, envelopes: Tensor) -> np.ndarray:
        """Frames → samples, without the end of the last frame, which overlaps the next."""
        wave, self._cycles = pulse_train(pitch.numpy(), self._cycles)
        noise = self._noise.standard_normal(len(wave)).astype(np.float32)
        sources = torch.cat([self._sources, torch.from_numpy(np.stack([wave, noise]))[None]], dim=2)
        self._sources = sources[:, :, -HOP:]
        sound = overlap_add(filter_frames(sources, envelopes))[0]
        sound[: len(self._tail)] += self._tail
        final = HOP * len(pitch)
        self._tail = sound[final:]
        return self._output(sound[:final])

    def _rest(self) -> np.ndarray:
        """The last 10 ms, fading out: no frame follows."""
        return self._output(self._tail[:HOP]) if self._lead == 0 else np.zeros(0, np.float32)

    def _output(self, sound: Tensor) -> np.ndarray:
        skip, self._lead = min(self._lead, len(sound)), max(0, self._lead - len(sound))
        return audio.limit(sound[skip:].numpy())


class CodecTokenizer:
    """Speech in the codec's voice → tokens. ``codec``: by default the shipped one."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = (codec or load_codec(SHIPPED)).eval()
        self.codes = self.codec.size.codes

    @classmethod
    def load(cls, path: str | Path = SHIPPED) -> CodecTokenizer:
        """From a weights file. Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``)."""
        return cls(load_codec(path))

    @classmethod
    def random(cls, codes: int = CODES, seed: int = 0) -> CodecTokenizer:
        """Small random weights: meaningless tokens. For tests without training."""
        return cls(build_codec(_small(codes), seed))

    @torch.inference_mode()
    def __call__(self, speech: Audio) -> np.ndarray:
        """→ int64 [N], 25 a second, the last padded with silence. Depends on the level: it was trained at -20 dBFS."""
        samples = torch.from_numpy(audio.resample(speech, HZ).samples)
        if not len(samples):
            return np.zeros(0, np.int64)
        padded = nn.functional.pad(samples, (0, -len(samples) % (FRAMES * HOP)))
        return self.codec.encode(log_mel(padded[None]))[0].numpy()


def check_tokens(tokens: Sequence[int] | np.ndarray, codes: int) -> np.ndarray:
    """→ int64 [N], each a valid code: the special tokens of a language model (eos and the like) are not speech."""
    checked = np.asarray(tokens, np.int64).ravel()
    wrong = checked[(checked < 0) | (checked >= codes)]
    if len(wrong):
        raise EmotionOmniError(
            f"Speech token {wrong[0]} cannot be spoken; tokens run from 0 to {codes - 1}. "
            "Stop at the eos token, and leave it out.",
            "speech-token",
        )
    return checked


def build_codec(size: CodecSize, seed: int = 0) -> Codec:
    """A codec with random weights; the global random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Codec(size).eval()


def _small(codes: int) -> CodecSize:
    return CodecSize(codes, 8, 16, 1, 16, 2, 2)


def save_codec(path: str | Path, codec: Codec) -> None:
    """To one safetensors file, float16, with the size in its header."""
    tensors = {name: value.half().contiguous() for name, value in codec.state_dict().items()}
    safetensors.torch.save_file(tensors, path, metadata={"size": json.dumps(asdict(codec.size))})


def load_codec(path: str | Path) -> Codec:
    """The inverse of :func:`save_codec`, in float32, loaded strictly.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``).
    """
    path = Path(path)
    if not path.is_file():
        raise EmotionOmniError(
            f"There is no {path.name} in {path.parent}. Make it with python -m emotion_omni train codec.", "missing"
        )
    try:
        with safe_open(path, "pt") as file:
            size = json.loads((file.metadata() or {})["size"])
        codec = build_codec(CodecSize(**size))
        codec.load_state_dict(safetensors.torch.load_file(path), strict=True)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EmotionOmniError(
            f"{path.name} is not a codec of ours: {reason}. Train it again, or use the shipped one.", "checkpoint"
        ) from error
    return codec
