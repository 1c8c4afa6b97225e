"""A speech codec of our own for the small model: speech ↔ 25 tokens a second, in one voice.

Small enough to train and to run on one core where CosyVoice2 is out of reach; it wears the two faces of
:mod:`emotion_omni.synthesis.token2wav`. An encoder turns the log-mel spectrogram of 40 ms into one of 1024 codes
(the nearest vector of a codebook); a decoder turns codes into a pitch and two spectral envelopes every 10 ms; a
source-filter vocoder without weights sends pulses of that pitch through one envelope and noise through the
other. Knows nothing of language models, text or emotion, and of no voice but the one it was trained on.

A stream sees five tokens ahead and works over a bounded window, so its cost grows with the length of the
reply. Every frame sees the same tokens however they are cut, so chunks differ from the whole by rounding only.

Axes: B batch, N tokens, F = 4 N frames, C bands, D width, K = 960 N samples, Q = 513 frequencies.
Sources: van den Oord et al. 2017, "Neural discrete representation learning" (arXiv 1711.00937), the codebook;
Liu et al. 2022, "A ConvNet for the 2020s" (arXiv 2201.03545), the blocks; Liu et al. 2020, "Neural homomorphic
vocoder" (Interspeech), pulses and noise through minimum-phase filters that a network gives.
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
BANDS = 80  # of the mel spectrogram that is read, and of each envelope that is made
WINDOW = 1024  # samples: of the analysis, and of a filter with the sound it shapes
READ = 66  # of them, up to 7.3 kHz: what the encoder reads, so that a recording of 16 kHz gives the same tokens
QUIETEST = 1e-3  # of a mel band; below it there is no speech, only the recorder
TOP_HZ = 11_500.0  # pulses hold harmonics up to here
PITCHES = (60.0, 600.0)  # Hz, what the decoder may say
SOFTEST, LOUDEST = -12.0, 5.0  # natural logarithm of an envelope's amplitude
SHIPPED = Path(__file__).parent / "weights" / "codec.safetensors"


@dataclass(frozen=True)
class Size:
    """What a weights file says of itself. ``ahead``: positions of the future each block of the decoder sees."""

    codes: int = CODES
    dimensions: int = 32  # of a code's vector
    encoder_width: int = 160
    encoder_blocks: int = 3  # at 25 Hz, and two at 100 Hz
    decoder_width: int = 224
    slow_blocks: int = 4  # of the decoder, at 25 Hz
    fast_blocks: int = 4  # at 100 Hz
    kernel: int = 7
    ahead: int = 1

    @property
    def lookahead(self) -> int:
        """Tokens that must follow before a token's frames are final."""
        return self.ahead * self.slow_blocks + -(-self.ahead * self.fast_blocks // FRAMES)

    @property
    def memory(self) -> int:
        """Tokens of the past that a frame may depend on."""
        behind = self.kernel - 1 - self.ahead
        return behind * self.slow_blocks + -(-behind * self.fast_blocks // FRAMES)


class Block(nn.Module):
    """ConvNeXt: each channel over time, then all channels of a moment. [B, T, D] → [B, T, D], residual."""

    def __init__(self, width: int, kernel: int, ahead: int) -> None:
        super().__init__()
        self.padding = (kernel - 1 - ahead, ahead)
        self.over_time = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        seen = self.over_time(nn.functional.pad(states.transpose(1, 2), self.padding)).transpose(1, 2)
        return states + self.narrow(nn.functional.gelu(self.widen(self.norm(seen))))


class Encoder(nn.Module):
    """Log-mel → latents. It sees both sides of a token: speech to be tokenised is there as a whole."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, reach = size.encoder_width, size.kernel // 2
        self.enter = nn.Linear(READ, width)
        self.fast = nn.Sequential(*(Block(width, size.kernel, reach) for _ in range(2)))
        self.fall = nn.Linear(FRAMES * width, width)
        self.slow = nn.Sequential(*(Block(width, size.kernel, reach) for _ in range(size.encoder_blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size.dimensions))

    def forward(self, mel: Tensor) -> Tensor:
        """[B, F, C] → [B, N, dimensions]."""
        states = self.fast(self.enter(mel[..., :READ]))
        return self.leave(self.slow(self.fall(states.unflatten(1, (-1, FRAMES)).flatten(2))))


class Decoder(nn.Module):
    """Vectors of codes → what the vocoder plays, four frames a token."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.decoder_width
        self.enter = nn.Linear(size.dimensions, width)
        self.slow = nn.Sequential(*(Block(width, size.kernel, size.ahead) for _ in range(size.slow_blocks)))
        self.rise = nn.Linear(width, FRAMES * width)
        self.fast = nn.Sequential(*(Block(width, size.kernel, size.ahead) for _ in range(size.fast_blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1 + 2 * BANDS))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, dimensions] → pitch [B, F] in Hz, log envelopes [B, F, 2, C] of pulses and noise."""
        return self.play(self.context(vectors))

    def context(self, vectors: Tensor) -> Tensor:
        """→ [B, N, D], each token among its neighbours."""
        return self.slow(self.enter(vectors))

    def play(self, states: Tensor) -> tuple[Tensor, Tensor]:
        made = self.leave(self.fast(self.rise(states).unflatten(2, (FRAMES, -1)).flatten(1, 2))).float()
        low, high = (math.log(pitch) for pitch in PITCHES)
        pitch = torch.exp(low + (high - low) * torch.sigmoid(made[..., 0]))
        return pitch, (2 * made[..., 1:] - 4).clamp(SOFTEST, LOUDEST).unflatten(2, (2, BANDS))


class Codec(nn.Module):
    """Both networks, and between them the codebook [codes, dimensions]."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.encoder, self.decoder = Encoder(size), Decoder(size)
        self.codebook: Tensor
        self.register_buffer("codebook", torch.randn(size.codes, size.dimensions))

    def codes(self, mel: Tensor) -> Tensor:
        """Log-mel [B, F, C] → codes, int64 [B, N]."""
        return nearest(self.encoder(mel), self.codebook)

    def frames(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, N] → pitch [B, F] in Hz, log envelopes [B, F, 2, C] of pulses and noise."""
        return self.decoder(self.codebook[codes])


def nearest(latents: Tensor, codebook: Tensor) -> Tensor:
    """[..., dimensions] → the number of the nearest vector, int64 [...]."""
    return (codebook.square().sum(1) - 2 * latents @ codebook.T).argmin(-1)


def mel_bands(count: int = BANDS) -> Tensor:
    """Triangles of equal height, even on the mel scale 2595 log10(1 + f / 700), 0 to 12 kHz → [Q, C]; rows sum to 1."""
    mels = 2595 * np.log10(1 + np.linspace(0, HZ / 2, WINDOW // 2 + 1) / 700)
    places = mels / mels[-1] * (count - 1)  # 0 is the middle of the first band, C - 1 of the last
    return torch.from_numpy(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)))).float()


def log_mel(samples: Tensor) -> Tensor:
    """24 kHz [B, K], K a multiple of 960 → [B, F, C], about -1 to 2; frame j has its middle at sample 240 j."""
    bands = mel_bands().to(samples.device)
    window = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)[..., :-1].abs()
    mean = spectrum.transpose(1, 2) @ (bands / bands.sum(0))
    return mean.clamp(min=QUIETEST).log() / 3 + 1


def pulses(pitch: np.ndarray, cycles: float) -> tuple[np.ndarray, float]:
    """Pitch [F] in Hz, held for a frame each → samples [240 F] of mean power 1 with a flat spectrum, and the phase.

    Cosines of all harmonics up to TOP_HZ: sum of cos(n x), n = 1 to H, is sin((H + 1/2) x) / (2 sin(x / 2)) - 1/2.
    ``cycles`` is where the fundamental stands; the second value is where it stands afterwards.
    """
    steps = np.repeat(np.asarray(pitch, np.float64), HOP) / HZ
    ends = cycles + np.cumsum(steps)
    half = np.pi * (ends % 1.0)
    harmonics = np.floor(TOP_HZ / HZ / steps)
    divisor = 2 * np.sin(half)
    near = np.abs(divisor) < 1e-6  # the peak itself
    sums = np.where(near, harmonics, np.sin((2 * harmonics + 1) * half) / np.where(near, 1, divisor) - 0.5)
    return (sums * np.sqrt(2 / harmonics)).astype(np.float32), float(ends[-1] % 1.0) if len(ends) else cycles


def minimum_phase(envelopes: Tensor) -> Tensor:
    """Log amplitudes [..., C] → the complex filter [..., Q] that has them and answers soonest (by the real cepstrum)."""
    full = envelopes @ mel_bands(envelopes.shape[-1]).T.to(envelopes.device)
    cepstrum = torch.fft.irfft(full, WINDOW)
    fold = torch.zeros(WINDOW, device=envelopes.device)
    fold[0] = fold[WINDOW // 2] = 1
    fold[1 : WINDOW // 2] = 2
    logarithm = torch.fft.rfft(cepstrum * fold)
    return torch.polar(logarithm.real.exp(), logarithm.imag)


def shape(sources: Tensor, envelopes: Tensor) -> Tensor:
    """Pulses and noise [B, 2, 240 (F + 1)], log envelopes [B, F, 2, C] → what each frame sounds like, [B, F, 1024].

    Frame j takes the sources under a Hann window of two hops around sample 240 j; they begin a hop before frame 0.
    """
    window = torch.hann_window(2 * HOP, device=sources.device)
    frames = sources.unfold(2, 2 * HOP, HOP) * window  # [B, 2, F, 480]
    spectra = torch.fft.rfft(frames, WINDOW).transpose(1, 2) * minimum_phase(envelopes)
    return torch.fft.irfft(spectra.sum(2), WINDOW)


def overlap(frames: Tensor) -> Tensor:
    """[B, F, 1024] → their sum, each a hop after the last, [B, 240 (F - 1) + 1024]; it begins a hop before frame 0."""
    batch, count, _ = frames.shape
    total = HOP * (count - 1) + WINDOW
    return nn.functional.fold(frames.transpose(1, 2), (1, total), (1, WINDOW), stride=(1, HOP)).reshape(batch, total)


class UnitVocoder:
    """Tokens → one voice. Holds weights alone, never the state of a reply: streams do not meet."""

    hz = HZ

    def __init__(self, codec: Codec) -> None:
        self.codec = codec.eval()
        self.codes = codec.size.codes
        self.lookahead = codec.size.lookahead  # tokens
        self.device: torch.device = codec.codebook.device

    @classmethod
    def load(cls, path: str | Path = SHIPPED, device: str = "cpu") -> UnitVocoder:
        """From a weights file. Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``)."""
        return cls(read(path).to(device))

    @classmethod
    def random(cls, codes: int = CODES, seed: int = 0) -> UnitVocoder:
        """Small random weights through the very same classes: it hums. For tests without training."""
        return cls(build(_small(codes), seed))

    def stream(self, seed: int = 0) -> UnitStream:
        """A reply to come. The same seed and tokens give the same samples; the seed chooses the noise in the voice."""
        return UnitStream(self, seed)

    def speech(self, tokens: Sequence[int] | np.ndarray, seed: int = 0) -> Audio:
        """N tokens at once → N / 25 s of :class:`Audio`."""
        return Audio(UnitStream(self, seed).push(tokens, last=True), self.hz)


class UnitStream:
    """One reply on its way from tokens to sound. Abandon it at any time; nothing else knows of it.

    ``decoded`` counts the tokens the network has worked through, repeats at the seams included: the cost so far.
    """

    def __init__(self, vocoder: UnitVocoder, seed: int) -> None:
        self.decoded = 0
        self._vocoder = vocoder
        self._noise = np.random.default_rng(seed)
        self._tokens: list[int] = []  # those that a frame to come may still depend on
        self._done = 0  # of them, whose frames are made
        self._cycles = 0.0
        self._sources = torch.zeros(1, 2, HOP)  # the last hop of pulses and noise
        self._sound = torch.zeros(
            HOP
        )  # not final: what the frames so far leave behind, beginning a hop before the next
        self._lead = HOP  # samples before the first frame, never heard
        self._closed = False

    def push(self, tokens: Sequence[int] | np.ndarray, last: bool = False) -> np.ndarray:
        """More tokens (none is fine) → float32 [K] in [-1, 1], all the sound that is final, perhaps none.

        Sound runs behind the tokens by the decoder's look-ahead and 10 ms until ``last``, which gives the rest.
        In all it is 960 samples a token. Raises :class:`EmotionOmniError` (code ``speech-token``) for what is no code.
        """
        if self._closed:
            raise ValueError("This stream has had its last tokens. Open another for the next reply.")
        self._tokens += check_tokens(tokens, self._vocoder.codes).tolist()
        self._closed = last
        size = self._vocoder.codec.size
        ready = len(self._tokens) - (0 if last else size.lookahead)
        if ready <= self._done:
            return self._rest() if last else np.zeros(0, np.float32)
        pitch, envelopes = self._decode(ready)
        sound = self._play(pitch, envelopes)
        forget = max(0, ready - size.memory)
        del self._tokens[:forget]
        self._done = ready - forget
        return np.concatenate([sound, self._rest()]) if last else sound

    @torch.inference_mode()
    def _decode(self, ready: int) -> tuple[Tensor, Tensor]:
        """The frames of the tokens up to ``ready`` that are not made yet: pitch [F], envelopes [1, F, 2, C]."""
        self.decoded += len(self._tokens)
        pitch, envelopes = self._vocoder.codec.frames(torch.tensor([self._tokens], device=self._vocoder.device))
        fresh = slice(FRAMES * self._done, FRAMES * ready)
        return pitch[0, fresh].cpu(), envelopes[:, fresh].cpu()

    @torch.inference_mode()
    def _play(self, pitch: Tensor, envelopes: Tensor) -> np.ndarray:
        """Frames → the samples before the last of them, which its successor still adds to."""
        wave, self._cycles = pulses(pitch.numpy(), self._cycles)
        noise = self._noise.standard_normal(len(wave)).astype(np.float32)
        sources = torch.cat([self._sources, torch.from_numpy(np.stack([wave, noise]))[None]], dim=2)
        self._sources = sources[:, :, -HOP:]
        sound = overlap(shape(sources, envelopes))[0]
        sound[: len(self._sound)] += self._sound
        final = HOP * len(pitch)
        self._sound = sound[final:]
        return self._heard(sound[:final])

    def _rest(self) -> np.ndarray:
        """The last 10 ms, fading out: no frame comes after it."""
        return self._heard(self._sound[:HOP]) if self._lead == 0 else np.zeros(0, np.float32)

    def _heard(self, sound: Tensor) -> np.ndarray:
        skip, self._lead = min(self._lead, len(sound)), max(0, self._lead - len(sound))
        return audio.limit(sound[skip:].numpy())


class UnitTokenizer:
    """Speech of the codec's voice → tokens. ``codec``: by default the one we ship."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = (codec or read(SHIPPED)).eval()
        self.codes = self.codec.size.codes

    @classmethod
    def load(cls, path: str | Path = SHIPPED) -> UnitTokenizer:
        """From a weights file. Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``)."""
        return cls(read(path))

    @classmethod
    def random(cls, codes: int = CODES, seed: int = 0) -> UnitTokenizer:
        """Small random weights: tokens without meaning. For tests without training."""
        return cls(build(_small(codes), seed))

    @torch.inference_mode()
    def __call__(self, speech: Audio) -> np.ndarray:
        """→ int64 [N], 25 a second, the last one filled up with silence. The level counts: -20 dBFS is usual speech."""
        samples = torch.from_numpy(audio.resample(speech, HZ).samples)
        if not len(samples):
            return np.zeros(0, np.int64)
        padded = nn.functional.pad(samples, (0, -len(samples) % (FRAMES * HOP)))
        return self.codec.codes(log_mel(padded[None]))[0].numpy()


def check_tokens(tokens: Sequence[int] | np.ndarray, codes: int) -> np.ndarray:
    """→ int64 [N], each a code; the markers of a language model (end and the like) are not speech."""
    checked = np.asarray(tokens, np.int64).ravel()
    wrong = checked[(checked < 0) | (checked >= codes)]
    if len(wrong):
        raise EmotionOmniError(
            f"Speech token {wrong[0]} cannot be spoken; tokens run from 0 to {codes - 1}. Stop at the end marker, and leave it out.",
            "speech-token",
        )
    return checked


def build(size: Size, seed: int = 0) -> Codec:
    """A codec with random weights; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Codec(size).eval()


def _small(codes: int) -> Size:
    return Size(codes, 8, 16, 1, 16, 2, 2)


def save(path: str | Path, codec: Codec) -> None:
    """To one safetensors file, float16, with the size in its header."""
    tensors = {name: value.half().contiguous() for name, value in codec.state_dict().items()}
    safetensors.torch.save_file(tensors, path, metadata={"size": json.dumps(asdict(codec.size))})


def read(path: str | Path) -> Codec:
    """The inverse of :func:`save`, in float32; every weight must fit, or none is used.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``).
    """
    path = Path(path)
    if not path.is_file():
        raise EmotionOmniError(
            f"There is no {path.name} in {path.parent}. Make it with python -m emotion_omni.train.codec.", "missing"
        )
    try:
        with safe_open(path, "pt") as file:
            size = json.loads((file.metadata() or {})["size"])
        codec = build(Size(**size))
        codec.load_state_dict(safetensors.torch.load_file(path), strict=True)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EmotionOmniError(
            f"{path.name} is no unit codec: {reason}. Train it again, or take the one we ship.", "checkpoint"
        ) from error
    return codec
