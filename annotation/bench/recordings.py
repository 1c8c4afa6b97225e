"""How well fingerprints tell recordings apart, on a corpus of real speech: misses in every disguise, false matches.

A folder has ``manifest.csv`` with the columns path, split, source, speaker and transcript. Nothing of it is stored.
"""

from __future__ import annotations

import csv
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import codecpod
import numpy as np
import soundfile
from scipy import signal

from annotation.study import fingerprint as fingerprints
from annotation.study.fingerprint import Fingerprint, FingerprintIndex, fingerprint
from emotion_omni import audio
from emotion_omni.types import Audio

Clip = Mapping[str, str]
PAIRS_A_GROUP = 40  # of takes of one sentence by one speaker
SAME_WAVEFORM = 0.9  # correlation; two takes of a sentence have about 0.2
NEAR = 0.15  # weighted share of differing bits, below which a false match is not far


def run(folders: Sequence[Path], split: str, originals: int = 300, seed: int = 0) -> dict[str, Any]:
    """``originals``: how many clips are disguised, drawn evenly from the corpora."""
    clips = [clip for folder in folders for clip in _clips(folder, split)]
    generator = random.Random(seed)
    began = time.perf_counter()
    stored = {clip["file"]: found for clip in clips if (found := fingerprint(_read(clip)))}
    seconds_each = (time.perf_counter() - began) / len(clips)
    return {
        "split": split,
        "clips": len(clips),
        "without_fingerprint": len(clips) - len(stored),
        "fingerprint_ms": round(1000 * seconds_each, 2),
        "threshold": fingerprints.SAME,
        "disguises": _disguised(_even(clips, originals, generator), stored, seed),
        "takes": _takes(clips, stored, generator),
        "lookup": _lookups(stored, generator),
    }


def _clips(folder: Path, split: str) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return [row | {"file": str(folder / row["path"])} for row in csv.DictReader(file) if row["split"] == split]


def _read(clip: Clip) -> Audio:
    samples, hz = soundfile.read(clip["file"], dtype="float32")
    return Audio(audio.to_mono(samples) if samples.ndim > 1 else samples, hz)


def _even(clips: Sequence[Clip], number: int, generator: random.Random) -> list[Clip]:
    """As many of each corpus."""
    corpora = defaultdict(list)
    for clip in clips:
        corpora[clip["source"]].append(clip)
    each = max(1, number // len(corpora))
    return [clip for _, of in sorted(corpora.items()) for clip in generator.sample(of, min(each, len(of)))]


# --- disguises --------------------------------------------------------------------------------------------------


def disguises(sound: Audio, generator: np.random.Generator) -> dict[str, Callable[[], Audio]]:
    samples, hz = sound.samples, sound.hz
    first, last = (round(hz * seconds) for seconds in generator.uniform(0, 1, 2))

    def cut(start: float, end: float) -> np.ndarray:
        return samples[int(start * len(samples)) : int(end * len(samples))]

    codecs: dict[str, Any] = {
        f"{name} {kbit} kbit/s": coder(bit_rate=1000 * kbit)
        for name, coder in (("Opus", codecpod.Opus), ("MP3", codecpod.Mp3), ("AAC", codecpod.Aac))
        for kbit in (24, 64)
    }
    found = {name: lambda codec=codec: coded(sound, codec) for name, codec in codecs.items()}
    found |= {f"{rate} Hz": lambda rate=rate: audio.resample(sound, rate) for rate in (8000, 16000, 44100, 48000)}
    return found | {
        "gain 0.9": lambda: Audio(np.round(samples * 0.9 * 32767) / np.float32(32767), hz),
        "gain 0.1": lambda: Audio(np.round(samples * 0.1 * 32767) / np.float32(32767), hz),
        "offset 0.05": lambda: Audio(samples + np.float32(0.05), hz),
        "silence up to 1 s at both ends": lambda: Audio(np.pad(samples, (first, last)), hz),
        "start cut by 20 %": lambda: Audio(cut(0.2, 1), hz),
        "end cut by 20 %": lambda: Audio(cut(0, 0.8), hz),
        "noise at 30 dB": lambda: noisy(sound, 30, generator),
        "noise at 20 dB": lambda: noisy(sound, 20, generator),
        "start cut by 10 %, noise at 25 dB, MP3 48 kbit/s": lambda: coded(
            noisy(Audio(cut(0.1, 1), hz), 25, generator), codecpod.Mp3(bit_rate=48000)
        ),
    }


def coded(sound: Audio, codec: Any) -> Audio:
    return audio.decode(codecpod.save_bytes(audio.resample(sound, 48_000).samples, 48_000, codec))


def noisy(sound: Audio, db: float, generator: np.random.Generator) -> Audio:
    """White noise, ``db`` below the mean level of the sound."""
    level = np.sqrt(np.mean(np.square(sound.samples))) * 10 ** (-db / 20)
    noise = level * generator.standard_normal(len(sound.samples))
    return Audio((sound.samples + noise).astype(np.float32), sound.hz)


def _disguised(clips: Sequence[Clip], stored: Mapping[str, Fingerprint], seed: int) -> dict[str, dict[str, Any]]:
    """For each disguise: of the clips with a fingerprint, how many are found in an index of all."""
    index = FingerprintIndex([found.stored for found in stored.values()])
    counts: dict[str, list[bool]] = defaultdict(list)
    for number, clip in enumerate(clip for clip in clips if clip["file"] in stored):
        for name, make in disguises(_read(clip), np.random.default_rng([seed, number])).items():
            changed = fingerprint(make())
            counts[name].append(changed is not None and index.holds(changed))
    return {name: {"found": sum(found), "of": len(found)} for name, found in counts.items()}


# --- takes ------------------------------------------------------------------------------------------------------


def _takes(clips: Sequence[Clip], stored: Mapping[str, Fingerprint], generator: random.Random) -> dict[str, Any]:
    """Two takes of one sentence by one speaker must not match. Every alignment is compared."""
    groups = defaultdict(list)
    for clip in clips:
        if clip["transcript"] and clip["file"] in stored:
            groups[clip["source"], clip["speaker"], clip["transcript"]].append(clip["file"])
    shares: dict[str, list[float]] = defaultdict(list)
    for (source, _, _), files in sorted(groups.items()):
        pairs = list(combinations(sorted(files), 2))
        for one, other in generator.sample(pairs, min(PAIRS_A_GROUP, len(pairs))):
            shares[source].append(least_difference(stored[one], stored[other]))
    return {
        source: {
            "pairs": len(found),
            "false": sum(share <= fingerprints.SAME for share in found),
            "near": sum(share <= NEAR for share in found),
            "least_difference": round(min(found), 3),
        }
        for source, found in shares.items()
    }


def least_difference(wanted: Fingerprint, other: Fingerprint) -> float:
    frames = fingerprints.decode(other.stored)
    starts = range(-len(frames) * fingerprints.STEPS_A_FRAME, len(wanted.changes))
    return min(fingerprints.difference(wanted, frames, start) for start in starts)


# --- lookups ----------------------------------------------------------------------------------------------------


def _lookups(stored: Mapping[str, Fingerprint], generator: random.Random) -> dict[str, Any]:
    """Half of all clips are looked up among the other half. What is found there must be a copy under another name."""
    files = sorted(stored)
    generator.shuffle(files)
    half = len(files) // 2
    index = FingerprintIndex([stored[file].stored for file in files[:half]])
    began = time.perf_counter()
    found = {file: files[owner] for file in files[half:] if (owner := index.find(stored[file])) is not None}
    each = (time.perf_counter() - began) / max(1, len(files) - half)
    shares = {file: correlation(file, other) for file, other in found.items()}
    copies = {Path(file).name: [Path(found[file]).name, share] for file, share in shares.items()}
    false = sum(share < SAME_WAVEFORM for share in shares.values())
    counts = {"stored": half, "looked_up": len(files) - half, "false": false, "ms_each": round(1000 * each, 2)}
    return counts | {"copies": copies}


def correlation(file: str, other: str) -> float:
    """The largest of the two waveforms, at any delay: above :data:`SAME_WAVEFORM` they are one recording."""
    one, two = (soundfile.read(name)[0].astype(np.float64) for name in (file, other))
    largest = np.max(np.abs(signal.correlate(one, two, method="fft")))
    return round(float(largest / np.sqrt(np.sum(one**2) * np.sum(two**2))), 3)
