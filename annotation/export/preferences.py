"""Rows for preference training, in TRL's formats: DPO (explicit prompt), reward (implicit prompt) and KTO (unpaired).

Pairs come from comparisons of two answers, and from answers that raters rewrote. Unpaired rows come from
comparisons and from mean scores of empathy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scipy import stats

from annotation.export.fields import audio_path, delivery, generated_by, planned_emotion, rounded, situation
from annotation.export.training_items import (
    BAD_MEAN,
    GOOD_MEAN,
    TrainingItem,
    TrainingItems,
    assistant_message,
    history_messages,
    majority,
    user_message,
)
from annotation.store.tables import Row

MIDDLE = 3  # of the points of empathy, which speak for neither label
KTO_RATIO = Fraction(7, 6)  # the middle of the advised 1:1 to 4:3, desirable to undesirable (Ethayarajh et al. 2024)


@dataclass(frozen=True, eq=False)
class Pair:
    """The preferred and the other of two answers in words. A role of ``None``: written by a rater, so without sound."""

    item: TrainingItem
    source: str
    chosen: str
    rejected: str
    chosen_role: str | None
    rejected_role: str
    votes: float
    n: int
    chosen_emotion: str | None


# --- what votes say ----------------------------------------------------------------------------------------------


def margin(votes: float, n: int) -> float:
    """Log-odds of the posterior mean share of ``votes`` for the chosen answer among ``n``.

        log((votes + 1) / (n - votes + 1))

    Ties count half. Prior Beta(1, 1): one vote gives log 2, none gives 0.
    """
    return math.log((votes + 1) / (n - votes + 1))


def flip_rate(votes: float, n: int) -> float:
    """The probability that the label is reversed: that most people would choose the other answer.

    P(Beta(1 + votes, 1 + n - votes) < 1/2). With ``votes`` above n / 2 it is in (0, 0.5), the range of
    ``label_smoothing`` in robust DPO (Chowdhury et al. 2024).
    """
    return float(stats.beta.cdf(0.5, 1 + votes, 1 + n - votes))


def kto_weights(good: int, bad: int) -> dict[str, float] | None:
    """Loss weights so that weighted desirable to undesirable rows are between 1:1 and 4:3; only the rarer is raised.

    ``None`` where one of the two is missing: KTO needs both (Ethayarajh et al. 2024).
    """
    if not good or not bad:
        return None
    desirable = round(float(KTO_RATIO * bad / good), 4) if good < bad else 1.0
    undesirable = round(float(good / (KTO_RATIO * bad)), 4) if 3 * good > 4 * bad else 1.0
    return {"desirable_weight": desirable, "undesirable_weight": undesirable}


# --- pairs -------------------------------------------------------------------------------------------------------


def pairs(items: TrainingItems, one: TrainingItem) -> list[Pair]:
    if one.answers("preference") and not items.lacks_words(one, "a", "b"):
        return _compared(items, one)
    if one.answers("rewrite") and not items.lacks_words(one, "reply"):
        return _corrected(items, one)
    return []


def _compared(items: TrainingItems, one: TrainingItem) -> list[Pair]:
    """The answer with more than half of the votes above the other; ties count half."""
    given = Counter(one.answers("preference"))
    n = given.total()
    for_a = given["a"] + given["tie"] / 2
    if 2 * for_a == n:
        items.leave_out("tie", one)
        return []
    first, second = ("a", "b") if 2 * for_a > n else ("b", "a")
    votes, felt = max(for_a, n - for_a), planned_emotion(one.content, first)
    return [Pair(one, "comparison", one.words(first), one.words(second), first, second, votes, n, felt)]


def _corrected(items: TrainingItems, one: TrainingItem) -> list[Pair]:
    """Each rewritten answer above the original. A rater who changed it votes against it, one who left it for it."""
    original, rewrites = one.words("reply"), one.rewrites()
    n = sum(len(by) for by in rewrites.values())
    votes = n - len(rewrites.pop(original, ()))
    if 2 * votes <= n:
        items.leave_out("most-left-it-unchanged", one)
        return []
    found = []
    for text, by in sorted(rewrites.items()):
        felt = majority([row["answers"]["rewrite_emotion"] for row in by])
        found.append(Pair(one, "correction", text, original, None, "reply", votes, n, felt))
    return found


def dpo_row(items: TrainingItems, pair: Pair) -> Row:
    """As :func:`reward_row`, with the prompt apart from both answers."""
    row = reward_row(items, pair)
    return row | {"prompt": row["chosen"][:-1], "chosen": row["chosen"][-1:], "rejected": row["rejected"][-1:]}


def reward_row(items: TrainingItems, pair: Pair) -> Row:
    one, content = pair.item, pair.item.content
    prompt = [*history_messages(one), user_message(one)]
    row = situation(content) | {
        "chosen": [*prompt, assistant_message(pair.chosen)],
        "rejected": [*prompt, assistant_message(pair.rejected)],
        "source": pair.source,
        "margin": rounded(margin(pair.votes, pair.n)),
        "flip_rate": rounded(flip_rate(pair.votes, pair.n)),
        "vote_share": rounded(pair.votes / pair.n),
        "same_words": pair.chosen == pair.rejected,
        "chosen_emotion": pair.chosen_emotion,
        "rejected_emotion": planned_emotion(content, pair.rejected_role),
        "query_file_name": audio_path(content, "query"),
    }
    for side, role in (("chosen", pair.chosen_role), ("rejected", pair.rejected_role)):
        row |= {f"{side}_{name}": value for name, value in generated_by(content, role).items()}
        row[f"{side}_file_name"] = audio_path(content, role)
        row[f"{side}_delivery"] = delivery(content, role)
    return row | items.provenance(one, one.counted)


# --- single answers ----------------------------------------------------------------------------------------------


def compared_kto_rows(items: TrainingItems, pair: Pair) -> list[Row]:
    """Both answers of a comparison. With the same words, a text model would get both labels for one completion."""
    if pair.chosen_role is None:
        return []
    if pair.chosen == pair.rejected:
        items.leave_out("same-words", pair.item)
        return []
    return [
        _kto_row(items, pair, pair.chosen, True, pair.chosen_role),
        _kto_row(items, pair, pair.rejected, False, pair.rejected_role),
    ]


def scored_kto_rows(items: TrainingItems, one: TrainingItem) -> list[Row]:
    """A label from the mean empathy; scores between the thresholds give none."""
    score = one.mean("empathy")
    if score is None or items.lacks_words(one, "reply"):
        return []
    if BAD_MEAN < score < GOOD_MEAN:
        items.leave_out("middling-score", one)
        return []
    if score >= GOOD_MEAN and any(one.answers("safety")):
        items.leave_out("safety-flag", one)
        return []
    given, label = one.answers("empathy"), score >= GOOD_MEAN
    votes = sum((points > MIDDLE if label else points < MIDDLE) + (points == MIDDLE) / 2 for points in given)
    row = _single_row(items, one, one.words("reply"), label, "reply", votes, len(given))
    return [row | {"source": "score", "score": rounded(score)}]


def _kto_row(items: TrainingItems, pair: Pair, text: str, label: bool, role: str) -> Row:
    return _single_row(items, pair.item, text, label, role, pair.votes, pair.n) | {"source": "comparison"}


def _single_row(
    items: TrainingItems, one: TrainingItem, text: str, label: bool, role: str, votes: float, n: int
) -> Row:
    """``votes``: of ``n`` that speak for the label."""
    row = situation(one.content) | {
        "prompt": [*history_messages(one), user_message(one)],
        "completion": [assistant_message(text)],
        "label": label,
        "score": None,
        "margin": rounded(margin(votes, n)),
        "flip_rate": rounded(flip_rate(votes, n)),
        "reply_emotion": planned_emotion(one.content, role),
        "query_file_name": audio_path(one.content, "query"),
        "completion_file_name": audio_path(one.content, role),
    }
    return row | generated_by(one.content, role) | items.provenance(one, one.counted)


def mean_flip_rate(rows: Sequence[Row]) -> float | None:
    """For ``label_smoothing`` in robust DPO; ``None`` without rows."""
    return rounded(sum(row["flip_rate"] for row in rows) / len(rows)) if rows else None
