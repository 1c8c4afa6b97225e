"""Train the small speech codec: our own voice speaks sentences of the reply corpus, the codec learns to reproduce them.

``python -m emotion_omni train codec --out FOLDER`` (about half an hour on one core; the recordings are kept)

Encoder, codebook and decoder are trained together. The sound that the vocoder makes from the decoder's frames is
compared with the recording by spectrograms; its pulses follow the pitch tracked in the recording, which the decoder
learns to predict. So that the few codes are spent on what distinguishes words, the decoder must also predict the hidden
states of Whisper's encoder (distillation, as in Mimi); that head is discarded. Finally the codec reproduces sentences
it was not trained on, and the recognizer transcribes them and the originals.

Axes: B batch, N tokens, K samples, F frames of 10 ms. Sources: Yamamoto et al. 2020, "Parallel WaveGAN", the spectral
losses; Défossez et al. 2024, "Moshi", section 3.3, the distillation; van den Oord et al. 2017, appendix, the codebook
as a moving average.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emotion_omni import streams
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.synthesis.codec import (
    FRAMES,
    HOP,
    HZ,
    Codec,
    CodecSize,
    build_codec,
    filter_frames,
    load_codec,
    log_mel,
    nearest_codes,
    overlap_add,
    pulse_train,
    save_codec,
)
from emotion_omni.train.codec_evaluation import evaluate
from emotion_omni.train.codec_recordings import WHISPER_WIDTH, Recording, read_sentences, record, standardize
from emotion_omni.train.part_settings import CodecSettings

RESOLUTIONS = (2048, 300)  # window lengths of the spectrograms, in samples
DECAY = 0.99  # of the codebook's moving average, per step


@dataclass(frozen=True, eq=False)
class Batch:
    """``samples`` [B, K], ``sources`` [B, 2, K + 240] pulses and noise, ``pitch`` and ``voiced`` [B, F],
    ``whisper_states`` [B, N, 2, 512] with zeros outside the recording."""

    samples: Tensor
    sources: Tensor
    pitch: Tensor
    voiced: Tensor
    whisper_states: Tensor


def excerpts(recordings: list[Recording], settings: CodecSettings, rng: np.random.Generator) -> Batch:
    rows = [
        _excerpt(recordings[index], settings.excerpt_tokens, rng)
        for index in rng.integers(len(recordings), size=settings.batch_size)
    ]
    return Batch(*(torch.from_numpy(np.stack(values)).float() for values in zip(*rows, strict=True)))


def _excerpt(recording: Recording, tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A random part of a recording, which may begin or end in silence. The order is that of :class:`Batch`."""
    size = tokens * FRAMES * HOP
    start = int(rng.integers(-size // 8, max(1, len(recording.samples) - 3 * size // 4)))
    samples = np.pad(recording.samples[max(0, start) : start + size], (max(0, -start), size))[:size]
    at = start / HOP + np.arange(tokens * FRAMES)
    pitch = np.exp(np.interp(at, np.arange(len(recording.pitch)), np.log(recording.pitch)))
    voiced = np.interp(at, np.arange(len(recording.voiced)), recording.voiced, left=0, right=0)
    wave, _ = pulse_train(np.concatenate([pitch[:1], pitch]), rng.random())
    positions = np.round(start / HZ * 50 + np.arange(2 * tokens)).astype(int)
    inside = (positions >= 0) & (positions < len(recording.whisper_states))
    states = recording.whisper_states[np.clip(positions, 0, len(recording.whisper_states) - 1)] * inside[:, None]
    sources = np.stack([wave, rng.standard_normal(len(wave))])
    return samples, sources, pitch, voiced, states.reshape(tokens, 2, WHISPER_WIDTH)


class Codebook:
    """How a codec's codebook learns: without gradient, each vector is the moving average of its latents.

    For ``start`` steps nothing is quantized. Then the vectors are initialized by k-means over the latents seen last,
    and a vector that is hardly ever chosen moves to a random latent.
    """

    def __init__(self, vectors: Tensor, start: int, seed: int) -> None:
        self.vectors, self.start, self.steps = vectors, start, 0
        self.seen = torch.zeros(0, vectors.shape[1])
        self.counts, self.sums = torch.ones(len(vectors)), vectors.clone()
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, dimensions] → the decoder's input, with a straight-through gradient; and the commitment loss."""
        self.steps += 1
        flat = latents.detach().flatten(0, 1)
        if self.steps <= self.start:
            self.seen = torch.cat([self.seen, flat])[-16 * len(self.vectors) :]
            if self.steps == self.start:
                self._initialize()
            return latents, latents.sum() * 0
        codes = nearest_codes(flat, self.vectors)
        self._update(flat, codes)
        chosen = self.vectors[codes].unflatten(0, latents.shape[:2])
        return latents + (chosen - latents).detach(), (latents - chosen).square().mean()

    def _initialize(self) -> None:
        """k-means, ten rounds, from random latents."""
        self.vectors.copy_(self._sample(self.seen, len(self.vectors)))
        for _ in range(10):
            codes = nearest_codes(self.seen, self.vectors)
            counts = torch.bincount(codes, minlength=len(self.vectors)).float()
            sums = torch.zeros_like(self.vectors).index_add_(0, codes, self.seen)
            self.vectors.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.vectors))
        self.counts, self.sums = torch.ones(len(self.vectors)), self.vectors.clone()

    def _update(self, latents: Tensor, codes: Tensor) -> None:
        share = len(latents) / len(self.vectors)
        self.counts.mul_(DECAY).add_(
            torch.bincount(codes, minlength=len(self.vectors)).float() / share, alpha=1 - DECAY
        )
        self.sums.mul_(DECAY).index_add_(0, codes, latents / share, alpha=1 - DECAY)
        idle = self.counts < 0.05
        self.sums[idle], self.counts[idle] = self._sample(latents, int(idle.sum())), 1.0
        self.vectors.copy_(self.sums / self.counts[:, None])

    def _sample(self, latents: Tensor, count: int) -> Tensor:
        return latents[torch.randint(len(latents), (count,), generator=self.random)]


def spectral_loss(made: Tensor, target: Tensor) -> Tensor:
    """Both [B, K]: log-magnitude distance and spectral convergence, the mean over the resolutions."""
    losses = []
    for size in RESOLUTIONS:
        window = torch.hann_window(size)
        one, other = (torch.stft(x, size, size // 4, window=window, return_complex=True).abs() for x in (made, target))
        floor = 1e-4 * size**0.5
        losses.append((torch.log(one + floor) - torch.log(other + floor)).abs().mean())
        losses.append((one - other).abs().sum() / other.sum().clamp(min=1))
    return torch.stack(losses).sum() / len(RESOLUTIONS)


def losses_of(codec: Codec, codebook: Codebook, head: torch.nn.Linear, batch: Batch) -> dict[str, Tensor]:
    """``head`` predicts Whisper's states from the decoder's, and is discarded after training."""
    mel = log_mel(batch.samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = codec.encoder(mel)
    vectors, commitment = codebook(latents.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = codec.decoder.hidden_states(vectors)
        guess = head(states).float().unflatten(2, (2, WHISPER_WIDTH))
        pitch, envelopes = codec.decoder.frames(states)
    made = overlap_add(filter_frames(batch.sources, envelopes))[:, HOP : HOP + batch.samples.shape[1]]
    weight = batch.voiced + 0.02
    inside = batch.whisper_states.abs().amax(-1) > 0
    similarity = torch.nn.functional.cosine_similarity(guess, batch.whisper_states, dim=-1)
    return {
        "spectrum": spectral_loss(made, batch.samples),
        "mel": 6 * (log_mel(made) - mel).abs().mean(),
        "pitch": 4 * ((pitch.log() - batch.pitch.log()).abs() * weight).sum() / weight.sum(),
        "distillation": 2 * ((1 - similarity) * inside).sum() / inside.sum().clamp(min=1),
        "commitment": 0.25 * commitment,
    }


def train(recordings: list[Recording], settings: CodecSettings) -> Codec:
    rng = np.random.default_rng(settings.seed)
    recordings = standardize(recordings)
    codec = build_codec(CodecSize(), settings.seed).train()
    codebook = Codebook(codec.codebook, settings.max_steps // 8, settings.seed)
    head = torch.nn.Linear(codec.size.decoder_width, 2 * WHISPER_WIDTH)
    parameters = [*codec.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        settings.learning_rate,
        total_steps=settings.max_steps,
        pct_start=max(0.05, 2 / settings.max_steps),
        cycle_momentum=False,
    )
    started = time.monotonic()
    for step in range(1, settings.max_steps + 1):
        losses = losses_of(codec, codebook, head, excerpts(recordings, settings, rng))
        optimizer.zero_grad(set_to_none=True)
        torch.stack([*losses.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            shown = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
            progress = f"step {step}/{settings.max_steps} {shown} {time.monotonic() - started:.0f} s"
            streams.note(progress)
    return codec.eval()


def run(out: Path, settings: CodecSettings) -> dict[str, Any]:
    """Record, train, write ``codec.safetensors`` and its log to ``out``; the evaluation reads that file."""
    out.mkdir(parents=True, exist_ok=True)
    embedded = CascadeEngine.load()
    torch.set_num_threads(1)
    recordings = record(embedded, out / "recordings", read_sentences(settings.sentences))
    count = settings.validation_sentences
    validation, training = recordings[:count], recordings[count:]
    started = time.monotonic()
    codec = train(training, settings)
    path = out / "codec.safetensors"
    save_codec(path, codec)
    log = {
        "settings": asdict(settings),
        "hours": round(sum(len(recording.samples) for recording in training) / HZ / 3600, 3),
        "seconds": round(time.monotonic() - started),
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "validation": evaluate(embedded.recognizer, load_codec(path), validation),
    }
    (out / "codec.log.json").write_text(json.dumps(log, indent=1) + "\n")
    return log
