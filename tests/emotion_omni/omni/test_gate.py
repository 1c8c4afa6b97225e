"""The gate against its equation."""

from __future__ import annotations

import numpy as np
import torch
from omni_parts import shaken

from emotion_omni.omni.gate import Gate


@torch.no_grad()
def test_the_gate_computes_its_equation():
    gate, (state, embedding) = shaken(Gate(6)), torch.randn(2, 1, 1, 6)
    weight, bias = gate.mix.weight.numpy(), gate.mix.bias.numpy()
    h, e = state[0, 0].numpy(), embedding[0, 0].numpy()
    share = 1 / (1 + np.exp(-(weight @ np.concatenate([h, e]) + bias)))
    np.testing.assert_allclose(gate(state, embedding)[0, 0], share * h + (1 - share) * e, atol=1e-6)
