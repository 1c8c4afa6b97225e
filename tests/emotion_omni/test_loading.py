"""Loading models: every failure is an error that says what to do."""

from __future__ import annotations

import pickle

import pytest
from huggingface_hub.errors import EntryNotFoundError, HTTPError

from emotion_omni import loading
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(("name", "words"), [("cuda:7", "no device cuda:7"), ("banana", "'banana' is not a device")])
def test_a_device_that_is_not_there_is_refused(name, words):
    with pytest.raises(EmotionOmniError, match=f"{words}.*cpu") as caught:
        loading.find_device(name)
    assert caught.value.code == "device"


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (HTTPError("the line broke"), "the line broke"),
        (EntryNotFoundError("404"), "404"),
        (KeyError("model_type"), "no 'model_type'"),
        (AssertionError(), "AssertionError"),
        (pickle.UnpicklingError("no weights"), "no weights"),
        (EOFError("short"), "short"),
    ],
)
def test_whatever_goes_wrong_in_loading_is_told_in_a_sentence(raised, words):
    with (
        pytest.raises(EmotionOmniError, match=rf"'me/mine' cannot be loaded: .*{words}\. Check") as caught,
        loading.explained("me/mine"),
    ):
        raise raised
    assert caught.value.code == "weights"
