"""The emotion head: streaming, causality, both modes, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from omni_parts import TINY, shaken

from emotion_omni.omni.adapters import AudioAdapters
from emotion_omni.omni.emotion_head import EmotionHead
from emotion_omni.omni.emotion_targets import trajectory_losses


@torch.no_grad()
def test_the_planned_emotion_is_the_same_when_the_reply_grows_token_by_token():
    head, states = shaken(EmotionHead(TINY)), torch.randn(2, 300, 32)
    offline = head(states, torch.tensor([300, 300]))
    cache, pieces = head.new_cache(2), []
    for begin, end in ((0, 5), (5, 6), (6, 290), (290, 300)):  # over the first size of the buffer, too
        pieces.append(head(states[:, begin:end], torch.full((2,), end - begin), cache))
    torch.testing.assert_close(torch.cat(pieces, 1), offline, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_emotion_never_sees_a_later_token():
    head, states = shaken(EmotionHead(TINY)), torch.randn(1, 9, 32)
    changed = states.clone()
    changed[:, 6:] += 1
    before, after = (head(x, torch.tensor([9])) for x in (states, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().min() > 0


@torch.no_grad()
def test_one_emotion_per_utterance_reads_the_first_five_states():
    head, states = shaken(EmotionHead(replace(TINY, emotion_mode="utterance"))), torch.randn(2, 12, 32)
    states[1, 3:] = torch.nan  # an answer of three tokens and its padding
    emotion = head(states, torch.tensor([12, 3]))
    torch.testing.assert_close(emotion[0, 0], head.out(states[0, :5].mean(0)))
    torch.testing.assert_close(emotion[1, 0], head.out(states[1, :3].mean(0)))


@pytest.mark.parametrize(("fusion", "emotion_mode"), [("concat", "token"), ("interleave", "utterance")])
def test_every_parameter_of_stage_one_gets_a_gradient(fusion, emotion_mode):
    config = replace(TINY, fusion=fusion, emotion_mode=emotion_mode)
    ears, head, lengths = AudioAdapters(config), EmotionHead(config), torch.tensor([40, 30])
    positions, counts = ears(torch.randn(2, 40, 24), lengths, torch.randn(2, 40, 16), lengths)
    planned = head(positions, counts)
    tokens = counts if emotion_mode == "token" else torch.ones_like(counts)
    trajectory_losses(planned, torch.randn(planned.shape), tokens, config.head).mean().backward()
    for module in (ears, head):
        assert [
            name for name, parameter in module.named_parameters() if parameter.grad is None or not parameter.grad.any()
        ] == []
