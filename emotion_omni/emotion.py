"""The eight emotions: names, order, place on the circumplex, colours, and how to answer each.

One table owns every fact about a label; other corpora's names map onto it here. Pure Python.
Valence and arousal follow the circumplex of Russell (1980), "A circumplex model of affect", with
values read off the norms of Warriner et al. (2013) and rounded: they order, they do not measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emotion_omni.types import Emotion, EmotionOmniError


@dataclass(frozen=True)
class Label:
    """A row of the table. ``answer`` is the emotion its reply is spoken with when the words report no news."""

    name: str
    valence: float
    arousal: float
    colour: str  # readable on light and dark backgrounds, and apart for the colour-blind (after Okabe & Ito)
    answer: str
    aliases: tuple[str, ...]


TABLE: tuple[Label, ...] = (
    Label("neutral", 0.0, -0.1, "#8a8f98", "neutral", ("neu", "none", "powerful", "no_emotion")),
    Label("happy", 0.8, 0.5, "#e69f00", "happy", ("happiness", "joy", "joyful", "hap", "excited", "amused")),
    Label("sad", -0.7, -0.5, "#0072b2", "calm", ("sadness", "grief", "crying", "depressed")),
    Label("angry", -0.7, 0.7, "#d55e00", "calm", ("anger", "ang", "mad", "furious", "frustrated")),
    Label("fearful", -0.7, 0.6, "#9a6bd0", "calm", ("fear", "fea", "scared", "afraid", "anxious", "nervous")),
    Label("disgusted", -0.6, 0.3, "#5b8c2a", "neutral", ("disgust", "dis", "contempt", "revulsion")),
    Label("surprised", 0.2, 0.7, "#cc79a7", "surprised", ("surprise", "sur", "astonished", "shocked", "ps")),
    Label("calm", 0.5, -0.6, "#009e9a", "calm", ("peaceful", "relaxed", "content", "serene")),
)
NAMES: tuple[str, ...] = tuple(label.name for label in TABLE)
_BY_NAME = {name: label for label in TABLE for name in (label.name, *label.aliases)}

CHANGE, SHORTEST_PART = 0.05, 2  # nats a window, and windows on each side, of a change of emotion
NEAR_PAUSE, PAUSE_FACTOR = 0.4, 1.5  # seconds from a pause to a change, and how much more such a change counts
HURTING = ("sad", "angry", "fearful", "disgusted")
NEWS = ("good", "bad", "neutral")  # what the words report: good news, something that hurts, neither


def find(name: str) -> Label:
    """The row of a label, by its own name or by another corpus's. Refuses anything else by name."""
    try:
        return _BY_NAME[name.strip().lower()]
    except (KeyError, AttributeError):
        raise EmotionOmniError(
            f"Unknown emotion {name!r}. Use one of: {', '.join(NAMES)}.", "unknown-emotion"
        ) from None


def is_known(name: object) -> bool:
    """Whether some label goes by this name."""
    return isinstance(name, str) and name.strip().lower() in _BY_NAME


def one_hot(name: str) -> Emotion:
    """All probability on this label, as when a person states it."""
    chosen = find(name)
    return mixture({label.name: float(label is chosen) for label in TABLE})


def mixture(weights: Mapping[str, float]) -> Emotion:
    """Non-negative weights → a distribution over all labels; valence and arousal are their expectation."""
    total = sum(weights.values())
    if not math.isfinite(total) or total <= 0 or min(weights.values()) < 0:
        raise ValueError(f"Weights must be non-negative and not all zero, not {dict(weights)}.")
    probabilities = {label.name: float(weights.get(label.name, 0.0) / total) for label in TABLE}
    valence = sum(label.valence * probabilities[label.name] for label in TABLE)
    arousal = sum(label.arousal * probabilities[label.name] for label in TABLE)
    return Emotion(probabilities, valence, arousal)


def distance(one: str, other: str) -> float:
    """How far apart two labels lie on the valence-arousal plane, from 0 to about 2."""
    a, b = find(one), find(other)
    return math.hypot(a.valence - b.valence, a.arousal - b.arousal)


def turning_point(trajectory: Sequence[tuple[float, Emotion]], pauses: Sequence[float] = ()) -> float | None:
    """When the emotion changes, in seconds; ``None`` where it does not.

    The split of the windows that tells two parts apart best: the largest generalized Jensen-Shannon divergence,
    n₁ KL(p₁‖p) + n₂ KL(p₂‖p), of the mean distributions p₁ before, p₂ after and p of all, at least :data:`CHANGE` nats
    a window. People change between phrases, so a split near one of ``pauses`` (their middles) is preferred.
    """
    rows = [[felt.probabilities[name] for name in NAMES] for _, felt in trajectory]
    whole, best, found = _mean(rows), CHANGE * len(rows), None
    for split in range(SHORTEST_PART, len(rows) - SHORTEST_PART + 1):
        before, after = _mean(rows[:split]), _mean(rows[split:])
        score = split * _divergence(before, whole) + (len(rows) - split) * _divergence(after, whole)
        at = (trajectory[split - 1][0] + trajectory[split][0]) / 2
        pause = min(pauses, key=lambda one: abs(one - at), default=math.inf)
        if abs(pause - at) <= NEAR_PAUSE:
            score, at = score * PAUSE_FACTOR, pause
        if score >= best:
            best, found = score, at
    return found


def labels_around(trajectory: Sequence[tuple[float, Emotion]], seconds: float) -> tuple[str, str]:
    """The likeliest label before this moment and after it, each of the mean over its windows."""
    before = [felt for at, felt in trajectory if at < seconds] or [trajectory[0][1]]
    after = [felt for at, felt in trajectory if at >= seconds] or [trajectory[-1][1]]
    return _likeliest(before), _likeliest(after)


def _likeliest(felt: Sequence[Emotion]) -> str:
    mean = _mean([[one.probabilities[name] for name in NAMES] for one in felt])
    return NAMES[mean.index(max(mean))]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _divergence(one: Sequence[float], other: Sequence[float]) -> float:
    """Kullback-Leibler divergence in nats."""
    return sum(p * math.log(p / q) for p, q in zip(one, other, strict=True) if p > 0)


def answer_with(heard: str, news: str) -> str:
    """The emotion to answer with: planned from what was heard and what it is about, never mirrored.

    Anger is met with calm concern, sadness with warmth, fear with reassurance, joy with joy. The words
    decide where the tone leaves it open: good news is not met flatly nor bad news cheerfully, whatever
    the tone.
    """
    label = find(heard)
    if news == "bad":
        return "calm"
    if news == "good" and label.name in ("neutral", "calm", "surprised", "happy"):
        return "happy"
    return label.answer
