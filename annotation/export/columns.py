"""The columns of every table, in order, with their Arrow types."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from annotation.analysis.results import COLUMNS
from annotation.study.rules import Study
from annotation.study.scales import SURVEY

Columns = dict[str, pa.DataType]

_TEXT, _INTEGER, _FLOAT, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TEXTS = pa.list_(_TEXT)
_MESSAGES = pa.list_(pa.struct([("content", _TEXT), ("role", _TEXT)]))

RATINGS: Columns = dict.fromkeys(COLUMNS, _TEXT) | {
    "value_number": _FLOAT,
    "value_on_page": _TEXT,
    "guess_shown": _FLAG,
    "anchoring": _TEXT,
    "guess_probability": _FLOAT,
    "block": _INTEGER,
    "slot": _INTEGER,
    "seconds": _FLOAT,
    "heard": _FLOAT,
    "right": _FLAG,
    "consent": _FLAG,
    "source_file": _TEXT,
    "source_sha256": _TEXT,
}

SKIPS: Columns = {
    "item": _TEXT,
    "family": _TEXT,
    "rater": _TEXT,
    "kind": _TEXT,
    "reason": _TEXT,
    "distressing": _FLAG,
    "block": _INTEGER,
    "slot": _INTEGER,
    "at": _TEXT,
}
SURVEYS: Columns = {"rater": _TEXT} | {scale.name: _INTEGER if scale.kind == "points" else _TEXT for scale in SURVEY}

_GENERATED_BY: Columns = {"system": _TEXT, "seed": _INTEGER, "timings": _TEXT}
PROVENANCE: Columns = {
    "item": _TEXT,
    "family": _TEXT,
    "study": _TEXT,
    "template": _TEXT,
    "split": _TEXT,
    "licence": _TEXT,
    "language": _TEXT,
    "scales": _TEXTS,
    "mode": _TEXT,
    "judged_from": _TEXT,
    "anchoring": _TEXT,
    "audio_sha256": _TEXTS,
    "about": _TEXT,
    "adjudicated": _TEXT,
    "side_as_stored": _INTEGER,
    "side_swapped": _INTEGER,
    "heard_least": _FLOAT,
    "raters": _TEXTS,
    "n_raters": _INTEGER,
    "agreement": _FLOAT,
    "consent": _FLAG,
    "contributed": _FLAG,
    "ratings_kept": _INTEGER,
    "ratings_could_not_check": _INTEGER,
    "ratings_flagged": _INTEGER,
    "reasons": _TEXTS,
    "exporter": _TEXT,
}

_SITUATION: Columns = {
    "transcript": _TEXT,
    "emotion": _TEXT,
    "stated_or_heard": _TEXT,
    "event": _TEXT,
    "history": pa.list_(pa.struct([("role", _TEXT), ("text", _TEXT), ("emotion", _TEXT)])),
}
_PAIR: Columns = (
    _SITUATION
    | {f"{side}_{name}": kind for side in ("chosen", "rejected") for name, kind in _GENERATED_BY.items()}
    | {f"{role}_file_name": _TEXT for role in ("query", "chosen", "rejected")}
    | {
        "source": _TEXT,
        "margin": _FLOAT,
        "flip_rate": _FLOAT,
        "vote_share": _FLOAT,
        "same_words": _FLAG,
        "chosen_emotion": _TEXT,
        "rejected_emotion": _TEXT,
        "chosen_delivery": _TEXT,
        "rejected_delivery": _TEXT,
    }
)
_SFT: Columns = _SITUATION | {
    "messages": _MESSAGES,
    "reply": _TEXT,
    "reply_emotion": _TEXT,
    "source": _TEXT,
    "query_file_name": _TEXT,
    "reply_file_name": _TEXT,
}
_KTO: Columns = _SITUATION | {
    "prompt": _MESSAGES,
    "completion": _MESSAGES,
    "label": _FLAG,
    "score": _FLOAT,
    "margin": _FLOAT,
    "flip_rate": _FLOAT,
    "source": _TEXT,
    "reply_emotion": _TEXT,
    "query_file_name": _TEXT,
    "completion_file_name": _TEXT,
}
_EMOTION: Columns = {
    "audio": pa.struct([("bytes", pa.binary()), ("path", _TEXT)]),
    "label": _TEXT,
    "soft_label": pa.list_(_FLOAT),
    "reliable_label": pa.list_(_FLOAT),
    "label_weight": _FLOAT,
    "speaker": _TEXT,
    "valence": _FLOAT,
    "arousal": _FLOAT,
    "dominance": _FLOAT,
    "alpha": _FLOAT,
    "transcript": _TEXT,
    "guess": _TEXT,
    "guess_probability": _FLOAT,
    "guess_shown_share": _FLOAT,
}
_VOICE: Columns = {
    "reply_emotion": _TEXT,
    "delivery": _TEXT,
    "naturalness": _FLOAT,
    "emotion_mos": _FLOAT,
    "reply_file_name": _TEXT,
}
TRAINING: dict[str, Columns] = {
    "sft": _SFT | _GENERATED_BY | PROVENANCE,
    "dpo": {"prompt": _MESSAGES, "chosen": _MESSAGES, "rejected": _MESSAGES} | _PAIR | PROVENANCE,
    "kto": _KTO | _GENERATED_BY | PROVENANCE,
    "reward": {"chosen": _MESSAGES, "rejected": _MESSAGES} | _PAIR | PROVENANCE,
    "emotion": _EMOTION | _GENERATED_BY | PROVENANCE,
    "voice": _VOICE | _GENERATED_BY | PROVENANCE,
}


def source_column(name: str) -> str:
    """The name of a column of the researcher's own table in an export."""
    return f"source_row_{name}"


def item_columns(rules: Study, own: Iterable[str] = ()) -> Columns:
    """The columns of the items: six for each clip of the template, and ``own``: those of the researcher's table."""
    columns: Columns = {
        "item": _TEXT,
        "family": _TEXT,
        "role": _TEXT,
        "mode": _TEXT,
        "split": _TEXT,
        "guess": _TEXT,
        "guess_probability": _FLOAT,
        "contributed": _FLAG,
        "adjudicated": _TEXT,
        "adjudicated_reason": _TEXT,
        "about": _TEXT,
    }
    for role in rules.form.clips:
        columns |= {f"{role}_{name}": _TEXT for name in ("text", "system", "file_name", "sha256")}
        columns |= {f"{role}_source_{name}": _TEXT for name in ("file", "sha256")}
    columns |= {source_column(name): _TEXT for name in own}
    return columns
