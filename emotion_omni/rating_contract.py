"""The contract between the studio's exports and training: its version, and the columns that training reads.

``python -m annotation export`` writes it (``contract`` in ``manifest.json``), ``python -m emotion_omni train feedback``
reads it and takes no other version. A column that is renamed, or means something else, is a new version. Exports may
hold more columns than these. Knows neither the store nor any model.
In words: ``emotion_omni/train/feedback/README.md``.
"""

from __future__ import annotations

CONTRACT = 2  # 1: exports of releases before the field "contract"

TEXT, SOUND, BOTH = JUDGED_FROM = ("text", "sound", "both")  # what raters had of what they judged

# of every row: where it comes from, and what may be learned from it
ROW = ("item", "family", "split", "judged_from", "raters", "n_raters", "licence")
# what a reply answers, as the responder's prompt needs it
SITUATION = ("transcript", "emotion", "event", "history")
# by table; ``split`` of all rows is "train": an evaluation study gives none
TABLES: dict[str, tuple[str, ...]] = {
    "sft": (*SITUATION, "reply", "reply_emotion", "source", "query_file_name", "reply_file_name", *ROW),
    "dpo": (
        *SITUATION,
        "chosen",
        "rejected",
        "margin",
        "flip_rate",
        "same_words",
        "source",
        "query_file_name",
        "chosen_system",
        "rejected_system",
        "chosen_delivery",
        "rejected_delivery",
        *ROW,
    ),
    "kto": (
        *SITUATION,
        "completion",
        "label",
        "margin",
        "flip_rate",
        "source",
        "query_file_name",
        "system",
        *ROW,
    ),
    "emotion": ("audio", "label", "reliable_label", "label_weight", "speaker", *ROW),
    "voice": ("reply_emotion", "delivery", "naturalness", "emotion_mos", "system", *ROW),
}
