"""Training of the larger responder, on a small random model through the same code."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emotion_omni.response.qwen2 import EOS, Qwen2Shape, build_tokenizer
from emotion_omni.response.qwen2_responder import with_adapter
from emotion_omni.train import exchanges
from emotion_omni.train.part_settings import Qwen2ResponderSettings
from emotion_omni.train.qwen2_responder import SplitModel, encode, fit
from emotion_omni.types import EmotionOmniError

SPECIAL = ["<|im_start|>", EOS]


@pytest.fixture(scope="module")
def tokenizer():
    """Bytes alone."""
    from tokenizers.pre_tokenizers import ByteLevel

    return build_tokenizer([*sorted(ByteLevel.alphabet()), *SPECIAL], [], SPECIAL)


@pytest.fixture
def model() -> SplitModel:
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = Qwen2Shape(layers=4, heads=4, key_value_heads=2, width=64, inner=96, vocabulary=258)
    base = Qwen2ForCausalLM(shape.transformers_config()).requires_grad_(False)
    return SplitModel(base, Qwen2ResponderSettings(rank=4, alpha=8, first_layer=2))


def written(number: int) -> exchanges.WrittenExchange:
    turn = exchanges.WrittenTurn(
        f"the bus number {number} is late", "angry", 0.5, "Late again! Which one is it?", ("ask",), ()
    )
    return exchanges.WrittenExchange(f"work-{number:04}", "feeling", "bad", (turn,))


def test_only_replies_have_a_loss(tokenizer) -> None:
    ids, of_reply = encode(written(3), tokenizer, random.Random(0))
    spoken = tokenizer.decode(
        [token for token, wanted in zip(ids, of_reply, strict=True) if wanted], skip_special_tokens=False
    )
    assert spoken == f"Late again! Which one is it?{EOS}"
    assert tokenizer.decode(ids, skip_special_tokens=False).startswith("<|im_start|>user\n[angry")


def test_the_halves_make_the_whole(model: SplitModel, tokenizer) -> None:
    """The loss by kept states is that of the model run as one."""
    examples = [encode(written(number), tokenizer, random.Random(number)) for number in (1, 22)]
    in_halves = model.loss(model.lower(examples), examples)
    sums, count = 0.0, 0
    for ids, of_reply in examples:
        logits = model.peft(torch.tensor([ids])).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
        chosen = torch.tensor(of_reply[1:])
        sums, count = sums + losses[chosen].sum().item(), count + int(chosen.sum())
    assert in_halves.item() == pytest.approx(sums / count, abs=1e-4)


def test_it_learns_and_writes_an_adapter_that_merges(model: SplitModel, tokenizer, tmp_path: Path) -> None:
    rows = [written(number) for number in range(40)]
    assert {row.split for row in rows} == {"train", "dev"}
    settings = Qwen2ResponderSettings(rank=4, alpha=8, first_layer=2, learning_rate=3e-2, epochs=4, batch_size=8)
    log = fit(model, rows, tokenizer, tmp_path, settings)
    assert log["validation_loss"][-1] < 0.95 * log["validation_loss"][0]
    assert json.loads((tmp_path / "qwen2_responder.log.json").read_text())["rows"] == log["rows"]
    adapter = load_file(tmp_path / "qwen2_responder.safetensors")
    assert {name.split(".")[2] for name in adapter} == {"2", "3"}  # the upper layers
    base = {name.replace(".base_layer", ""): value for name, value in model.peft.get_base_model().state_dict().items()}
    merged = with_adapter(lambda name: base[name].numpy(), tmp_path / "qwen2_responder.safetensors")
    name = "model.layers.3.mlp.up_proj.weight"
    layer = model.peft.get_base_model().model.layers[3].mlp.up_proj
    expected = base[name] + layer.get_delta_weight("default")
    assert np.allclose(merged(name), expected.detach().numpy(), atol=2e-3)
    assert np.array_equal(merged("model.norm.weight"), base["model.norm.weight"].numpy())


def test_time_ends_training_early(model: SplitModel, tokenizer, tmp_path: Path) -> None:
    settings = Qwen2ResponderSettings(rank=4, alpha=8, first_layer=2, max_seconds=1e-6)
    log = fit(model, [written(number) for number in range(20)], tokenizer, tmp_path, settings)
    assert log["steps"] == 0


def test_another_file_than_an_adapter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x.lora_A": torch.zeros(1)}, path, metadata={"scale": "1"})
    with pytest.raises(EmotionOmniError, match="lora_A and a lora_B"):
        with_adapter(lambda name: np.zeros(1), path)
    path.write_bytes(b"no weights")
    with pytest.raises(EmotionOmniError, match="train qwen2-responder"):
        with_adapter(lambda name: np.zeros(1), path)
