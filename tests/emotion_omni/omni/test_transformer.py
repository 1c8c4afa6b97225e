"""A Transformer block against its equations."""

from __future__ import annotations

import numpy as np
import torch
from omni_parts import shaken

from emotion_omni.omni import transformer


def test_a_block_computes_its_equations():
    """Rotary attention, RMSNorm and SwiGLU by loops over heads, rows and pairs."""
    width, heads, rows, base = 8, 2, 5, 100.0
    block, x = shaken(transformer.Block(width, heads, 12, 0.0)), torch.randn(1, rows, width)
    mask = torch.ones(rows, rows, dtype=torch.bool).tril()[None, None]
    places = torch.tensor([[0, 1, 2, 7, 9]])
    ours = block(x, transformer.rotary_angles(places, width // heads, base), mask)[0].detach().numpy()
    weights = {name: parameter.detach().double().numpy() for name, parameter in block.named_parameters()}

    def norm(values, name):
        return values / np.sqrt((values**2).mean(-1, keepdims=True) + 1e-6) * weights[name]

    def turned(vector, place):
        half, out = len(vector) // 2, np.empty(len(vector))
        for pair in range(half):
            number = complex(vector[pair], vector[pair + half]) * np.exp(1j * place * base ** (-pair / half))
            out[pair], out[pair + half] = number.real, number.imag
        return out

    stream = x[0].double().numpy()
    query, key, value = np.split(norm(stream, "attention_norm.weight") @ weights["query_key_value.weight"].T, 3, axis=1)
    seen = np.zeros((rows, width))
    for head in range(heads):
        span = slice(head * width // heads, (head + 1) * width // heads)
        for row in range(rows):
            asked = turned(query[row, span], places[0, row].item())
            scores = [asked @ turned(key[other, span], places[0, other].item()) for other in range(row + 1)]
            share = np.exp(np.array(scores) / np.sqrt(width / heads))
            seen[row, span] = (share / share.sum()) @ value[: row + 1, span]
    stream = stream + seen @ weights["attention_out.weight"].T
    gate, up = np.split(norm(stream, "feed_norm.weight") @ weights["gate_and_up.weight"].T, 2, axis=1)
    stream = stream + (gate / (1 + np.exp(-gate)) * up) @ weights["down.weight"].T
    np.testing.assert_allclose(ours, stream, atol=1e-4, rtol=1e-4)
