"""Search what each emotion does to Kokoro's prosody: sample, fit a surface, climb it, sample around the top, again.

``python -m emotion_omni train prosody --data FOLDER:FOLDER --out FOLDER``

A *manner* is a point in the space of :class:`Prosody` (:mod:`emotion_omni.train.prosody_manners`). Random manners are
spoken with neutral words by several voices. A ridge regression of second order predicts from a manner how the hidden
states of Whisper's encoder change, how natural the clip is and how like the voice stays. On this surface one manner an
emotion is found by gradient: those that the judges name rightly against each other, natural, one voice, and close to
neutral. The next round samples around them. Last, manners from tops of several heights are spoken with other
sentences, and the best of each emotion is kept. Samples are kept as they come, and a second call goes on.

Axes: N samples, P parameters, Q terms of second order, F features, E emotions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from emotion_omni import audio, emotion, streams
from emotion_omni.evaluate.speaker_similarity import SpeakerEmbedder, similarity
from emotion_omni.evaluate.speech_quality import SpeechQuality
from emotion_omni.recognition.speech_emotion import SHIPPED, SpeechEmotionHead, load_head, mean_states
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, spoken_frames
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.synthesis.prosody import Prosody
from emotion_omni.train.part_settings import ProsodySettings
from emotion_omni.train.prosody_judges import Judges, fit_judges
from emotion_omni.train.prosody_manners import (
    COMPONENTS,
    COST_OF_DIRECTION,
    HIGH,
    IS_DIRECTION,
    LOW,
    PARAMETERS,
    directions,
    prosody_of,
)
from emotion_omni.train.recognizer import load_corpus

DATA = "samples"
EMOTIONS = len(emotion.NAMES)
TERMS_OF_PAIRS = 9  # parameters whose products are terms, too
SENTENCES = (  # words that say nothing of an emotion; none that the evaluation speaks
    "The keys are on the kitchen table.",
    "I will call you back after lunch.",
    "They moved the meeting to Monday.",
    "There is a letter for you downstairs.",
    "We took the same road as last year.",
    "She said it was in the other room.",
    "He is coming over on Sunday.",
    "It was about half past eight.",
    "You can put it next to the window.",
    "That was the last one in the box.",
    "I told them what you said.",
    "The bus stops right over there.",
)
OTHER_SENTENCES = ("They parked the car behind the house.", "The class begins at a quarter to nine.")
HEIGHTS = 0.5, 1.0, 2.0  # factors of the restraint
VOICES = ("af_heart", "af_kore", "am_echo", "am_liam", "af_river", "am_eric", "af_alloy", "am_fenrir")


# --- samples ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Samples:
    """``manners`` [N, P]; ``changes`` [N, F] of the features beside the neutral clip; ``quality`` [N] likewise,
    ``alike`` [N] to it; ``is_female`` [N]; ``neutral`` [2, F]: of men and of women."""

    manners: np.ndarray
    changes: np.ndarray
    quality: np.ndarray
    alike: np.ndarray
    is_female: np.ndarray
    neutral: np.ndarray


class Sampler:
    """Speaks a manner and measures the clip."""

    def __init__(self) -> None:
        self._synthesizer = KokoroSynthesizer.load()
        self._synthesizer.directions = directions()
        self._recognizer = WhisperCT2Recognizer.load()
        self._quality, self._embedder = SpeechQuality.load(), SpeakerEmbedder.load()
        self._neutral: dict[tuple[str, str], tuple[np.ndarray, float, np.ndarray]] = {}

    def sample(self, manner: np.ndarray, voice: str, sentence: str) -> dict[str, Any]:
        if (voice, sentence) not in self._neutral:
            self._neutral[voice, sentence] = self._measure(Prosody(), voice, sentence)
        neutral = self._neutral[voice, sentence]
        features, quality, voice_print = self._measure(prosody_of(manner), voice, sentence)
        return {
            "manner": manner,
            "change": features - neutral[0],
            "neutral": neutral[0],
            "quality": quality - neutral[1],
            "alike": similarity(voice_print, neutral[2]),
            "is_female": voice[1] == "f",
        }

    def _measure(self, manner: Prosody, voice: str, sentence: str) -> tuple[np.ndarray, float, np.ndarray]:
        """→ features [F], opinion score, speaker embedding."""
        clip = audio.join(list(self._synthesizer.speak_in(sentence, voice, manner)))
        encoded = self._recognizer.encode(self._recognizer.prepare(clip))
        features = mean_states(*spoken_frames(encoded.windows, encoded.utterance)).numpy()
        return features, self._quality.score(clip), self._embedder.embed(clip)


def draw(around: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """A random manner [P]: anywhere, or near that of a random emotion, weaker or stronger."""
    used = rng.random(len(PARAMETERS)) < 0.6
    if around is None:
        return rng.normal(0, 0.85, len(PARAMETERS)) * used
    return around[rng.integers(EMOTIONS)] * rng.uniform(0.6, 1.5) + rng.normal(0, 0.5, len(PARAMETERS)) * used


def collect(folder: Path, round_: int, count: int, around: np.ndarray | None, seed: int) -> None:
    """Speak and measure so many manners; those of an earlier call count."""
    folder.mkdir(parents=True, exist_ok=True)
    sampler = None
    for number in range(count):
        file = folder / f"{round_}-{number:05}.npz"
        if file.exists():
            continue
        sampler = sampler or Sampler()
        rng = np.random.default_rng([seed, round_, number])
        manner, voice, sentence = draw(around, rng), rng.choice(VOICES), rng.choice(SENTENCES)
        part = file.with_suffix(".part.npz")
        np.savez(part, **sampler.sample(manner, str(voice), str(sentence)))
        part.rename(file)
        if number % 25 == 24:
            streams.note(f"round {round_}: {number + 1} of {count} clips")


def read_samples(folder: Path) -> Samples:
    rows = [np.load(file) for file in sorted(folder.glob("*.npz")) if ".part" not in file.name]
    columns = {
        name: np.stack([row[name] for row in rows]) for name in ("manner", "change", "quality", "alike", "is_female")
    }
    neutral = np.stack([row["neutral"] for row in rows])
    of_sexes = np.stack([neutral[columns["is_female"] == is_female].mean(0) for is_female in (False, True)])
    manners = np.clip(columns["manner"], LOW, HIGH)
    return Samples(manners, columns["change"], columns["quality"], columns["alike"], columns["is_female"], of_sexes)


# --- surface ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Surface:
    """Terms of second order → features [Q, F], quality [Q], likeness less 1 [Q]."""

    features: Tensor
    quality: Tensor
    alike: Tensor


def terms(manners: Tensor, is_female: Tensor) -> Tensor:
    """[N, P], [N] → [N, Q]: all parameters and their squares, products of the first, and those of the sex.

    No constant: where nothing is changed, nothing is heard.
    """
    first, second = torch.triu_indices(TERMS_OF_PAIRS, TERMS_OF_PAIRS, 1)
    of_sex = manners[:, : 2 * TERMS_OF_PAIRS] * (is_female.float()[:, None] - 0.5)
    return torch.cat([manners, manners**2, manners[:, first] * manners[:, second], of_sex], 1)


def fit_surface(samples: Samples, decay: float) -> Surface:
    x = terms(torch.from_numpy(samples.manners).float(), torch.from_numpy(samples.is_female)).double()
    penalty = decay * torch.eye(x.shape[1], dtype=torch.float64)
    targets = np.concatenate([samples.changes, samples.quality[:, None], samples.alike[:, None] - 1], 1)
    found = torch.linalg.solve(x.T @ x + penalty, x.T @ torch.from_numpy(targets).double()).float()
    return Surface(found[:, :-2], found[:, -2], found[:, -1])


def climb(surface: Surface, judges: Judges, neutral: np.ndarray, settings: ProsodySettings) -> np.ndarray:
    """The manners of all emotions that are heard best against each other, from the best of some starts [E, P]."""
    found = [_climb(surface, judges, torch.from_numpy(neutral).float(), settings, seed) for seed in range(3)]
    return min(found, key=lambda result: result[1])[0]


def _climb(
    surface: Surface, judges: Judges, neutral: Tensor, settings: ProsodySettings, seed: int
) -> tuple[np.ndarray, float]:
    start = 0.3 * torch.randn(EMOTIONS, len(PARAMETERS), generator=torch.Generator().manual_seed(seed))
    free = start.requires_grad_(True)
    optimizer = torch.optim.Adam([free], 0.03)
    loss = torch.zeros(())
    for _ in range(settings.steps):
        manners = _bounded(free)
        loss = settings.restraint * 2 * _effort(manners)
        for sex in (0, 1):
            loss = loss + _fault(surface, judges, manners, neutral[sex], sex, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _bounded(free).detach().numpy(), loss.item()


def _bounded(manners: Tensor) -> Tensor:
    """Within the bounds; neutral keeps the style of its voice."""
    low, high = torch.from_numpy(LOW).float(), torch.from_numpy(HIGH).float()
    is_moved = torch.ones_like(manners)
    is_moved[0, IS_DIRECTION] = 0
    return torch.maximum(torch.minimum(manners, high), low) * is_moved


def _effort(manners: Tensor) -> Tensor:
    """How far from the voice as it is. Neutral should be nearest, and a moved style sounds less natural."""
    squares = manners.square() * torch.where(IS_DIRECTION, COST_OF_DIRECTION, 1.0)
    return squares.sum() + 2 * squares[0].sum()


def _fault(
    surface: Surface, judges: Judges, manners: Tensor, neutral: Tensor, sex: int, settings: ProsodySettings
) -> Tensor:
    """What is misheard, unnatural or like another voice, of one sex."""
    x = terms(manners, torch.full((EMOTIONS,), sex))
    misheard = -judges.log_likelihoods(x @ surface.features, neutral, settings.own_mixture).sum()
    unlike = (settings.least_alike - 1 - x @ surface.alike).relu().sum()
    unnatural = (-settings.most_loss - x @ surface.quality).relu().sum()
    return misheard + 8 * unlike + 4 * unnatural


# --- the best of several ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spoken:
    """Candidates of all emotions as they were heard: ``changes`` [V, E, K, S, F] of V voices, K candidates and S
    sentences, ``neutral`` [V, S, F]; means of ``quality`` and ``alike`` over the clips [E, K]."""

    changes: Tensor
    neutral: Tensor
    quality: np.ndarray
    alike: np.ndarray


def choose(sampler: Sampler, tops: np.ndarray, judges: Judges, settings: ProsodySettings) -> np.ndarray:
    """Tops [T, E, P] → of each emotion the manner that is heard best beside the others, if it sounds well [E, P].

    Candidates are the tops and their means in pairs.
    """
    pairs = [(tops[one] + tops[other]) / 2 for one in range(len(tops)) for other in range(one)]
    candidates = np.concatenate([tops, pairs]).transpose(1, 0, 2)
    spoken = speak_candidates(sampler, candidates)
    good = (spoken.quality >= -settings.most_loss) & (spoken.alike >= settings.least_alike)
    allowed = [
        np.flatnonzero(row) if row.any() else [int(spoken.quality[label].argmax())] for label, row in enumerate(good)
    ]
    chosen = [int(row[0]) for row in allowed]
    for _ in range(len(HEIGHTS)):  # until nothing changes, as a rule
        for label, row in enumerate(allowed):
            found = {int(one): _heard(spoken, judges, [*chosen[:label], int(one), *chosen[label + 1 :]]) for one in row}
            chosen[label] = max(found, key=found.__getitem__)
    return np.stack([candidates[label, one] for label, one in enumerate(chosen)])


def speak_candidates(sampler: Sampler, candidates: np.ndarray) -> Spoken:
    """Candidates [E, K, P], each spoken by every voice with every sentence of :data:`OTHER_SENTENCES`."""
    voices = VOICES[:4]
    rows = [
        [[[sampler.sample(manner, voice, text) for text in OTHER_SENTENCES] for manner in row] for row in candidates]
        for voice in voices
    ]

    def column(name: str) -> np.ndarray:
        return np.array([[[[clip[name] for clip in one] for one in row] for row in label] for label in rows])

    changes, neutral = torch.from_numpy(column("change")).float(), torch.from_numpy(column("neutral")).float()
    return Spoken(changes, neutral[:, 0, 0], column("quality").mean((0, 3)), column("alike").mean((0, 3)))


def _heard(spoken: Spoken, judges: Judges, chosen: Sequence[int]) -> float:
    """How well one candidate of each emotion is heard beside the others, each voice against its own mixture."""
    own = torch.stack([spoken.changes[:, label, one] for label, one in enumerate(chosen)], 1)  # [V, E, S, F]
    total = 0.0
    for changes, neutral in zip(own, spoken.neutral, strict=True):
        for text in range(changes.shape[1]):
            total += judges.log_likelihoods(changes[:, text], neutral[text], 1.0).sum().item()
    return total


# --- from corpora to settings -------------------------------------------------------------------------------------


def train(data: Sequence[Path], out: Path, cache: Path, settings: ProsodySettings) -> dict[str, Any]:
    """Search, and write ``prosody.json``, ``kokoro_directions.safetensors`` and ``prosody.log.json`` to ``out``."""
    started = time.monotonic()
    corpus, _ = load_corpus(data, cache)
    head = load_head(SHIPPED, None)  # type: ignore[arg-type]  # no old head, so no encoder
    assert isinstance(head, SpeechEmotionHead)
    judges = fit_judges(corpus, head)
    manners = None
    for round_ in range(settings.rounds):
        collect(out / DATA, round_, settings.samples, manners, settings.seed)
        samples = read_samples(out / DATA)
        surface = fit_surface(samples, settings.decay)
        manners = climb(surface, judges, samples.neutral, settings)
        write(manners, out)
    heights = [replace(settings, restraint=factor * settings.restraint) for factor in HEIGHTS]
    tops = [climb(surface, judges, samples.neutral, height) for height in heights]
    write(choose(Sampler(), np.stack(tops), judges, settings), out)
    log = {"settings": asdict(settings), "clips": len(samples.manners), "minutes": (time.monotonic() - started) / 60}
    (out / "prosody.log.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    return log


def write(manners: np.ndarray, out: Path) -> None:
    """Settings of each label, with three digits, and the directions that they name."""
    rows = {label: _row(prosody_of(manner)) for label, manner in zip(emotion.NAMES, manners, strict=True)}
    used = {name for row in rows.values() for half in COMPONENTS for name in row.get(half, {})}
    chosen = {name: value for name, value in sorted(directions().items()) if name in used}
    out.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(chosen, out / "kokoro_directions.safetensors")
    text = json.dumps({"version": 1, "emotions": rows}, indent=1) + "\n"
    (out / "prosody.json").write_text(text, encoding="utf-8")


def _row(settings: Prosody) -> dict[str, Any]:
    """What differs from a voice as it is."""
    row: dict[str, Any] = {}
    for name, value in asdict(settings).items():
        if isinstance(value, Mapping):
            value = {direction: round(share, 3) for direction, share in value.items() if abs(share) >= 0.01}
        else:
            value = round(value, 3)
        if value and value != getattr(Prosody(), name):
            row[name] = value
    return row
