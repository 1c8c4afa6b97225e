"""The four-bit graph against transformers' Qwen2, on a small random model through the same code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from emotion_omni.response import int4_graph
from emotion_omni.response.int4_decoder import Int4Decoder
from emotion_omni.response.qwen2 import Qwen2Shape

SHAPE = Qwen2Shape(layers=3, heads=4, key_value_heads=2, width=128, inner=256, vocabulary=320, rotary_base=10_000.0)


def rounded(weight: np.ndarray) -> np.ndarray:
    """What four bits keep of a matrix [O, I]."""
    packed, scales, zeros = int4_graph.quantize(weight)
    levels = np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:2], 32).astype(np.float32)
    points = np.stack([zeros & 15, zeros >> 4], -1).reshape(len(zeros), -1)[:, : scales.shape[1], None]
    return ((levels - points) * scales[:, :, None]).reshape(weight.shape)


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(SHAPE.transformers_config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.15) if parameter.dim() == 2 or name.endswith("bias") else parameter.uniform_(
                0.5, 1.5
            )
    return model


@pytest.fixture(scope="module")
def decoder(reference: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Int4Decoder:
    """Written before the reference is rounded to the same weights."""
    folder = tmp_path_factory.mktemp("int4")
    state = {name: value.numpy().copy() for name, value in reference.state_dict().items()}
    int4_graph.write_graph(state.__getitem__, SHAPE, folder)
    words = {f"w{index}": index for index in range(SHAPE.vocabulary)}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "w0")).save(str(folder / "tokenizer.json"))
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.from_numpy(rounded(state[name])))
    return Int4Decoder(folder, SHAPE, threads=1)


def logits_of(model: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1].numpy()


def closeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("rows,columns", [(7, 64), (5, 96), (4097, 32)])
def test_four_bits_are_off_by_no_more_than_one_step(rows: int, columns: int) -> None:
    weight = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    steps = np.repeat(int4_graph.quantize(weight)[1], 32, axis=1)
    assert (np.abs(rounded(weight) - weight) <= 1.01 * steps).all()


def test_a_block_of_zeros_stays_zero() -> None:
    weight = np.zeros((2, 64), np.float32)
    assert not rounded(weight).any()


def test_logits_are_those_of_transformers(reference: torch.nn.Module, decoder: Int4Decoder) -> None:
    tokens = [5, 17, 300, 4, 9, 250]
    found = decoder.start(tokens).logits[0]
    assert found.shape == (SHAPE.vocabulary,)
    assert closeness(found, logits_of(reference, tokens)) > 0.995  # activations are rounded to eight bits inside


def test_rows_continue_apart(reference: torch.nn.Module, decoder: Int4Decoder) -> None:
    tokens = [5, 17, 300]
    state = decoder.start(tokens).take([0, 0, 0])
    state.append(np.array([[1], [3], [1]]))
    state.append(np.array([[2], [4], [2]]))
    assert np.array_equal(state.logits[0], state.logits[2])
    for row, more in zip(state.logits, ([1, 2], [3, 4]), strict=False):
        assert closeness(row, logits_of(reference, tokens + more)) > 0.995
    chosen = state.take([1])
    chosen.append(np.array([[7]]))
    assert chosen.logits.shape == (1, SHAPE.vocabulary)
    assert closeness(chosen.logits[0], logits_of(reference, [*tokens, 3, 4, 7])) > 0.995
    assert state.length == 5  # the state that rows were taken from is as it was


def test_the_data_file_holds_every_weight_once(
    decoder: Int4Decoder, tmp_path: Path, reference: torch.nn.Module
) -> None:
    state = {name: value.numpy() for name, value in reference.state_dict().items()}
    asked: list[str] = []

    def tensors(name: str) -> np.ndarray:
        asked.append(name)
        return state[name]

    int4_graph.write_graph(tensors, SHAPE, tmp_path)
    assert sorted(asked) == sorted(name for name in state if name != "lm_head.weight")
