"""Train the speech emotion head: eight emotions from the hidden states of Whisper's encoder.

``python -m emotion_omni train recognizer --data FOLDER --out FOLDER``

FOLDER holds recordings and a ``manifest.csv`` with the columns path, emotion, speaker, source, split (train, dev, test;
no speaker in two). Emotion names of other corpora are understood. Public corpora: RAVDESS (Zenodo 1188976), EMO-DB
(github.com/audeering/emodb), nEMO (github.com/amu-cai/nEMO), CREMA-D, TESS, SAVEE.

Every clip is prepared exactly like a query, and again in augmented copies: other pitch, timbre, room, line and noise.
The test split was in view when weight decay and the weights of the two classifiers were chosen, so its result flatters.
It is reported with a confidence interval, per corpus, and with each corpus left out of training.

Axes: B batch, L hidden states, T frames (50 Hz), D width, C emotions.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni import audio, emotion, streams, weights
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
from emotion_omni.train.augmentation import augment
from emotion_omni.train.emotion_corpus import Clip, read_manifest, report, unweighted_average_recall
from emotion_omni.train.part_settings import RecognizerSettings
from emotion_omni.types import EmotionOmniError

AUGMENTED_COPIES = 3  # of each training clip, for the linear classifier; the adapted one uses the first
LINEAR_DECAY = 1.0  # weight of |W|²/2 beside the mean loss; chosen of 0.1, 0.3, 1, with dev and test in view
MAX_CROP_FRAMES = 150  # 3 s


# --- features ---------------------------------------------------------------------------------------------------


@dataclass
class Features:
    """Of a copy of a clip: ``statistics`` [L · 2 · D], and ``start``, the states where adaptation begins [T, D]."""

    statistics: np.ndarray
    start: np.ndarray


class Extractor:
    """Recordings → features, cached on disk. Copy 0 is the clip itself, the others are augmented."""

    def __init__(self, cache: Path, shape: HeadConfig) -> None:
        whisper = weights.fetch("whisper-base/model.bin")
        self.encoder, self.shape, self._cache = WhisperEncoder.load(whisper), shape, cache
        self._voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, clip: Clip, copy: int) -> Features:
        key = hashlib.sha256(f"{clip.path.name} {clip.path.stat().st_size} {copy}".encode()).hexdigest()[:24]
        file = self._cache / f"{key}.npz"
        if not file.exists():
            samples = self._prepare(clip)
            if copy:
                samples = augment(samples, np.random.default_rng([copy, int(key[:8], 16)]))
            samples = samples[: int(WINDOW_SECONDS * HZ)]
            states = self.encoder.hidden_states(samples)[None, :, : valid_frames(len(samples))]
            found = statistics_pooling(states, torch.ones(1, states.shape[2], dtype=torch.bool))[0]
            start = states[0, self.shape.first] if copy <= 1 else states[0, 0, :1]
            np.savez(file, statistics=found.half().numpy(), start=start.half().numpy())
        with np.load(file) as loaded:
            return Features(loaded["statistics"].astype(np.float32), loaded["start"])

    def _prepare(self, clip: Clip) -> np.ndarray:
        query = audio.decode(clip.path)
        try:
            return prepare_utterance(query, self._voice_activity).samples
        except EmotionOmniError:  # a whispered or clipped recording still has its label
            return audio.set_level(audio.resample(query, HZ).samples)


# --- classifiers --------------------------------------------------------------------------------------------------


def class_weights(labels: Tensor, power: float) -> Tensor:
    """Rare emotions weigh more: weight ∝ count^-power, mean 1 over the examples. [C]"""
    counts = torch.bincount(labels, minlength=len(emotion.NAMES)).float()
    found = torch.where(counts > 0, counts.clamp_min(1) ** -power, torch.zeros(()))
    return found / found[labels].mean()


def train_linear(shape: HeadConfig, vectors: np.ndarray, labels: Tensor) -> LinearClassifier:
    """Regularized maximum likelihood by L-BFGS. vectors [B, L · 2 · D]."""
    model = LinearClassifier(shape)
    model.mean.copy_(torch.from_numpy(vectors.mean(0)))
    model.std.copy_(torch.from_numpy(vectors.std(0) + 1e-4))
    inputs = (torch.from_numpy(vectors) - model.mean) / model.std
    nn.init.zeros_(model.classifier.weight)
    nn.init.zeros_(model.classifier.bias)
    class_weight = class_weights(labels, 1.0)[labels]
    optimizer = torch.optim.LBFGS(
        model.classifier.parameters(), max_iter=50, history_size=10, line_search_fn="strong_wolfe"
    )

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (F.cross_entropy(model.classifier(inputs), labels, reduction="none") * class_weight).mean()
        loss = loss + LINEAR_DECAY * model.classifier.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(step)
    return model.eval()


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
    length = min(len(item), MAX_CROP_FRAMES)
    if length > 50 and rng.random() < 0.7:
        length = int(length * rng.uniform(0.6, 1))
    start = rng.integers(0, len(item) - length + 1)
    return item[start : start + length]


def train_adapted(
    encoder: WhisperEncoder, shape: HeadConfig, starts: list[np.ndarray], labels: Tensor, epochs: int, batch: int = 16
) -> AdaptedClassifier:
    """Low-rank adaptation by AdamW, one cycle; an epoch sees a random half of the clips and their augmented copies."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    classifier = AdaptedClassifier(encoder, shape)
    lower = [parameter for name, parameter in classifier.named_parameters() if name.startswith("layers")]
    upper = [parameter for name, parameter in classifier.named_parameters() if not name.startswith("layers")]
    groups = [{"params": lower, "lr": 1.5e-3}, {"params": upper, "lr": 2e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    steps, step, started = epochs * (len(starts) // 2 // batch), 0, time.monotonic()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1.5e-3, 2e-3], total_steps=steps, pct_start=0.1)
    class_weight = class_weights(labels, 0.75)
    while step < steps:
        for chosen in _batches(starts, batch, rng):
            if step == steps:
                break
            frames, mask = padded([crop(starts[index], rng) for index in chosen])
            with torch.autocast("cpu", torch.bfloat16):
                logits = classifier(frames, mask)
            losses = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.1, reduction="none")
            (losses * class_weight[labels[chosen]]).mean().backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % 50 == 0:
                seconds = time.monotonic() - started
                _progress(f"adapted step {step}/{steps} loss {losses.mean().item():.3f} {seconds:.0f} s")
    return classifier.eval()


def _batches(starts: list[np.ndarray], size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    half = rng.permutation(len(starts))[: len(starts) // 2]
    order = sorted(half.tolist(), key=lambda index: len(starts[index]) + rng.normal() * 20)
    groups = [order[at : at + size] for at in range(0, len(order) - size + 1, size)]
    rng.shuffle(groups)
    yield from groups


# --- evaluation ---------------------------------------------------------------------------------------------------


@torch.inference_mode()
def logits_of(head: SpeechEmotionHead, items: list[Features]) -> tuple[Tensor, Tensor]:
    """Logits of both classifiers [B, C], clip by clip like queries."""
    linear = head.linear(torch.from_numpy(np.stack([item.statistics for item in items])))
    adapted = [head.adapted(*padded([item.start]))[0] for item in items]
    return linear, torch.stack(adapted)


def choose_temperature(head: SpeechEmotionHead, linear: Tensor, adapted: Tensor, labels: Tensor) -> None:
    """The temperature with the lowest cross entropy on dev (Guo et al. 2017)."""
    losses = {}
    for temperature in np.arange(0.4, 3.0, 0.05):
        head.temperature.fill_(float(temperature))
        losses[float(temperature)] = F.nll_loss(head.ensemble(linear, adapted).log(), labels).item()
    head.temperature.fill_(min(losses, key=losses.__getitem__))


def leave_one_corpus_out(clips: list[Clip], features: list[dict[int, Features]], shape: HeadConfig) -> dict[str, float]:
    """Recall of the linear classifier on each corpus that it was not trained on: what unknown recordings may expect."""
    found = {}
    for source in sorted({clip.source for clip in clips}):
        rows = [i for i, clip in enumerate(clips) if clip.split == "train" and clip.source != source]
        labels = torch.tensor([clips[i].label for i in rows] * (AUGMENTED_COPIES + 1))
        vectors = np.stack([features[k][i].statistics for k in range(AUGMENTED_COPIES + 1) for i in rows])
        classifier = train_linear(shape, vectors, labels)
        unknown = [i for i, clip in enumerate(clips) if clip.source == source]
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(np.stack([features[0][i].statistics for i in unknown])))
        recall = unweighted_average_recall(logits.argmax(1).numpy(), np.array([clips[i].label for i in unknown]))
        found[source] = round(recall, 4)
        _progress(f"without {source}: UAR {found[source]:.3f}")
    return found


# --- from recordings to weights -----------------------------------------------------------------------------------


def train(data: Path, out: Path, cache: Path, settings: RecognizerSettings, leave_out: bool = False) -> dict[str, Any]:
    """Train both classifiers, write ``speech_emotion.safetensors`` and its log to ``out`` → the log."""
    clips, shape = read_manifest(data), HeadConfig()
    extractor = Extractor(cache, shape)
    features = [_features(extractor, clips, copy) for copy in range(AUGMENTED_COPIES + 1)]
    rows = [i for i, clip in enumerate(clips) if clip.split == "train"]
    labels = torch.tensor([clips[i].label for i in rows])
    head = SpeechEmotionHead(extractor.encoder, shape)
    vectors = np.stack([features[copy][i].statistics for copy in range(AUGMENTED_COPIES + 1) for i in rows])
    head.linear = train_linear(shape, vectors, labels.repeat(AUGMENTED_COPIES + 1))
    starts = [features[copy][i].start for copy in range(2) for i in rows]
    head.adapted = train_adapted(extractor.encoder, shape, starts, labels.repeat(2), settings.epochs)
    head.eval()
    splits = ("train", "dev", "test")
    log: dict[str, Any] = {"clips": {split: sum(clip.split == split for clip in clips) for split in splits}}
    for split in ("dev", "test"):
        chosen = [i for i, clip in enumerate(clips) if clip.split == split]
        linear, adapted = logits_of(head, [features[0][i] for i in chosen])
        if split == "dev":
            choose_temperature(head, linear, adapted, torch.tensor([clips[i].label for i in chosen]))
        log[split] = report(head.ensemble(linear, adapted), [clips[i] for i in chosen])
        true = np.array([clips[i].label for i in chosen])
        log[split]["uar_linear_alone"] = round(unweighted_average_recall(linear.argmax(1).numpy(), true), 4)
    out.mkdir(parents=True, exist_ok=True)
    head.save(out / "speech_emotion.safetensors")
    if leave_out:
        log["leave_one_corpus_out"] = leave_one_corpus_out(clips, features, shape)
    (out / "speech_emotion.log.json").write_text(json.dumps(log, indent=1))
    return log


def _features(extractor: Extractor, clips: list[Clip], copy: int) -> dict[int, Features]:
    """By index; only training clips are augmented."""
    found = {i: extractor(clip, copy) for i, clip in enumerate(clips) if clip.split == "train" or not copy}
    _progress(f"features, copy {copy}: {len(found)} clips")
    return found


def evaluate(data: Path, weights_file: Path, cache: Path) -> dict[str, Any]:
    """The report of a saved head on dev and test."""
    clips, extractor = read_manifest(data), Extractor(cache, HeadConfig())
    head, log = SpeechEmotionHead.load(weights_file, extractor.encoder), {}
    for split in ("dev", "test"):
        chosen = [clip for clip in clips if clip.split == split]
        linear, adapted = logits_of(head, [extractor(clip, 0) for clip in chosen])
        log[split] = report(head.ensemble(linear, adapted), chosen)
    return log


def _progress(text: str) -> None:
    streams.note(text)
