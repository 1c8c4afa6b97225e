"""The adapters: stacking, fusion, lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from omni_parts import TINY, shaken

from emotion_omni.omni.adapters import AudioAdapters, FrameAdapter


def test_an_adapter_stacks_five_frames_and_drops_the_rest():
    adapter, frames = FrameAdapter(3, 5, 7, 4), torch.randn(1, 13, 3)
    positions, lengths = adapter(frames, torch.tensor([13]))
    assert lengths.tolist() == [2]
    for place in range(2):
        stacked = np.concatenate([frames[0, 5 * place + frame].numpy() for frame in range(5)])
        hidden = np.maximum(adapter.widen.weight.detach().numpy() @ stacked + adapter.widen.bias.detach().numpy(), 0)
        expected = adapter.project.weight.detach().numpy() @ hidden + adapter.project.bias.detach().numpy()
        np.testing.assert_allclose(positions[0, place].detach(), expected, atol=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "interleave"])
def test_neither_padding_nor_a_batch_mate_reaches_a_position(fusion):
    module = shaken(AudioAdapters(replace(TINY, fusion=fusion)))
    words, tones = torch.randn(2, 61, 24), torch.randn(2, 59, 16)
    lengths = torch.tensor([31, 61]), torch.tensor([30, 59])
    words[0, 31:], tones[0, 30:] = torch.nan, torch.inf
    positions, counts = module(words, lengths[0], tones, lengths[1])
    alone, count = module(words[:1, :31], lengths[0][:1], tones[:1, :30], lengths[1][:1])
    assert counts.tolist() == [count.item(), positions.shape[1]] and count == alone.shape[1] == (
        6 if fusion == "concat" else 12
    )
    torch.testing.assert_close(positions[:1, : alone.shape[1]], alone)
    assert not positions[0, alone.shape[1] :].any()
    positions.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_fusion_joins_the_same_moment_of_both_streams():
    words, tones, lengths = torch.randn(1, 20, 24), torch.randn(1, 20, 16), torch.tensor([20])
    woven = shaken(AudioAdapters(replace(TINY, fusion="interleave")))
    pairs = woven(words, lengths, tones, lengths)[0]
    torch.testing.assert_close(pairs[:, 0::2], woven.semantic(words, lengths)[0])
    torch.testing.assert_close(pairs[:, 1::2], woven.emotion(tones, lengths)[0])
    joined = shaken(AudioAdapters(TINY))
    both = torch.cat([joined.semantic(words, lengths)[0], joined.emotion(tones, lengths)[0]], -1)
    torch.testing.assert_close(joined(words, lengths, tones, lengths)[0], joined.fuse(both))


def test_encoders_that_disagree_about_the_length_are_refused():
    module = AudioAdapters(TINY)
    with pytest.raises(ValueError, match="disagree"):
        module(torch.zeros(1, 100, 24), torch.tensor([100]), torch.zeros(1, 100, 16), torch.tensor([80]))
