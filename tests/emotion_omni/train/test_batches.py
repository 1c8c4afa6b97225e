"""Batches of rows."""

from __future__ import annotations

from tiny_training import (
    ROWS,
    dataset,
)

from emotion_omni.train.batches import Corrections


def test_some_training_rows_come_with_transcript_and_emotion(sounds):
    """As when talking: words and emotion that were corrected or typed stand beside the sound, or in its place."""
    rows = [row | {"transcript": "It rains.", "emotion": "sad"} for row in ROWS] * 10
    made = dataset(sounds, rows)
    told = (("It rains.", None), (None, "sad"), ("It rains.", "sad"))
    plain, prompts = made.prompts[0], {each: made.prompt_builder.prompt((), *each) for each in told}
    batch = made.batch(range(40), Corrections(seed=0, epoch=0, rate=0.3))
    assert (
        batch.prompts
        == made.batch(range(40), Corrections(0, 0, 0.3)).prompts
        != made.batch(range(40), Corrections(0, 1, 0.3)).prompts
    )
    assert set(batch.prompts) == {plain, *prompts.values()} and 12 <= batch.prompts.count(plain) <= 27
    silent = {
        prompt
        for prompt, length in zip(batch.prompts, batch.query.semantic_lengths.tolist(), strict=True)
        if not length
    }
    assert silent and not silent & {plain, prompts[None, "sad"]}, "only what is in writing can do without the sound"
    assert made.batch(range(40)).prompts == (plain,) * 40, "measured as it was heard"
