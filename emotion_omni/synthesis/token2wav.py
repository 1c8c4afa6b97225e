"""CosyVoice2 speech tokens → sound: causal flow matching to a mel spectrogram, then the HiFT vocoder.

25 tokens of 6561 codes a second → 50 mel frames → 24 000 samples; one token is 2 frames or 960 samples. Knows nothing
of language models, text or emotion.

The package's flow has no cache, so a stream runs each chunk over a bounded window: the voice prompt, the last two
seconds of the speech so far, the new tokens and three to look ahead. The mel of prompt and past is the condition that
the flow continues. The vocoder's chunks overlap by eight frames and are cross-faded. The cost is therefore linear in
the length of the reply. How close chunks with the published weights sound to one pass has not been listened to.

Axes: P prompt tokens, N tokens, F mel frames, C = 80 mel bands, K samples.
Sources: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117); Li et al. 2023, "HiFTNet" (arXiv 2309.09493).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emotion_omni.synthesis.cosyvoice2_folder import (
    COMMAND,
    MARKER,
    existing,
    load_safetensors,
    load_strictly,
    save_safetensors,
    unpickle,
)
from emotion_omni.synthesis.cosyvoice2_networks import (
    BANDS,
    CODES,
    FRAMES,
    HOP,
    HZ,
    LOOKAHEAD,
    MASK_TOKENS,
    PUBLISHED,
    SMALL,
    SPEAKER_DIMENSIONS,
    Size,
    build,
    check_tokens,
)
from emotion_omni.synthesis.voice_prompt import VoicePrompt
from emotion_omni.types import Audio, EmotionOmniError

OVERLAP = 8  # mel frames that the vocoder makes twice and cross-fades, 160 ms
SEED_STRIDE = 7919  # frames; a prime, so that different seeds start far apart in the table of noise


@dataclass(frozen=True)
class Streaming:
    """How a reply is cut into chunks. The first is short, for the first sound; later ones grow, because each processes
    the prompt and the context again. The sums 12, 27, 57, 117 … are multiples of 15 less the look-ahead, because
    tokens arrive 15 at a time.
    """

    sizes: tuple[int, ...] = (12, 15, 30, 60)  # tokens of each chunk; the last size repeats
    context: int = 50  # tokens of finished speech that a chunk continues, 2 s
    steps: int = 10  # Euler steps of the flow; fewer are faster and rougher

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) * FRAMES <= OVERLAP:
            raise ValueError(f"A chunk needs more than {OVERLAP // FRAMES} tokens, not {self.sizes}.")
        if self.context < 0 or self.steps < 1:
            raise ValueError(f"context must be at least 0 and steps at least 1, not {self.context} and {self.steps}.")


class Token2Wav:
    """Speech tokens → one voice. Holds the weights and the voice, never the state of a reply: streams are independent.

    ``flow``: CausalMaskedDiffWithXvec. ``hift``: HiFTGenerator. Both are put into evaluation mode and must be on one
    device.
    """

    def __init__(
        self, flow: Any, hift: Any, voice: VoicePrompt, hz: int = HZ, streaming: Streaming | None = None
    ) -> None:
        if (hz, hift.sampling_rate) != (HZ, HZ):
            raise ValueError(f"CosyVoice2 speaks at {HZ} Hz, not at {hz} Hz with a vocoder of {hift.sampling_rate} Hz.")
        self.flow, self.hift, self.voice, self.hz = flow.eval(), hift.eval(), voice, hz
        self.streaming = streaming or Streaming()
        self.device = next(flow.parameters()).device
        with torch.inference_mode():
            embedding = nn.functional.normalize(torch.from_numpy(voice.embedding)[None].to(self.device), dim=1)
            self.speaker: Tensor = flow.spk_embed_affine_layer(embedding)  # [1, C]
        self.prompt_tokens = torch.from_numpy(voice.tokens).to(self.device)  # [P]
        self.prompt_mel = torch.from_numpy(voice.mel).T.contiguous().to(self.device)  # [C, 2 P]
        self.noise: Tensor = flow.decoder.rand_noise[0].to(self.device)  # [C, 15000], the same in every copy

    @classmethod
    def random(cls, seed: int = 0, streaming: Streaming | None = None) -> Token2Wav:
        """Small random weights in the same classes: it babbles. For tests and machines without weights."""
        flow, hift = build(SMALL, seed)
        with torch.no_grad():  # an untrained pitch would be near 0 Hz, and the voice would only hiss
            hift.f0_predictor.classifier.bias.fill_(200.0)
        generator = np.random.default_rng(seed)
        embedding, mel = generator.normal(size=SPEAKER_DIMENSIONS), generator.normal(-5, 2, (FRAMES * 30, BANDS))
        voice = VoicePrompt(embedding.astype(np.float32), generator.integers(0, CODES, 30), mel.astype(np.float32))
        return cls(flow, hift, voice, streaming=streaming)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", streaming: Streaming | None = None) -> Token2Wav:
        """From a folder made by :func:`convert`, strictly.

        Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``, ``voice``).
        """
        folder = Path(folder)
        size, voice = _read_size(folder / MARKER), VoicePrompt.load(folder / "voice.safetensors")
        flow, hift = build(size)
        load_safetensors(flow, folder / "flow.safetensors")
        load_safetensors(hift, folder / "hift.safetensors")
        return cls(flow.to(device), hift.to(device), voice, streaming=streaming)

    def stream(self, seed: int = 0, rate: float = 1.0) -> TokenStream:
        """A new reply. The same seed and pushes give the same samples. ``rate``: factor of the speaking rate."""
        return TokenStream(self, seed, rate)

    def decode(self, tokens: Sequence[int] | np.ndarray, seed: int = 0) -> Audio:
        """N tokens in one pass → N / 25 s of :class:`Audio`. For evaluation and files."""
        return Audio(TokenStream(self, seed).whole(tokens), self.hz)


class TokenStream:
    """The state of one reply between tokens and sound. It can be dropped at any time.

    ``flow_frames`` counts the mel frames that the flow has processed, prompt and context included: the cost so far.
    """

    def __init__(self, model: Token2Wav, seed: int, rate: float = 1.0) -> None:
        self.flow_frames = 0
        self._model, self._seed, self._rate = model, seed, rate
        self._vocoder = VocoderStream(model.hift, seed, model.device)
        self._pending: list[int] = []
        self._chunks = self._decoded = 0  # chunks, tokens
        self._past_tokens = model.prompt_tokens[:0]  # the last tokens of the reply, at most Streaming.context
        self._past_mel = model.prompt_mel[:, :0]
        self._closed = False

    def push(self, tokens: Sequence[int] | np.ndarray, last: bool = False) -> np.ndarray:
        """More tokens (may be empty) → float32 [K] in [-1, 1], all samples that are ready, possibly none.

        Samples lag behind the tokens by the look-ahead and the overlap until ``last``, which returns the rest.
        Raises :class:`EmotionOmniError` (code ``speech-token``) for an invalid code.
        """
        self._accept(tokens, last)
        pieces = [np.zeros(0, np.float32)]
        while len(self._pending) >= self._size() + LOOKAHEAD:
            pieces.append(self._decode_chunk(self._size(), final=False))
        if last and self._pending:
            pieces.append(self._decode_chunk(len(self._pending), final=True))
        return np.concatenate(pieces)

    def whole(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """All tokens in one pass, in which every frame attends to all → float32 [960 N]. Only as the first call."""
        self._accept(tokens, last=True)
        if not self._pending:
            return np.zeros(0, np.float32)
        return self._decode_chunk(len(self._pending), final=True, chunked=False)

    def _accept(self, tokens: Sequence[int] | np.ndarray, last: bool) -> None:
        if self._closed:
            raise ValueError("This stream has received its last tokens. Open another for the next reply.")
        self._pending += check_tokens(tokens).tolist()
        self._closed = last

    def _size(self) -> int:
        """Tokens of the next chunk. Fast speech needs at least so many that its frames exceed the overlap."""
        sizes = self._model.streaming.sizes
        fewest = int(OVERLAP * self._rate / FRAMES) + 1
        return max(fewest, sizes[min(self._chunks, len(sizes) - 1)])

    @torch.inference_mode()
    def _decode_chunk(self, count: int, final: bool, chunked: bool = True) -> np.ndarray:
        """The next ``count`` pending tokens → samples [K]."""
        ahead = 0 if final else LOOKAHEAD
        tokens = torch.tensor(self._pending[: count + ahead], device=self._model.device)
        mel = self._mel(tokens, count, chunked)  # [C, 2 count]
        del self._pending[:count]
        self._chunks += 1
        self._decoded += count
        keep = self._model.streaming.context
        past_tokens = torch.cat([self._past_tokens, tokens[:count]])
        past_mel = torch.cat([self._past_mel, mel], dim=1)
        self._past_tokens = past_tokens[max(0, len(past_tokens) - keep) :]
        self._past_mel = past_mel[:, max(0, past_mel.shape[1] - FRAMES * keep) :]
        return self._vocoder(self._stretch(mel), final)

    def _stretch(self, mel: Tensor) -> Tensor:
        """[C, F] → [C, F / rate], interpolated, as the package changes the speaking rate."""
        if self._rate == 1.0:
            return mel
        frames = max(1, round(mel.shape[1] / self._rate))
        return nn.functional.interpolate(mel[None], size=frames, mode="linear")[0]

    def _mel(self, tokens: Tensor, count: int, chunked: bool) -> Tensor:
        """``count`` tokens and their look-ahead [N] → mel [C, 2 count], as the continuation of prompt and past.

        The front of the prompt is cut so that the chunk ends where a mask of the flow's training ends.
        """
        flow, model = self._model.flow, self._model
        known_tokens = torch.cat([model.prompt_tokens, self._past_tokens])
        known_mel = torch.cat([model.prompt_mel, self._past_mel], dim=1)
        aligned = chunked and len(tokens) > count  # the end of the reply may be anywhere
        spare = min(len(known_tokens), (len(known_tokens) + count) % MASK_TOKENS) if aligned else 0
        known = FRAMES * (len(known_tokens) - spare)
        embedded = flow.input_embedding(torch.cat([known_tokens[spare:], tokens]))[None]
        body, ahead = embedded.tensor_split([embedded.shape[1] - (len(tokens) - count)], dim=1)
        lengths = torch.tensor([body.shape[1]], device=model.device)
        hidden_states, _ = flow.encoder(body, lengths, context=ahead, streaming=chunked)
        mean = flow.encoder_proj(hidden_states).transpose(1, 2)  # [1, C, F]
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
        """[C, F]: a frame of the reply gets the same noise in whichever chunk it is."""
        noise, prompt = self._model.noise, self._model.prompt_mel.shape[1]
        start, end = (
            prompt + FRAMES * self._decoded - self._past_mel.shape[1],
            prompt + FRAMES * (self._decoded + count),
        )
        frames = torch.cat([torch.arange(prompt), torch.arange(start, end)])[FRAMES * spare :]
        return noise[:, ((frames + SEED_STRIDE * self._seed) % noise.shape[1]).to(noise.device)]

    def _times(self) -> Tensor:
        """[steps + 1] from 0 to 1, small steps first: 1 - cos(πt/2) (CosyVoice, equation of the cosine schedule)."""
        even = torch.linspace(0, 1, self._model.streaming.steps + 1, device=self._model.device)
        return 1 - torch.cos(even * (math.pi / 2))


class VocoderStream:
    """Mel → samples for one reply, with a continuous phase of the pitch and cross-faded seams."""

    def __init__(self, hift: Any, seed: int, device: torch.device) -> None:
        self._hift = hift
        self._generator = torch.Generator().manual_seed(seed)
        self._cycles = 0.0  # phase of the fundamental at the end of the source so far
        self._mel = torch.zeros(BANDS, 0, device=device)  # of the overlap
        self._source = torch.zeros(1, 1, 0, device=device)
        self._speech = torch.zeros(0, device=device)

    def __call__(self, mel: Tensor, last: bool) -> np.ndarray:
        """[C, F] → float32 [K]; until ``last``, the end of the sound is held back for the next seam."""
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
    """Pitch [F] in Hz and the phase in cycles → the vocoder's source [1, 1, K], and the phase at its end.

    Sines at the harmonics where voiced, noise elsewhere: HiFTNet section 3.1, after Wang et al. 2019 (neural
    source-filter), with the weights of ``module``, a SourceModuleHnNSF2. That class restarts the phase with each call;
    here it continues, so that a seam does not click. As there, the harmonics start in phase, and the pitch leads by
    half a frame, because the phase is interpolated between the centers of frames.
    """
    sines = module.l_sin_gen
    steps = pitch.double().repeat_interleave(HOP) / HZ  # cycles a sample
    steps = torch.cat([steps[HOP // 2 :], steps[-1:].expand(HOP // 2)])
    ends = cycles + steps.cumsum(0)
    phase = ends - steps / 2  # at the middle of each sample
    orders = torch.arange(1, sines.harmonic_num + 2, device=pitch.device)
    waves = torch.sin(2 * math.pi * (phase[:, None] * orders % 1)).float() * sines.sine_amp  # [K, harmonics]
    voiced = (pitch > sines.voiced_threshold).float().repeat_interleave(HOP)[:, None]
    deviation = voiced * sines.noise_std + (1 - voiced) * sines.sine_amp / 3
    noise = torch.randn(waves.shape, generator=generator).to(pitch.device)
    return torch.tanh(module.l_linear(waves * voiced + deviation * noise)).T[None], float(ends[-1] % 1)


def convert(official: str | Path, folder: str | Path, voice: VoicePrompt, size: Size = PUBLISHED) -> None:
    """The published ``flow.pt`` and ``hift.pt`` in ``official`` → a ``folder`` for :meth:`Token2Wav.load`.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``missing-package``, ``checkpoint``).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for module, name in zip(build(size), ("flow", "hift"), strict=True):
        path = Path(official) / f"{name}.pt"
        load_strictly(module, unpickle(path), path)
        save_safetensors(module, folder / f"{name}.safetensors")
    voice.save(folder / "voice.safetensors")
    (folder / MARKER).write_text(json.dumps(asdict(size), indent=1) + "\n")


def _read_size(path: Path) -> Size:
    try:
        return Size(**json.loads(existing(path).read_text()))
    except (TypeError, ValueError) as error:
        raise EmotionOmniError(
            f"{path.name} does not describe a model ({error}). Make it again: {COMMAND}.", "checkpoint"
        ) from error
