"""Train the speech detector: is a fifth of a second of Whisper's hidden states speech?

``python -m emotion_omni train speech-detector --data FOLDER [FOLDER …] --out FOLDER``

The folders hold recordings and a ``manifest.csv`` as for ``train recognizer``; corpora whose licence does not allow
published weights are left out by name. Speech: blocks in which voice activity detection hears a voice in the clip as it
is; the detector reads them also whispered, at other pitches, quiet, in noise and cut to a word, where voice activity
detection misses it. Not speech: generated noises, tones and music, and the room before and after a voice.

Axes: N samples at 16 kHz, K blocks, D width.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from scipy.signal import butter, lfilter, sosfilt
from torch import Tensor

from emotion_omni import audio, weights
from emotion_omni.recognition.speech_detector import STATE, SpeechDetector, blocks
from emotion_omni.recognition.voice_activity import FRAME, HZ, VoiceActivity
from emotion_omni.recognition.whisper_encoder import WhisperEncoder, valid_frames
from emotion_omni.train.emotion_corpus import UNLICENSED, Clip, read_manifest
from emotion_omni.train.sounds import SOUNDS, make_sound

LONGEST_SECONDS = 6.0  # of a clip; the rest is not read
VOICE, ROOM = 0.5, 0.05  # probability of voice activity from which a block is speech, up to which it is the room
ROOM_SECONDS = 0.6  # shorter pieces of a room are left out
ROOM_WEIGHT = 4  # of a block of a room beside one of a generated sound: rooms are few
DECAY = 1e-3  # weight of |w|²/2 beside the mean loss; chosen on dev of 1e-3, 1e-2

Blocks = tuple[Tensor, float]  # [K, D], 1.0 for speech


def train(
    folders: Sequence[Path], out: Path, clips_of_a_corpus: int = 90, sounds_of_a_kind: int = 24
) -> dict[str, Any]:
    """Write ``speech_detector.safetensors`` and its log → the report."""
    torch.set_num_threads(1)
    examples = Examples(WhisperEncoder.load(weights.fetch("whisper-base/model.bin")))
    clips = [clip for folder in folders for clip in read_manifest(folder) if clip.source not in UNLICENSED]
    train_clips = _choose([clip for clip in clips if clip.split == "train"], clips_of_a_corpus)
    dev_clips = _choose([clip for clip in clips if clip.split == "dev"], clips_of_a_corpus // 3)
    dev = list(examples.of_clips(dev_clips))
    detector = fit([*examples.of_clips(train_clips), *examples.of_sounds(sounds_of_a_kind)])
    out.mkdir(parents=True, exist_ok=True)
    detector.save(out / "speech_detector.safetensors")
    report = {
        "clips": len(train_clips),
        "corpora": sorted({clip.source for clip in train_clips}),
        "sounds": sounds_of_a_kind * len(SOUNDS),
        "dev": _evaluate(detector, dev),
    }
    (out / "speech_detector.log.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _choose(clips: list[Clip], most: int) -> list[Clip]:
    """At most ``most`` of each corpus."""
    rng, found = random.Random(0), []
    for source in sorted({clip.source for clip in clips}):
        of_source = [clip for clip in clips if clip.source == source]
        found += rng.sample(of_source, min(most, len(of_source)))
    return found


class Examples:
    """Recordings and sounds → blocks of hidden states with what they are."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        self.encoder = encoder
        self.voice_activity = VoiceActivity(weights.fetch("silero/vad.onnx"))
        self.rng = np.random.default_rng(0)

    def of_sounds(self, count: int) -> Iterator[Blocks]:
        for make in SOUNDS:
            for _ in range(count):
                yield self._states(make_sound(make, self.rng)), 0.0

    def of_clips(self, clips: Sequence[Clip]) -> Iterator[Blocks]:
        """Each clip as it is, twice changed, and the longest piece of its room."""
        for index, clip in enumerate(clips):
            samples = audio.resample(audio.decode(clip.path), HZ).samples[: int(LONGEST_SECONDS * HZ)]
            voice = self.voice_activity.probabilities(samples * np.float32(0.5 / max(1e-6, np.abs(samples).max())))
            yield self._speech(samples, voice, 1.0), 1.0
            for change in (CHANGES[index % len(CHANGES)], CHANGES[(index + 2) % len(CHANGES)]):
                yield self._speech(*change(samples, voice, self.rng)), 1.0
            room = longest_room(samples, voice)
            if len(room) >= ROOM_SECONDS * HZ and np.mean(room == 0) < 0.2:
                yield from [(self._states(_leveled(room, self.rng)), 0.0)] * ROOM_WEIGHT

    def _speech(self, samples: np.ndarray, voice: np.ndarray, speed: float) -> Tensor:
        """The blocks in which somebody speaks; ``speed``: of ``samples`` beside those that ``voice`` [frames] is of."""
        states = self._states(_leveled(samples, self.rng))
        edges = np.linspace(0, len(samples) * speed / FRAME, len(states) + 1).astype(int).tolist()
        spoken = [voice[a : max(a + 1, b + 1)] for a, b in zip(edges, edges[1:], strict=False)]
        return states[torch.tensor([len(part) > 0 and bool(part.mean() > VOICE) for part in spoken])]

    def _states(self, samples: np.ndarray) -> Tensor:
        hidden_states = self.encoder.hidden_states(samples.astype(np.float32))
        return blocks(hidden_states[STATE, : valid_frames(len(samples))]).clone()


def _leveled(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return audio.set_level(samples - samples.mean(), audio.SPEECH_DBFS + rng.uniform(-4, 4))


def longest_room(samples: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """The longest piece of [N] without a voice, by ``voice`` [frames]; its edges, where a voice fades, left out."""
    best, start = (0, 0), 0
    for at, probability in enumerate([*voice, 1.0]):
        if probability >= ROOM:
            best = max(best, (start, at), key=lambda span: span[1] - span[0])
            start = at + 1
    first, last = best[0] * FRAME + HZ // 10, best[1] * FRAME - HZ // 4
    return samples[first : max(first, last)]


# --- speech that voice activity detection misses: (samples, voice, rng) → (samples, voice, speed) -----------------

Changed = tuple[np.ndarray, np.ndarray, float]


def _whispered(samples: np.ndarray, voice: np.ndarray, rng: np.random.Generator) -> Changed:
    return whisper(samples, rng), voice, 1.0


def _pitched(samples: np.ndarray, voice: np.ndarray, rng: np.random.Generator) -> Changed:
    speed = float(rng.choice([rng.uniform(0.65, 0.85), rng.uniform(1.25, 1.8)]))
    return soxr.resample(samples, HZ, int(HZ / speed)), voice, speed


def _word(samples: np.ndarray, voice: np.ndarray, rng: np.random.Generator) -> Changed:
    start = max(0, int(voice.argmax()) - 4)
    return samples[start * FRAME :][: int(rng.uniform(0.25, 0.5) * HZ)], voice[start:], 1.0


def _noisy(samples: np.ndarray, voice: np.ndarray, rng: np.random.Generator) -> Changed:
    noise = SOUNDS[rng.integers(5)](rng, len(samples))
    gain = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(2, 15) / 20)
    return samples + gain * noise, voice, 1.0


def _quiet(samples: np.ndarray, voice: np.ndarray, rng: np.random.Generator) -> Changed:
    """Near the recorder's own noise and its 16-bit steps."""
    peak = 10 ** (rng.uniform(-66, -50) / 20)
    quiet = samples / max(1e-6, np.abs(samples).max()) * peak + 2e-5 * rng.normal(size=len(samples))
    return np.round(quiet * 32767) / 32768, voice, 1.0


CHANGES = (_whispered, _pitched, _word, _noisy, _quiet, _pitched)


def whisper(samples: np.ndarray, rng: np.random.Generator, order: int = 18, size: int = 400) -> np.ndarray:
    """[N] → [N] without voice: the residual of linear prediction replaced by noise of the same energy."""
    window, found = np.hanning(size), np.zeros(len(samples))
    emphasized = lfilter([1, -0.97], [1], samples)
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    for at in range(0, len(samples) - size, size // 2):
        frame = emphasized[at : at + size] * window
        correlation = np.correlate(frame, frame, "full")[size - 1 : size + order]
        if correlation[0] < 1e-10:
            continue
        correlation[0] *= 1.0001  # so that it can be inverted
        predictor = np.linalg.solve(correlation[lags], correlation[1:])
        energy = max(1e-12, correlation[0] - predictor @ correlation[1:]) / size
        found[at : at + size] += lfilter([1], [1, *-predictor], rng.normal(0, np.sqrt(energy), size)) * window
    return sosfilt(butter(2, [150, 7500], "band", fs=HZ, output="sos"), found)


# --- the classifier ---------------------------------------------------------------------------------------------


def fit(examples: Sequence[Blocks]) -> SpeechDetector:
    """Regularized maximum likelihood by L-BFGS; both classes weigh the same."""
    x = torch.cat([states for states, _ in examples])
    y = torch.cat([torch.full((len(states),), label) for states, label in examples])
    mean, std = x.mean(0), x.std(0) + 1e-3
    z = (x - mean) / std
    weight, bias = torch.zeros(x.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    balance = torch.where(y == 1, (y == 0).sum() / (y == 1).sum(), 1.0)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(z @ weight + bias, y, weight=balance)
        loss = loss + DECAY * weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(step)
    scaled = (weight / std).detach()
    return SpeechDetector(scaled, float(bias.detach() - mean @ scaled))


def _evaluate(detector: SpeechDetector, examples: Sequence[Blocks]) -> dict[str, Any]:
    """Percentiles of the highest log odds of a clip."""
    found: dict[str, Any] = {}
    for name, label in (("speech", 1.0), ("room", 0.0)):
        highest = [
            float((states @ detector.weight + detector.bias).max())
            for states, one in examples
            if one == label and len(states)
        ]
        found[name] = {"clips": len(highest)} | {
            f"p{q}": round(float(np.percentile(highest, q)), 2) for q in (0, 1, 5, 50, 95, 100)
        }
    return found
