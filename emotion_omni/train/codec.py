"""Train the unit codec: our own voice speaks sentences of the reply corpus, and the codec learns to repeat them.

`python -m emotion_omni.train.codec --out FOLDER` (about half an hour on one core; the recordings are kept)

Encoder, codebook and decoder learn together. What the vocoder makes of the decoder's frames is compared with the
recording by spectrograms; its pulses follow the pitch tracked in the recording, which the decoder learns to give.
So that the few codes are spent on what tells words apart, the decoder must also guess the states of Whisper's
encoder (distillation, as in Mimi); that head is thrown away. Sentences held out of training are then said by the
trained codec, and the embedded engine's ear writes down what it hears of them and of the originals.

Axes: B batch, N tokens, K samples, F frames of 10 ms. Sources: Yamamoto et al. 2020, "Parallel WaveGAN", the
spectral losses; Défossez et al. 2024, "Moshi", section 3.3, the distillation; van den Oord et al. 2017, appendix,
the codebook as a moving average.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import random
import re
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emotion_omni import audio, emotion
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, encode_windows
from emotion_omni.synthesis.codec import (
    FRAMES,
    HOP,
    HZ,
    Codec,
    CodecSize,
    CodecTokenizer,
    CodecVocoder,
    build_codec,
    filter_frames,
    load_codec,
    log_mel,
    nearest_codes,
    overlap_add,
    pulse_train,
    save_codec,
)
from emotion_omni.train.g2p import distance
from emotion_omni.train.part_settings import CodecSettings
from emotion_omni.types import Audio, EmotionOmniError, Turn

CORPUS = Path(__file__).with_name("replies.jsonl.gz")
SENTENCE = re.compile(r"[^.!?]+[.!?]+")
WORDS = (4, 16)  # fewest and most of a sentence
RESOLUTIONS = (2048, 300)  # samples of a spectrogram's window
LAGS = (60, 300)  # samples: 400 to 80 Hz
PITCH_WINDOW = 960
TOGETHER = 3  # sentences the ear is given at once
HEARD = 512  # width of Whisper's states
DECAY = 0.99  # of the codebook's moving average, a step
LEAP = 4.0  # what the pitch's path pays for a change by a factor of e from one frame to the next


@dataclass(frozen=True, eq=False)
class Recording:
    """``pitch``: float64 [F] in Hz, a guess where nothing is voiced. ``voiced``: [F], 0 to 1.

    ``heard``: float32 [50 a second, 512], Whisper's last states.
    """

    text: str
    samples: np.ndarray
    pitch: np.ndarray
    voiced: np.ndarray
    heard: np.ndarray


def read_sentences(count: int) -> list[tuple[str, str]]:
    """→ (sentence, emotion it is said with); each emotion of a reply in turn. The same every time."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as file:
        replies = [json.loads(line)["reply"] for line in file if line.strip()]
    found = sorted({sentence.strip() for reply in replies for sentence in SENTENCE.findall(reply)})
    chosen = [sentence for sentence in found if WORDS[0] <= len(sentence.split()) <= WORDS[1]]
    random.Random(0).shuffle(chosen)
    tones = sorted({emotion.answer_with(heard, event) for heard in emotion.NAMES for event in emotion.NEWS})
    return [(sentence, tones[index % len(tones)]) for index, sentence in enumerate(chosen[:count])]


def record(embedded: CascadeEngine, folder: Path, sentences: list[tuple[str, str]]) -> list[Recording]:
    """Have our voice say them; what already lies in ``folder`` is not said again."""
    folder.mkdir(parents=True, exist_ok=True)
    recordings = []
    for text, tone in sentences:
        path = folder / f"{hashlib.sha256(f'{tone} {text}'.encode()).hexdigest()[:16]}.wav"
        if not path.is_file():
            part = path.with_suffix(".part")
            part.write_bytes(audio.wav_bytes(audio.join(list(embedded.speak(text, tone)))))
            part.rename(path)
        samples = audio.decode(path).samples
        recordings.append(Recording(text, samples, *track_pitch(samples), listen(embedded.recognizer, samples)))
    return recordings


def listen(recognizer: WhisperCT2Recognizer, samples: np.ndarray) -> np.ndarray:
    """24 kHz [K] → [50 a second, 512], Whisper's last states."""
    hearing = audio.set_level(audio.resample(Audio(samples, HZ), 16_000).samples)
    return torch.cat([window[-1] for window in encode_windows(recognizer.encoder, hearing)]).numpy()[: len(samples) * 50 // HZ]


def track_pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """24 kHz [K] → pitch [F] in Hz and how voiced each frame is, by normalised correlation and its best path."""
    likeness = correlate(samples)
    lags = np.arange(*LAGS)
    leaps = LEAP * np.abs(np.log(lags[:, None] / lags))
    cost = 1 - likeness + 0.05 * np.log(lags / LAGS[0])  # of two lags that fit, the shorter is the period
    sums, back = cost[0], np.zeros(cost.shape, int)
    for frame in range(1, len(cost)):
        through = sums[:, None] + leaps
        back[frame] = through.argmin(0)
        sums = through[back[frame], np.arange(len(lags))] + cost[frame]
    path = np.empty(len(cost), int)
    path[-1] = sums.argmin()
    for frame in range(len(cost) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    rows, inner = np.arange(len(path)), np.clip(path, 1, len(lags) - 2)
    before, peak, after = (likeness[rows, inner + step] for step in (-1, 0, 1))
    curve = before - 2 * peak + after
    offset = np.where(curve < -1e-6, 0.5 * (before - after) / np.minimum(curve, -1e-6), 0)  # top of the parabola
    return HZ / (lags[inner] + np.clip(offset, -1, 1)), np.clip((peak - 0.4) / 0.4, 0, 1)


def correlate(samples: np.ndarray) -> np.ndarray:
    """→ [F, lags]: how alike 40 ms around each frame's middle are to what follows a lag later, from -1 to 1.

    Of the sound below about 1 kHz: when the pitch glides, high harmonics are unlike themselves a period later.
    """
    count = len(samples) // HOP + 1
    length = PITCH_WINDOW + LAGS[1]
    low = np.convolve(samples.astype(np.float64), np.hanning(33) / 16, "same")
    padded = np.pad(low, (length // 2, length))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP][:count]
    size = 2 ** (length - 1).bit_length()
    head = np.fft.rfft(frames[:, :PITCH_WINDOW], size)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, size), size)[:, LAGS[0] : LAGS[1]]
    energy = np.concatenate([np.zeros((count, 1)), np.cumsum(frames**2, axis=1)], axis=1)
    lags = np.arange(*LAGS)
    later = energy[:, lags + PITCH_WINDOW] - energy[:, lags]
    return products / np.sqrt(
        energy[:, PITCH_WINDOW : PITCH_WINDOW + 1] * later + 1e-3
    )  # 1e-3: silence is unlike itself


@dataclass(frozen=True, eq=False)
class Batch:
    """``samples`` [B, K], ``sources`` [B, 2, K + 240] pulses and noise, ``pitch`` and ``voiced`` [B, F],
    ``heard`` [B, N, 2, 512] with zeros outside the recording."""

    samples: Tensor
    sources: Tensor
    pitch: Tensor
    voiced: Tensor
    heard: Tensor


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
    moments = np.round(start / HZ * 50 + np.arange(2 * tokens)).astype(int)
    inside = (moments >= 0) & (moments < len(recording.heard))
    heard = recording.heard[np.clip(moments, 0, len(recording.heard) - 1)] * inside[:, None]
    return samples, np.stack([wave, rng.standard_normal(len(wave))]), pitch, voiced, heard.reshape(tokens, 2, HEARD)


class Codebook:
    """How a codec's codebook learns: no gradient, each vector is the moving average of what fell to it.

    Until ``start`` steps nothing is quantised; then the vectors begin as latents seen last, and one that is hardly
    ever chosen moves to where a latent is.
    """

    def __init__(self, vectors: Tensor, start: int, seed: int) -> None:
        self.vectors, self.start, self.steps = vectors, start, 0
        self.seen = torch.zeros(0, vectors.shape[1])
        self.counts, self.sums = torch.ones(len(vectors)), vectors.clone()
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, dimensions] → what the decoder gets, with the gradient passed straight through; and the cost of distance."""
        self.steps += 1
        flat = latents.detach().flatten(0, 1)
        if self.steps <= self.start:
            self.seen = torch.cat([self.seen, flat])[-16 * len(self.vectors) :]
            if self.steps == self.start:
                self._begin()
            return latents, latents.sum() * 0
        codes = nearest_codes(flat, self.vectors)
        self._learn(flat, codes)
        chosen = self.vectors[codes].unflatten(0, latents.shape[:2])
        return latents + (chosen - latents).detach(), (latents - chosen).square().mean()

    def _begin(self) -> None:
        """k-means, ten rounds, from random latents that were seen."""
        self.vectors.copy_(self._draw(self.seen, len(self.vectors)))
        for _ in range(10):
            codes = nearest_codes(self.seen, self.vectors)
            counts = torch.bincount(codes, minlength=len(self.vectors)).float()
            sums = torch.zeros_like(self.vectors).index_add_(0, codes, self.seen)
            self.vectors.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.vectors))
        self.counts, self.sums = torch.ones(len(self.vectors)), self.vectors.clone()

    def _learn(self, latents: Tensor, codes: Tensor) -> None:
        share = len(latents) / len(self.vectors)
        self.counts.mul_(DECAY).add_(
            torch.bincount(codes, minlength=len(self.vectors)).float() / share, alpha=1 - DECAY
        )
        self.sums.mul_(DECAY).index_add_(0, codes, latents / share, alpha=1 - DECAY)
        idle = self.counts < 0.05
        self.sums[idle], self.counts[idle] = self._draw(latents, int(idle.sum())), 1.0
        self.vectors.copy_(self.sums / self.counts[:, None])

    def _draw(self, latents: Tensor, count: int) -> Tensor:
        return latents[torch.randint(len(latents), (count,), generator=self.random)]


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Both [B, K]: log-magnitude and relative distance, the mean over the resolutions."""
    losses = []
    for size in RESOLUTIONS:
        window = torch.hann_window(size)
        one, other = (torch.stft(x, size, size // 4, window=window, return_complex=True).abs() for x in (made, wanted))
        floor = 1e-4 * size**0.5
        losses.append((torch.log(one + floor) - torch.log(other + floor)).abs().mean())
        losses.append((one - other).abs().sum() / other.sum().clamp(min=1))
    return torch.stack(losses).sum() / len(RESOLUTIONS)


def losses_of(codec: Codec, codebook: Codebook, head: torch.nn.Linear, batch: Batch) -> dict[str, Tensor]:
    mel = log_mel(batch.samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = codec.encoder(mel)
    vectors, strayed = codebook(latents.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = codec.decoder.hidden_states(vectors)
        guess = head(states).float().unflatten(2, (2, HEARD))
        said, envelopes = codec.decoder.frames(states)
    made = overlap_add(filter_frames(batch.sources, envelopes))[:, HOP : HOP + batch.samples.shape[1]]
    trust = batch.voiced + 0.02
    inside = batch.heard.abs().amax(-1) > 0
    alike = torch.nn.functional.cosine_similarity(guess, batch.heard, dim=-1)
    return {
        "spectrum": spectral_loss(made, batch.samples),
        "mel": 6 * (log_mel(made) - mel).abs().mean(),
        "pitch": 4 * ((said.log() - batch.pitch.log()).abs() * trust).sum() / trust.sum(),
        "heard": 2 * ((1 - alike) * inside).sum() / inside.sum().clamp(min=1),
        "strayed": 0.25 * strayed,
    }


def standardised(recordings: list[Recording]) -> list[Recording]:
    """The same with every dimension of ``heard`` at mean 0 and deviation 1: a few loud ones would drown the rest."""
    heard = np.concatenate([recording.heard for recording in recordings])
    mean, deviation = heard.mean(0), heard.std(0) + 1e-6
    return [replace(recording, heard=(recording.heard - mean) / deviation) for recording in recordings]


def train(recordings: list[Recording], settings: CodecSettings) -> Codec:
    rng = np.random.default_rng(settings.seed)
    recordings = standardised(recordings)
    codec = build_codec(CodecSize(), settings.seed).train()
    codebook = Codebook(codec.codebook, settings.max_steps // 8, settings.seed)
    head = torch.nn.Linear(codec.size.decoder_width, 2 * HEARD)
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
            print(f"step {step}/{settings.max_steps} {shown} {time.monotonic() - started:.0f} s", flush=True)
    return codec.eval()


def evaluate(recognizer: WhisperCT2Recognizer, codec: Codec, recordings: list[Recording]) -> dict:
    """Held-out recordings and what the codec makes of them, side by side."""
    tokenizer, vocoder = CodecTokenizer(codec), CodecVocoder(codec)
    tokens = [tokenizer(Audio(recording.samples, HZ)) for recording in recordings]
    said = [vocoder.decode(codes) for codes in tokens]
    originals = [np.pad(r.samples, (0, len(s.samples) - len(r.samples))) for r, s in zip(recordings, said, strict=True)]
    mels = [
        [log_mel(torch.from_numpy(x)[None]) for x in (one, s.samples)] for one, s in zip(originals, said, strict=True)
    ]
    nepers = statistics.mean(3 * float((one - other).abs().mean()) for one, other in mels)
    pitch = statistics.mean(pitch_error(r, vocoder, codes) for r, codes in zip(recordings, tokens, strict=True))
    texts = [recording.text for recording in recordings]
    return {
        "sentences": len(texts),
        "words": sum(len(words_of(text)) for text in texts),
        "mel_decibels": round(nepers * 20 / math.log(10), 2),
        "pitch_percent": round(pitch, 2),
        "codes_used": len(set(np.concatenate(tokens).tolist())),
        "word_error_rate_original": round(
            word_error_rate(recognizer, texts, [Audio(samples, HZ) for samples in originals]), 4
        ),
        "word_error_rate_codec": round(word_error_rate(recognizer, texts, said), 4),
    }


def word_error_rate(recognizer: WhisperCT2Recognizer, texts: list[str], sounds: list[Audio]) -> float:
    """Of what the ear writes down, three sentences at a time: after a single short one it often says it twice."""
    wrong, words = 0, 0
    for start in range(0, len(texts), TOGETHER):
        asked = words_of(" ".join(texts[start : start + TOGETHER]))
        heard = words_of(transcribe(recognizer, audio.join(sounds[start : start + TOGETHER])))
        wrong += distance(asked, heard)  # type: ignore[arg-type]  # words in place of letters
        words += len(asked)
    return wrong / words


def pitch_error(recording: Recording, vocoder: CodecVocoder, tokens: np.ndarray) -> float:
    """Mean distance of the decoder's pitch where the recording is voiced, in percent."""
    with torch.inference_mode():
        pitch = vocoder.codec.decode(torch.from_numpy(tokens)[None])[0][0].numpy()
    count = min(len(pitch), len(recording.pitch))
    ratio = np.abs(np.log(pitch[:count] / recording.pitch[:count]))
    return float(100 * np.average(ratio, weights=recording.voiced[:count] + 1e-9))


def transcribe(recognizer: WhisperCT2Recognizer, speech: Audio) -> str:
    """What the embedded ear writes down; nothing where it hears no speech."""
    try:
        return recognizer.recognize(Turn(speech, emotion="neutral")).transcript
    except EmotionOmniError:
        return ""


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))


def run(out: Path, settings: CodecSettings) -> dict:
    """Record, train, write ``codec.safetensors`` and its log to ``out``; what is measured is read from that file."""
    out.mkdir(parents=True, exist_ok=True)
    embedded = CascadeEngine.load()
    torch.set_num_threads(1)
    recordings = record(embedded, out / "recordings", read_sentences(settings.sentences))
    held_out, rest = recordings[: settings.validation_sentences], recordings[settings.validation_sentences :]
    started = time.monotonic()
    codec = train(rest, settings)
    path = out / "codec.safetensors"
    save_codec(path, codec)
    log = {"settings": asdict(settings), "hours": round(sum(len(r.samples) for r in rest) / HZ / 3600, 3)}
    log |= {"seconds": round(time.monotonic() - started), "megabytes": round(path.stat().st_size / 1e6, 2)}
    log["held_out"] = evaluate(embedded.recognizer, load_codec(path), held_out)
    (out / "codec.log.json").write_text(json.dumps(log, indent=1) + "\n")
    return log
