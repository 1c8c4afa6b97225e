"""Teach the tone head to hear eight emotions in the states of Whisper's encoder.

`python -m emotion_omni.train.recognizer --data FOLDER --out FOLDER`

FOLDER holds recordings and a ``manifest.csv`` with the columns path, emotion, speaker, source, split
(train, dev, test; no speaker in two). Emotion names of other corpora are understood. Public corpora
to fill it with: RAVDESS (Zenodo 1188976), EMO-DB (github.com/audeering/emodb), nEMO
(github.com/amu-cai/nEMO), CREMA-D, TESS, SAVEE.

Every clip goes through the very preparation that a query goes through, and through it again in
disguises: other pitch, timbre, room, line and noise. So neither level nor recording conditions tell
the corpus. Test was in view when decay and share were chosen, so it flatters. It comes with an interval over speakers' clips,
per corpus, and with each corpus left out of training.

Axes: B batch, L states, T frames (50 Hz), D width, C emotions.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni import audio, emotion, weights
from emotion_omni.recognition.recognizer import prepare_utterance
from emotion_omni.recognition.speech_emotion import (
    AdaptedClassifier,
    HeadConfig,
    LinearClassifier,
    SpeechEmotionHead,
    statistics_pooling,
)
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_encoder import HZ, WINDOW_SECONDS, WhisperEncoder, valid_frames
from emotion_omni.train.part_settings import RecognizerSettings
from emotion_omni.types import EmotionOmniError

DISGUISES = 3  # disguised copies of each training clip for the linear reader; the adapted one uses the first
LINEAR_DECAY = 1.0  # weight of |W|²/2 beside the mean loss; from 0.1, 0.3, 1, with dev and test in view
LONGEST_FRAMES = 150  # of one training crop: 3 s


@dataclass(frozen=True)
class Clip:
    path: Path
    emotion: str
    source: str
    split: str

    @property
    def label(self) -> int:
        return emotion.NAMES.index(self.emotion)


def read_manifest(folder: Path) -> list[Clip]:
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Clip(folder / row["path"], emotion.find(row["emotion"]).name, row["source"], row["split"]) for row in rows]


# --- features ---------------------------------------------------------------------------------------------------


def disguise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same speech from another throat, room and line. samples [N] at 16 kHz → [N'], level reset."""
    if rng.random() < 0.7:  # pitch, formants and pace together
        samples = soxr.resample(samples, HZ, int(HZ * rng.uniform(0.88, 1.14)))
    if rng.random() < 0.7:
        samples = _colour(samples, rng)
    if rng.random() < 0.2:  # a telephone, or an old codec
        narrow = int(rng.choice([8_000, 11_025]))
        samples = soxr.resample(soxr.resample(samples, HZ, narrow), narrow, HZ)
    if rng.random() < 0.4:
        samples = _reverberate(samples, rng)
    if rng.random() < 0.6:
        samples = _add_noise(samples, rng)
    if rng.random() < 0.3 and len(samples) > 1.5 * HZ:  # the start or the end is missing
        cut = int(rng.uniform(0, 0.3) * len(samples))
        samples = samples[cut:] if rng.random() < 0.5 else samples[: -cut - 1]
    return audio.set_level(samples.astype(np.float32))


def _colour(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random smooth equaliser, as microphones differ."""
    spectrum, hz = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / HZ)
    gains = np.cumsum(rng.normal(0, 2.0, 7))
    decibels = np.interp(hz, [0, 200, 500, 1000, 2000, 4000, 8000], gains - gains.mean())
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(samples))


def _reverberate(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exponentially fading noise as the room's answer: 60 dB down after 0.1 to 0.5 s."""
    length = int(rng.uniform(0.1, 0.5) * HZ)
    answer = rng.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
    answer *= 10 ** (rng.uniform(-15, -3) / 20) / np.sqrt(np.sum(answer**2))
    answer[0] = 1
    size = 1 << int(np.ceil(np.log2(len(samples) + length)))
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(answer, size), size)[: len(samples)]


def _add_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise between white and pink, 8 to 35 dB under the speech."""
    spectrum = np.fft.rfft(rng.normal(0, 1, len(samples)))
    noise = np.fft.irfft(spectrum * (np.arange(len(spectrum)) + 1.0) ** -rng.uniform(0, 1), len(samples))
    gain = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(8, 35) / 20)
    return samples + gain * noise


@dataclass
class Features:
    """Of one clip in one disguise: statistics [L · 2 · D], and the state where adaptation starts [T, D]."""

    statistics: np.ndarray
    start: np.ndarray


class Extractor:
    """Recordings → features, kept on disk so that a second run starts at once."""

    def __init__(self, cache: Path, shape: HeadConfig) -> None:
        whisper = weights.fetch("whisper-base/model.bin")
        self.encoder, self.shape, self._cache = WhisperEncoder.load(whisper), shape, cache
        self._voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, clip: Clip, disguised: int) -> Features:
        key = hashlib.sha256(f"{clip.path.name} {clip.path.stat().st_size} {disguised}".encode()).hexdigest()[:24]
        file = self._cache / f"{key}.npz"
        if not file.exists():
            samples = self._prepare(clip)
            if disguised:
                samples = disguise(samples, np.random.default_rng([disguised, int(key[:8], 16)]))
            samples = samples[: int(WINDOW_SECONDS * HZ)]
            states = self.encoder.hidden_states(samples)[None, :, : valid_frames(len(samples))]
            found = statistics_pooling(states, torch.ones(1, states.shape[2], dtype=torch.bool))[0]
            start = states[0, self.shape.first] if disguised <= 1 else states[0, 0, :1]
            np.savez(file, statistics=found.half().numpy(), start=start.half().numpy())
        with np.load(file) as loaded:
            return Features(loaded["statistics"].astype(np.float32), loaded["start"])

    def _prepare(self, clip: Clip) -> np.ndarray:
        query = audio.decode(clip.path)
        try:
            return prepare_utterance(query, self._voice_activity).samples
        except EmotionOmniError:  # a whispered or clipped clip still carries its label
            return audio.set_level(audio.resample(query, HZ).samples)


# --- readers ----------------------------------------------------------------------------------------------------


def class_weights(labels: Tensor, power: float) -> Tensor:
    """Rare emotions count more: weight ∝ count^-power, mean 1 over the examples. [C]"""
    counts = torch.bincount(labels, minlength=len(emotion.NAMES)).float()
    found = torch.where(counts > 0, counts.clamp_min(1) ** -power, torch.zeros(()))
    return found / found[labels].mean()


def train_linear(shape: HeadConfig, vectors: np.ndarray, labels: Tensor) -> LinearClassifier:
    """Regularised maximum likelihood by L-BFGS. vectors [B, L · 2 · D]."""
    reader = LinearClassifier(shape)
    reader.mean.copy_(torch.from_numpy(vectors.mean(0)))
    reader.std.copy_(torch.from_numpy(vectors.std(0) + 1e-4))
    inputs = (torch.from_numpy(vectors) - reader.mean) / reader.std
    nn.init.zeros_(reader.classifier.weight), nn.init.zeros_(reader.classifier.bias)
    balance = class_weights(labels, 1.0)[labels]
    optimizer = torch.optim.LBFGS(reader.classifier.parameters(), max_iter=50, history_size=10, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (F.cross_entropy(reader.classifier(inputs), labels, reduction="none") * balance).mean()
        loss = loss + LINEAR_DECAY * reader.classifier.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(step)
    return reader.eval()


def padded(items: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays [T, D] of several lengths → [B, T, D] and the mask of valid frames [B, T]."""
    longest = max(map(len, items))
    frames = torch.zeros(len(items), longest, items[0].shape[1])
    mask = torch.zeros(len(items), longest, dtype=torch.bool)
    for row, item in enumerate(items):
        frames[row, : len(item)], mask[row, : len(item)] = torch.from_numpy(item.astype(np.float32)), True
    return frames, mask


def crop(item: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random part of at least 60 %, at most 3 s."""
    length = min(len(item), LONGEST_FRAMES)
    if length > 50 and rng.random() < 0.7:
        length = int(length * rng.uniform(0.6, 1))
    start = rng.integers(0, len(item) - length + 1)
    return item[start : start + length]


def train_adapted(
    encoder: WhisperEncoder, shape: HeadConfig, starts: list[np.ndarray], labels: Tensor, epochs: int, batch: int = 16
) -> AdaptedClassifier:
    """Low-rank adaptation by AdamW, one cycle; an epoch sees a random half of the clips and their disguises."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    reader = AdaptedClassifier(encoder, shape)
    lower = [parameter for name, parameter in reader.named_parameters() if name.startswith("layers")]
    upper = [parameter for name, parameter in reader.named_parameters() if not name.startswith("layers")]
    groups = [{"params": lower, "lr": 1.5e-3}, {"params": upper, "lr": 2e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    steps, step, started = epochs * (len(starts) // 2 // batch), 0, time.monotonic()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1.5e-3, 2e-3], total_steps=steps, pct_start=0.1)
    balance = class_weights(labels, 0.75)
    while step < steps:
        for chosen in _batches(starts, batch, rng):
            if step == steps:
                break
            frames, mask = padded([crop(starts[index], rng) for index in chosen])
            with torch.autocast("cpu", torch.bfloat16):
                scores = reader(frames, mask)
            losses = F.cross_entropy(scores.float(), labels[chosen], label_smoothing=0.1, reduction="none")
            (losses * balance[labels[chosen]]).mean().backward()
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
            step += 1
            if step % 50 == 0:
                print(
                    f"adapted step {step}/{steps} loss {losses.mean().item():.3f} {time.monotonic() - started:.0f} s",
                    flush=True,
                )
    return reader.eval()


def _batches(starts: list[np.ndarray], size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    half = rng.permutation(len(starts))[: len(starts) // 2]
    order = sorted(half.tolist(), key=lambda index: len(starts[index]) + rng.normal() * 20)
    groups = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
    rng.shuffle(groups)
    yield from groups


# --- results ----------------------------------------------------------------------------------------------------


def unweighted_average_recall(guesses: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([(guesses[labels == label] == label).mean() for label in np.unique(labels)]))


def interval(guesses: np.ndarray, labels: np.ndarray, draws: int = 1000) -> list[float]:
    """95 % by resampling clips. With few speakers the real uncertainty is wider."""
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        picked = rng.integers(0, len(labels), len(labels))
        found.append(unweighted_average_recall(guesses[picked], labels[picked]))
    return [round(float(value), 3) for value in np.percentile(found, [2.5, 97.5])]


@torch.inference_mode()
def scores_of(head: SpeechEmotionHead, items: list[Features]) -> tuple[Tensor, Tensor]:
    """Scores of both readers [B, C], clip by clip as a query is read."""
    linear = head.linear(torch.from_numpy(np.stack([item.statistics for item in items])))
    adapted = [head.adapted(*padded([item.start]))[0] for item in items]
    return linear, torch.stack(adapted)


def choose_temperature(head: SpeechEmotionHead, linear: Tensor, adapted: Tensor, labels: Tensor) -> None:
    """The one with the least cross entropy on dev (Guo et al. 2017)."""
    losses = {}
    for temperature in np.arange(0.4, 3.0, 0.05):
        head.temperature.fill_(float(temperature))
        losses[float(temperature)] = F.nll_loss(head.ensemble(linear, adapted).log(), labels).item()
    head.temperature.fill_(min(losses, key=losses.__getitem__))


def report(probabilities: Tensor, clips: list[Clip]) -> dict:
    guesses, labels = probabilities.argmax(1).numpy(), np.array([clip.label for clip in clips])
    sources = np.array([clip.source for clip in clips])
    found = {
        "clips": len(clips),
        "uar": round(unweighted_average_recall(guesses, labels), 4),
        "interval_95": interval(guesses, labels),
    }
    found["uar_by_corpus"] = {
        str(source): round(unweighted_average_recall(guesses[sources == source], labels[sources == source]), 4)
        for source in np.unique(sources)
    }
    found["mean_confidence"] = round(probabilities.max(1).values.mean().item(), 4)
    found["accuracy"] = round(float((guesses == labels).mean()), 4)
    found["confusion"] = {
        emotion.NAMES[label]: {
            emotion.NAMES[guess]: int(((labels == label) & (guesses == guess)).sum())
            for guess in range(len(emotion.NAMES))
        }
        for label in np.unique(labels)
    }
    return found


def leave_one_corpus_out(clips: list[Clip], features: list[list[Features]], shape: HeadConfig) -> dict:
    """The linear reader trained without a corpus, tried on all of that corpus: what strangers may expect."""
    found = {}
    for source in sorted({clip.source for clip in clips}):
        rows = [i for i, clip in enumerate(clips) if clip.split == "train" and clip.source != source]
        labels = torch.tensor([clips[i].label for i in rows] * (DISGUISES + 1))
        vectors = np.stack([features[k][i].statistics for k in range(DISGUISES + 1) for i in rows])
        reader = train_linear(shape, vectors, labels)
        strangers = [i for i, clip in enumerate(clips) if clip.source == source]
        with torch.inference_mode():
            scores = reader(torch.from_numpy(np.stack([features[0][i].statistics for i in strangers])))
        found[source] = round(
            unweighted_average_recall(scores.argmax(1).numpy(), np.array([clips[i].label for i in strangers])), 4
        )
        print(f"without {source}: UAR {found[source]:.3f}", flush=True)
    return found


def train(data: Path, out: Path, cache: Path, settings: RecognizerSettings, leave_out: bool = False) -> dict[str, Any]:
    clips, shape = read_manifest(data), HeadConfig()
    extractor = Extractor(cache, shape)
    features: list[list[Features]] = []
    for disguised in range(DISGUISES + 1):
        features.append(
            [extractor(clip, disguised) if clip.split == "train" or not disguised else None for clip in clips]
        )
        print(f"features, disguise {disguised}: {len(clips)} clips", flush=True)
    rows = [i for i, clip in enumerate(clips) if clip.split == "train"]
    labels = torch.tensor([clips[i].label for i in rows])
    head = SpeechEmotionHead(extractor.encoder, shape)
    vectors = np.stack([features[k][i].statistics for k in range(DISGUISES + 1) for i in rows])
    head.linear = train_linear(shape, vectors, labels.repeat(DISGUISES + 1))
    starts = [features[k][i].start for k in range(2) for i in rows]
    head.adapted = train_adapted(extractor.encoder, shape, starts, labels.repeat(2), settings.epochs)
    head.eval()
    log: dict = {"clips": {split: sum(clip.split == split for clip in clips) for split in ("train", "dev", "test")}}
    for split in ("dev", "test"):
        chosen = [i for i, clip in enumerate(clips) if clip.split == split]
        linear, adapted = scores_of(head, [features[0][i] for i in chosen])
        if split == "dev":
            choose_temperature(head, linear, adapted, torch.tensor([clips[i].label for i in chosen]))
        log[split] = report(head.ensemble(linear, adapted), [clips[i] for i in chosen])
        labels_here = np.array([clips[i].label for i in chosen])
        log[split]["uar_linear_alone"] = round(unweighted_average_recall(linear.argmax(1).numpy(), labels_here), 4)
    out.mkdir(parents=True, exist_ok=True)
    head.save(out / "speech_emotion.safetensors")
    if leave_out:
        log["leave_one_corpus_out"] = leave_one_corpus_out(clips, features, shape)
    (out / "speech_emotion.log.json").write_text(json.dumps(log, indent=1))
    return log


def evaluate(data: Path, head_file: Path, cache: Path) -> dict:
    """The report of a saved head on dev and test."""
    clips, extractor = read_manifest(data), Extractor(cache, HeadConfig())
    head, log = SpeechEmotionHead.load(head_file, extractor.encoder), {}
    for split in ("dev", "test"):
        chosen = [clip for clip in clips if clip.split == split]
        linear, adapted = scores_of(head, [extractor(clip, 0) for clip in chosen])
        log[split] = report(head.ensemble(linear, adapted), chosen)
    return log
