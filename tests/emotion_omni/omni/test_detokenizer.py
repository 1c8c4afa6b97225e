"""Token ids → text as soon as it is certain."""

from __future__ import annotations

import pytest
from omni_answers import built

from emotion_omni.omni.detokenizer import REPLACEMENT, IncrementalDetokenizer
from emotion_omni.omni.model import Omni


@pytest.fixture(scope="module")
def model() -> Omni:
    return built()


@pytest.mark.parametrize("text", ["Plain words.", "Grüße an alle: 🙂🙃, 日本語!", "  two  blanks\nand a line"])
def test_words_come_as_soon_as_they_are_certain_and_never_halved(model, text):
    tokenizer = model.prompt_builder.tokenizer
    detokenizer, said = IncrementalDetokenizer(tokenizer), ""
    ids = model.prompt_builder.encode(text)
    assert len(ids) == len(text.encode()), "a byte each"
    for place, number in enumerate(ids):
        said += detokenizer.push([number])
        assert said == text.encode()[: place + 1].decode(errors="ignore")
    assert said + detokenizer.push([], last=True) == text


def test_incomplete_characters_and_control_characters_are_left_out(model):
    tokenizer = model.prompt_builder.tokenizer
    ids = tokenizer.encode("a\x00b\x1b<|im_start|>c\U0001f642"[:-1]) + tokenizer.encode("\U0001f642")[:2]
    detokenizer = IncrementalDetokenizer(tokenizer)
    said = detokenizer.push(ids) + detokenizer.push([], last=True)
    assert said == "abc" and REPLACEMENT not in said
    silent = IncrementalDetokenizer(tokenizer)
    assert silent.push(tokenizer.encode(" \n")) == " \n" and not silent.has_text
