"""The memorization benchmark counts what it says it counts."""

from __future__ import annotations

import json

import pytest
from tiny_training import (
    REPLIES,
    ROWS,
    understand,
)

from emotion_omni.evaluate import memorization
from emotion_omni.synthesis import codec
from emotion_omni.train.settings import Settings
from emotion_omni.types import EmotionOmniError


@pytest.mark.slow
def test_text_and_speech_are_memorized_and_counted(sounds, distinct_tokens, tmp_path):
    """The second half of the experiment on tone, on four dialogues: what is told of it must be so."""
    understand(
        sounds,
        tmp_path / "both",
        max_steps=100,
        rows=ROWS,
        config=distinct_tokens,
        learning_rate=1e-2,
        lora_learning_rate=1e-2,
    )
    rows = [
        row | {name: str(sounds / row[name]) for name in ("query", "reply_audio")} | {"emotion": "sad"} for row in ROWS
    ]
    stranger = rows[0] | {"query": str(sounds / "q4.wav"), "split": "test"}
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1], stranger]), "utf-8")
    model, manifest = memorization.train_speech(tmp_path, Settings(batch_size=4, max_steps=150, learning_rate=1e-2))
    lengths: list[float] = []
    vocoder = codec.CodecVocoder.load(codec.SHIPPED)
    hear = lambda sound: lengths.append(sound.seconds) or "Well done"  # noqa: E731
    known, strange = (
        memorization.answers(model, memorization.dataset_of(model, manifest, split), vocoder, hear)
        for split in ("train", "test")
    )
    told = memorization.summary(known)
    assert (told["recordings"], len(strange)) == (4, 1), "one recording of each answer"
    assert told["written_exactly"] == 1 and told["speech_tokens_right"] > 0.9
    assert (
        told["word_errors_of_the_true_tokens"]
        == memorization.word_errors([reply for reply, _ in REPLIES], ["Well done"] * 4)
        > 0
    )
    assert len(lengths) == 10 and all(0.5 < seconds < 3 for seconds in lengths), "as long as the answers it trained"


def test_wrong_missing_and_added_words_are_errors_but_case_is_not():
    assert memorization.word_errors(["Oh, well done!", "I am here."], ["oh well don", "I am"]) == round(2 / 6, 3)
    assert memorization.word_errors(["Yes."], ["yes it is"]) == 2


def test_memorization_needs_the_tone_contrast_run(tmp_path):
    with pytest.raises(EmotionOmniError, match="bench tone-contrast"):
        memorization.train_speech(tmp_path, Settings())
