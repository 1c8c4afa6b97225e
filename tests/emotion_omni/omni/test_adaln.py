"""AdaLN against its equation."""

from __future__ import annotations

import numpy as np
import torch
from omni_parts import shaken
from torch import nn

from emotion_omni.omni.adaln import AdaLN


@torch.no_grad()
def test_an_emotion_scales_and_shifts_the_normed_state_and_at_first_does_nothing():
    norm, x, emotion = AdaLN(5, 6), torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    torch.testing.assert_close(norm(x, emotion), nn.functional.layer_norm(x, (6,)))
    scale, shift = np.split(
        emotion.numpy() @ shaken(norm).modulation.weight.numpy().T + norm.modulation.bias.numpy(), 2, axis=-1
    )
    centred = x.numpy() - x.numpy().mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    np.testing.assert_allclose(norm(x, emotion), expected, atol=1e-5)
