"""One contract, every engine."""

from __future__ import annotations

import pytest
import tiny_omni
from engine_contract import (  # noqa: F401 (they run here, with the engines of this file)
    test_a_turn_yields_what_the_contract_says,
    test_bad_sound_is_refused_with_a_reason_or_answered,
    test_closing_early_frees_everything,
    test_corrections_replace_what_is_heard,
    test_hostile_words_are_answered,
    test_it_is_an_engine,
    test_the_conversation_travels_in_the_turn,
    test_the_same_seed_gives_the_same_bytes,
    test_turns_do_not_leak,
    test_words_only,
)

from emotion_omni import engine


@pytest.fixture(scope="module")
def omni(embedded, tmp_path_factory):
    """A tiny random checkpoint. Its ear is the embedded engine's, so that it needs the same weights."""
    folder = tmp_path_factory.mktemp("omni")
    with pytest.MonkeyPatch.context() as patch:
        tiny_omni.give_voice(patch, folder)
        return tiny_omni.load(tiny_omni.save(folder / "tiny"))


@pytest.fixture(params=["embedded", "omni", "fake"])  # the hub engine's own tests run the contract over it
def chosen(request):
    return engine.load("fake") if request.param == "fake" else request.getfixturevalue(request.param)
