"""Rows for supervised training: conversations (SFT) and emotion labels; and all training tables of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from annotation.analysis.soft_labels import rater_reliability, soft_labels
from annotation.export import preferences
from annotation.export.fields import (
    audio_path,
    audio_sha256,
    delivery,
    generated_by,
    planned_emotion,
    rounded,
    situation,
)
from annotation.export.labels import ANCHORED, UNANCHORED, label_kind
from annotation.export.training_items import (
    APPROVING_RATERS,
    GOOD_MEAN,
    TrainingItem,
    TrainingItems,
    assistant_message,
    history_messages,
    majority,
    user_message,
)
from annotation.store.tables import Row
from annotation.study.lock_tags import speaker_of
from emotion_omni import emotion


def training_tables(items: TrainingItems) -> dict[str, list[Row]]:
    """Table → rows; tables without rows are left out."""
    pairs = [pair for one in items.items for pair in preferences.pairs(items, one)]
    kto = [row for one in items.items for row in preferences.scored_kto_rows(items, one)]
    kto += [row for pair in pairs for row in preferences.compared_kto_rows(items, pair)]
    tables = {
        "sft": [row for one in items.items for row in sft_rows(items, one)],
        "dpo": [preferences.dpo_row(items, pair) for pair in pairs],
        "kto": kto,
        "reward": [preferences.reward_row(items, pair) for pair in pairs],
        "emotion": emotion_rows(items),
        "voice": voice_rows(items),
    }
    return {name: rows for name, rows in tables.items() if rows}


# --- conversations -----------------------------------------------------------------------------------------------


def sft_rows(items: TrainingItems, one: TrainingItem) -> list[Row]:
    """Rewritten answers; if there is none, the answer itself if it was approved."""
    if not {"rewrite", "empathy"} & set(items.rules.form.scales) or items.lacks_words(one, "reply"):
        return []
    return _rewritten(items, one) or _approved(items, one)


def _rewritten(items: TrainingItems, one: TrainingItem) -> list[Row]:
    found = []
    for text, by in sorted(one.rewrites().items()):
        felt = majority([row["answers"]["rewrite_emotion"] for row in by if "rewrite_emotion" in row["answers"]])
        if text == one.words("reply"):
            found.append(_sft_row(items, one, text, "unchanged", "reply", felt, by))
        else:
            found.append(_sft_row(items, one, text, "corrected", None, felt, by))
    return found


def _approved(items: TrainingItems, one: TrainingItem) -> list[Row]:
    means = [mean for scale in ("empathy", "relevance") if (mean := one.mean(scale)) is not None]
    if len(one.counted) < APPROVING_RATERS or len(means) < 2 or min(means) < GOOD_MEAN:
        items.leave_out("not-approved", one)
        return []
    if any(one.answers("safety")):
        items.leave_out("safety-flag", one)
        return []
    felt = planned_emotion(one.content, "reply")
    return [_sft_row(items, one, one.words("reply"), "approved", "reply", felt, one.counted)]


def _sft_row(
    items: TrainingItems,
    one: TrainingItem,
    text: str,
    source: str,
    role: str | None,
    felt: str | None,
    by: Sequence[Row],
) -> Row:
    row = situation(one.content) | {
        "messages": [*history_messages(one), user_message(one), assistant_message(text)],
        "reply": text,
        "reply_emotion": felt,
        "source": source,
        "query_file_name": audio_path(one.content, "query"),
        "reply_file_name": audio_path(one.content, role),
    }
    return row | generated_by(one.content, role) | items.provenance(one, by)


# --- emotions ----------------------------------------------------------------------------------------------------


def emotion_rows(items: TrainingItems) -> list[Row]:
    """Recordings with what people heard in them. ``audio`` holds a SHA-256 until the sound is written."""
    if "primary" not in items.rules.form.scales:
        return []
    named = items.results.values("primary")
    named = named[named["value"].isin(emotion.NAMES)]
    kinds = named["guess_shown"].map(label_kind)
    reliability = rater_reliability(named[["item", "rater", "value"]], emotion.NAMES)
    labels = {kind: _soft_labels(named[kinds == kind], None) for kind in (UNANCHORED, ANCHORED)}
    weighted = {kind: _soft_labels(named[kinds == kind], reliability) for kind in (UNANCHORED, ANCHORED)}
    found = []
    for one in items.items:
        if one.content.get("mode", "both") != "both":
            items.leave_out("words-or-voice-alone", one)
        elif one.id not in labels[one.labels]:
            items.leave_out("no-emotion-named", one)
        else:
            row = _emotion_row(items, one, labels[one.labels][one.id])
            found.append(row | _reliable_label(items, one, weighted[one.labels][one.id], reliability))
    return found


def _soft_labels(named: pd.DataFrame, reliability: Mapping[str, float] | None) -> dict[str, list[float]]:
    if named.empty:
        return {}
    labels = soft_labels(named[["item", "rater", "value"]], emotion.NAMES, weights=reliability)
    return {str(item): [float(share) for share in labels.loc[item]] for item in labels.index}


def _reliable_label(
    items: TrainingItems, one: TrainingItem, soft_label: Sequence[float], reliability: Mapping[str, float]
) -> Row:
    """The soft label with each rater's reliability as the weight, and the sum of these weights."""
    naming = [row["rater"] for row in one.counted if row["answers"].get("primary") in emotion.NAMES]
    return {
        "reliable_label": [round(share, 6) for share in soft_label],
        "label_weight": rounded(sum(reliability[items.results.pseudonym(rater)] for rater in naming)),
    }


def _emotion_row(items: TrainingItems, one: TrainingItem, soft_label: Sequence[float]) -> Row:
    label, guess = majority(one.answers("primary")), one.content.get("guess") or {}
    shown = [row["guess"] for row in one.counted]
    row = {
        "audio": audio_sha256(one.content, "speech"),
        "label": label if label in emotion.NAMES else None,
        "soft_label": [round(share, 6) for share in soft_label],
        "speaker": speaker_of(one.content) or None,
        "alpha": items.source.alpha,
        "transcript": one.words("speech") or None,
        "valence": rounded(one.mean("valence")),
        "arousal": rounded(one.mean("arousal")),
        "dominance": rounded(one.mean("dominance")),
        "guess": guess.get("label"),
        "guess_probability": rounded(guess.get("probability")),
        "guess_shown_share": rounded(sum(shown) / len(shown)),
    }
    return row | generated_by(one.content, "speech") | items.provenance(one, one.counted)


# --- voices ------------------------------------------------------------------------------------------------------


def voice_rows(items: TrainingItems) -> list[Row]:
    """Answers that raters heard, with the mean scores of their voice. Comparisons of voices are in ``dpo``."""
    found = []
    for one in items.items:
        scores = {scale: rounded(one.mean(scale)) for scale in ("naturalness", "emotion_mos")}
        if any(score is not None for score in scores.values()):
            row = scores | {
                "reply_emotion": planned_emotion(one.content, "reply"),
                "delivery": delivery(one.content, "reply"),
                "reply_file_name": audio_path(one.content, "reply"),
            }
            found.append(row | generated_by(one.content, "reply") | items.provenance(one, one.counted))
    return found
