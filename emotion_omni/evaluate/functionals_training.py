"""Train the second recognizer, the judge for evaluation only: see functionals_recognizer.py.

``python -m emotion_omni train functionals --data FOLDER FOLDER --out FOLDER``

The folders hold recordings and a ``manifest.csv``. Only :data:`CORPORA` are trained on: their authors state terms.
Clips are balanced as for ``train recognizer``. An emotion that a corpus does not have counts less against its clips:
else a noisy recording would be "calm" because one corpus is both. What was chosen, was chosen on dev, where one
temperature is fitted.

Axes: N clips, C functionals, E emotions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emotion_omni import audio, emotion, pitch_tracking, streams
from emotion_omni.evaluate import acoustic_functionals
from emotion_omni.evaluate.acoustic_functionals import HZ
from emotion_omni.evaluate.clip_features import ClipFeatures, Extracted, hash_of_code
from emotion_omni.evaluate.functionals_recognizer import (
    LARGEST,
    FunctionalsRecognizer,
    Shrinkage,
    for_speaker,
    log_softmax,
)
from emotion_omni.train.emotion_corpus import Clip
from emotion_omni.train.logistic_regression import maximize_likelihood
from emotion_omni.types import EmotionOmniError

CORPORA = ("RAVDESS", "EMO-DB", "nEMO", "IndianEmoSpeech")
DECAY = 0.05  # of |W|²/2 beside the mean loss; of 0.003, 0.01, 0.03, 0.05, 0.1 by recall on dev
ITERATIONS = 80  # of L-BFGS
HANDICAP = 1.5  # taken from the logits of emotions that the corpus does not have; of 0, 0.7, 1.5, 3, 100 by dev
TURNS = (1, 2, 3, 5, 5, 8, 10, 15, 20, 40, 1000)  # earlier turns that a training clip may come with
COPIES = 4  # of each training clip, with other earlier turns


def train(clips: Sequence[Clip], out: Path, cache: Path) -> dict[str, Any]:
    """Write ``functionals.safetensors`` and its log to ``out`` → the log. Raises :class:`EmotionOmniError`."""
    used = [clip for clip in clips if clip.source in CORPORA and clip.split in ("train", "dev")]
    chosen = {split: [i for i, clip in enumerate(used) if clip.split == split] for split in ("train", "dev")}
    if not chosen["train"] or not chosen["dev"]:
        raise EmotionOmniError(f"The manifests name no train and dev clips of {', '.join(CORPORA)}.", "no-data")
    raw = _functionals(used, cache)
    model = fit([used[i] for i in chosen["train"]], raw[chosen["train"]], tuple(raw_names()))
    dev = [used[i] for i in chosen["dev"]]
    model = calibrated(model, dev, raw[chosen["dev"]])
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "functionals.safetensors")
    counts = Counter(f"{clip.source} {clip.split}" for clip in used)
    log = {
        "clips": dict(sorted(counts.items())),
        "speakers": {s: len({used[i].speaker for i in chosen[s]}) for s in chosen},
        "functionals": len(model.names),
        "decay": DECAY,
        "temperature": round(model.temperature, 3),
    }
    (out / "functionals.log.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    return log


def raw_names() -> list[str]:
    return list(acoustic_functionals.acoustic_functionals(np.zeros(HZ, np.float32)))


def _functionals(clips: Sequence[Clip], cache: Path) -> np.ndarray:
    """[N, C], not standardized, cached."""
    files, rows = ClipFeatures(cache, features_identity()), []
    for index, clip in enumerate(clips):
        found = files.get(clip.path, extract).features
        assert found is not None  # extract refuses nothing: it raises
        rows.append(found)
        if index % 500 == 499:
            streams.note(f"functionals: {index + 1} of {len(clips)} clips")
    return np.stack(rows)


def features_identity() -> str:
    """Of the code that computes functionals."""
    modules = (acoustic_functionals, pitch_tracking, audio)
    return f"functionals {hash_of_code(*(Path(str(module.__file__)) for module in modules))}"


def extract(path: Path) -> Extracted:
    """A recording → its functionals as they are. Raises :class:`EmotionOmniError` of :func:`audio.decode`."""
    found = acoustic_functionals.acoustic_functionals(audio.resample(audio.decode(path), HZ).samples)
    return Extracted(np.array(list(found.values()), np.float32))


def fit(clips: Sequence[Clip], raw: np.ndarray, names: tuple[str, ...]) -> FunctionalsRecognizer:
    """Both classifiers from functionals [N, C], with temperature 1."""
    mean, std = raw.mean(0), raw.std(0) + 1e-6
    features = np.clip((raw - mean) / std, -LARGEST, LARGEST).astype(np.float32)
    labels = np.array([clip.label for clip in clips])
    sources = np.array([clip.source for clip in clips])
    rng, shrinkage = np.random.default_rng(0), Shrinkage()
    copies = [_with_earlier_turns(clips, features, shrinkage, rng) for _ in range(COPIES)]
    standardized = _classifier(np.concatenate(copies), np.tile(labels, COPIES), np.tile(sources, COPIES))
    plain = _classifier(features, labels, sources)
    return FunctionalsRecognizer(names, mean, std, plain, standardized, shrinkage=shrinkage)


def _with_earlier_turns(
    clips: Sequence[Clip], features: np.ndarray, shrinkage: Shrinkage, rng: np.random.Generator
) -> np.ndarray:
    """Each clip standardized by a random number of other clips of its speaker [N, C]."""
    of_speaker: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        of_speaker.setdefault(f"{clip.source} {clip.speaker}", []).append(index)
    found = np.empty_like(features)
    for index, clip in enumerate(clips):
        others = [other for other in of_speaker[f"{clip.source} {clip.speaker}"] if other != index]
        earlier = features[rng.choice(others, min(len(others), rng.choice(TURNS)), replace=False)] if others else []
        total = np.concatenate([np.sum(earlier, 0), np.sum(np.square(earlier), 0)]) if len(earlier) else np.zeros(0)
        found[index] = for_speaker(features[index], len(earlier), total, shrinkage)
    return found


def _classifier(inputs: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Inputs [N, C] → weights and bias [E, C + 1]."""
    model = torch.nn.Linear(inputs.shape[1], len(emotion.NAMES))
    x = torch.from_numpy(inputs.astype(np.float32))
    maximize_likelihood(model, x, labels, sources, decay=DECAY, iterations=ITERATIONS, handicap=HANDICAP)
    return torch.cat([model.weight, model.bias[:, None]], dim=1).detach().numpy()


def calibrated(model: FunctionalsRecognizer, clips: Sequence[Clip], raw: np.ndarray) -> FunctionalsRecognizer:
    """With the temperature of the lowest cross entropy on these clips, without earlier turns (Guo et al. 2017)."""
    features, labels = model.standardize(raw), np.array([clip.label for clip in clips])
    logits = model.logits(features, features, 0)
    losses = {
        float(one): -log_softmax(logits / one)[np.arange(len(labels)), labels].mean() for one in np.arange(0.4, 4, 0.05)
    }
    return replace(model, temperature=min(losses, key=losses.__getitem__))
