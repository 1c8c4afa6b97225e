"""Targets and loss of the emotion head."""

from __future__ import annotations

import pytest
import torch
from omni_parts import TINY

from emotion_omni.omni.emotion_targets import token_targets, trajectory_losses, utterance_targets
from emotion_omni.types import EmotionOmniError


def test_a_target_is_the_mean_of_the_frames_of_its_token():
    moods = torch.eye(4)[None] * 3
    frames = moods.repeat_interleave(torch.tensor([2, 5, 1, 4]), 1) + 0.1 * torch.randn(1, 12, 4)
    targets = token_targets(frames, torch.tensor([12]), moods, torch.tensor([4]))
    expected = torch.stack([frames[0, begin:end].mean(0) for begin, end in ((0, 2), (2, 7), (7, 8), (8, 12))])
    torch.testing.assert_close(targets[0], expected)


def test_targets_and_losses_do_not_depend_on_padding_or_batch_mates():
    frames, predictions = torch.randn(3, 50, 16), torch.randn(3, 9, 16)
    frame_lengths, token_lengths = torch.tensor([20, 50, 3]), torch.tensor([4, 9, 8])
    for sample in range(3):
        frames[sample, frame_lengths[sample] :] = torch.nan
        predictions[sample, token_lengths[sample] :] = 100.0
    targets = token_targets(frames, frame_lengths, predictions, token_lengths)
    means = utterance_targets(frames, frame_lengths)
    losses = trajectory_losses(predictions, targets, token_lengths, TINY.head)
    for sample, (count, tokens) in enumerate(zip(frame_lengths, token_lengths, strict=True)):
        mine = slice(sample, sample + 1)
        lengths = frame_lengths[mine], token_lengths[mine]
        alone = token_targets(frames[mine, :count], lengths[0], predictions[mine, :tokens], lengths[1])
        torch.testing.assert_close(targets[mine, :tokens], alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(means[sample, 0], frames[sample, :count].mean(0))
        torch.testing.assert_close(
            losses[mine], trajectory_losses(predictions[mine, :tokens], alone, lengths[1], TINY.head)
        )


def test_the_loss_is_squared_error_and_cosine_in_the_papers_proportion():
    targets = torch.randn(2, 3, 16)
    lengths = torch.tensor([3, 2])
    torch.testing.assert_close(
        trajectory_losses(targets, targets, lengths, TINY.head), torch.zeros(2), atol=1e-6, rtol=0
    )
    opposite = trajectory_losses(-targets, targets, lengths, TINY.head)
    torch.testing.assert_close(opposite[1], 0.6 * (4 * targets[1, :2] ** 2).mean() + 0.4 * 2)


def test_an_answer_without_sound_or_words_has_no_target():
    frames, tokens = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    for heard, said, what in (([5, 0], [3, 3], "frame"), ([5, 5], [3, 0], "token")):
        with pytest.raises(EmotionOmniError, match=f"Example 1.*{what}") as error:
            token_targets(frames, torch.tensor(heard), tokens, torch.tensor(said))
        assert error.value.code == "no-target"
    with pytest.raises(EmotionOmniError, match="Example 0"):
        utterance_targets(frames, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="finite"):
        token_targets(frames * torch.inf, torch.tensor([5, 5]), tokens, torch.tensor([3, 3]))
