"""The model card."""

from __future__ import annotations

import re

from tiny_checkpoints import (
    about,
    front_matter,
)

from emotion_omni import checkpoint
from emotion_omni.checkpoint import CARD


def test_the_card_says_what_the_hub_and_a_reader_need(folder):
    text = (folder / CARD).read_text()
    head = front_matter(text)
    assert head["license"] == "cc-by-nc-4.0" and head["pipeline_tag"] == "audio-to-audio"
    assert head["base_model"] == [
        "openai/whisper-large-v3"
    ]  # neither ModelScope's nor our own parts: the hub does not know those
    for words in ("talks.jsonl", "| loss | 1.25 |", "emotion2vec\\_base", "## Limits", "7 steps, seed 3"):
        assert words in text, words
    (line,) = re.findall(r"python -m (emotion_omni .*)", text)
    assert line == "emotion_omni talk q.wav --engine omni --checkpoint 'small one' --out reply.wav"


def test_licences_the_hub_does_not_know_keep_their_words():
    for licence, head in (
        ("not stated", {"license": "unknown"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("for: research # only", {"license": "other", "license_name": "for: research # only"}),
    ):
        assert front_matter(checkpoint.card(about(licence=licence))).items() >= head.items()


def test_a_name_writes_no_markup_into_the_card():
    text = checkpoint.card(
        about(name="<script>x</script> | # [a](b)", data=[{"name": "a | b\\", "sha256": "c" * 64, "rows": 1}])
    )
    assert "<script>" not in text.replace("'<script>x</script> | # [a](b)'", "") and "| a \\| b\\\\ | 1 |" in text
