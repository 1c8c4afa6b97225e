"""Language models: random, embedded, from a folder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers

from emotion_omni.omni import language_model
from emotion_omni.omni.config import LanguageModelConfig, LoraConfig, OmniConfig
from emotion_omni.types import EmotionOmniError

TINY = OmniConfig.preset("tiny")


def test_random_weights_of_the_papers_width_have_the_papers_shape():
    with torch.device("meta"):
        built = transformers.Qwen2ForCausalLM(language_model.random_qwen2_config(3584, 258, 257))
    assert sum(value.numel() for value in built.parameters()) == 7_615_616_512, "as published for Qwen2.5-7B"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Qwen2 with its tokenizer, saved as a repository of the hub would be."""
    place = tmp_path_factory.mktemp("qwen")
    model, tokenizer = language_model.load(LanguageModelConfig("random", 32), LoraConfig(), seed=2)
    model.unload().save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_a_language_model_is_loaded_from_a_folder(folder):
    model, tokenizer = language_model.load(LanguageModelConfig(str(folder), 32), LoraConfig(rank=3))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode("Hello you")])
    torch.testing.assert_close(model(input_ids=ids).logits, plain(input_ids=ids).logits)
    layers = 2 * len(LoraConfig().target_modules)
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == layers


def test_what_does_not_fit_is_refused(folder):
    with pytest.raises(EmotionOmniError, match="have 32 features"):
        language_model.load(LanguageModelConfig(str(folder), 48), LoraConfig())
    with pytest.raises(EmotionOmniError, match="no such layer. It has: .*q_proj"):
        language_model.load(LanguageModelConfig(str(folder), 32), LoraConfig(target_modules=("query",)))
    with pytest.raises(EmotionOmniError, match="cannot be loaded"):
        language_model.load(LanguageModelConfig(str(folder / "nowhere"), 32), LoraConfig())


@pytest.mark.slow
def test_the_embedded_language_model_is_the_engines_own(embedded):
    small = OmniConfig.preset("small")
    model, tokenizer = language_model.load(small.language_model, replace(small.lora, dropout=0.0))
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer.encode(prompt)])
    written = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    assert "Paris" in tokenizer.decode(written[0, ids.shape[1] :])
