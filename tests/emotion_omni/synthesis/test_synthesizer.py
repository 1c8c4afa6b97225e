"""The contract of every synthesizer, and what they share."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from emotion_omni import emotion
from emotion_omni.synthesis.synthesizer import MAX_CLAUSE, Synthesizer, check_delivery, split_clauses
from emotion_omni.types import Audio, Delivery, EmotionOmniError

TEXT = "Oh, hello! It is you. Shall we?"


@pytest.fixture(params=["kokoro", "cosyvoice2"])
def synthesizer(request) -> Synthesizer:
    return request.getfixturevalue(request.param)


def spoken(synthesizer: Synthesizer, text: str, delivery: Delivery, seed: int = 0) -> np.ndarray:
    pieces = [piece.samples for piece in synthesizer.synthesize(text, delivery, seed=seed)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def test_it_follows_the_protocol(synthesizer):
    assert isinstance(synthesizer, Synthesizer) and synthesizer.hz == 24_000


def test_every_emotion_gives_finite_mono_sound_of_its_own(synthesizer):
    sounds = set()
    for name in emotion.NAMES:
        pieces = list(synthesizer.synthesize("Hello.", Delivery(name)))
        for piece in pieces:
            assert isinstance(piece, Audio) and piece.hz == synthesizer.hz
            assert piece.samples.dtype == np.float32 and piece.samples.ndim == 1 and len(piece.samples)
            assert np.isfinite(piece.samples).all() and np.abs(piece.samples).max() <= 1
        sounds.add(b"".join(piece.samples.tobytes() for piece in pieces))
    assert len(sounds) == len(emotion.NAMES)


def test_the_same_seed_gives_the_same_bytes(synthesizer):
    first, again = (spoken(synthesizer, TEXT, Delivery("happy"), seed=3) for _ in range(2))
    assert len(first) and first.tobytes() == again.tobytes()


def test_sound_arrives_piece_by_piece(synthesizer):
    pieces = list(synthesizer.synthesize(TEXT, Delivery("neutral")))
    assert len(pieces) >= len(split_clauses(TEXT)) == 3


def test_closing_early_leaves_nothing_behind(synthesizer):
    expected = spoken(synthesizer, TEXT, Delivery("calm"))
    begun = synthesizer.synthesize(TEXT, Delivery("angry"), seed=5)
    next(begun)
    begun.close()
    assert next(begun, None) is None
    assert spoken(synthesizer, TEXT, Delivery("calm")).tobytes() == expected.tobytes()


@pytest.mark.slow
def test_two_replies_at_once_do_not_mix(synthesizer):
    deliveries = Delivery("happy"), Delivery("sad")
    alone = [spoken(synthesizer, TEXT, delivery) for delivery in deliveries]
    pieces: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    streams = [synthesizer.synthesize(TEXT, delivery) for delivery in deliveries]
    for happy, sad in itertools.zip_longest(*streams):
        for found, piece in ((pieces[0], happy), (pieces[1], sad)):
            if piece is not None:
                found.append(piece.samples)
    for expected, found in zip(alone, pieces, strict=True):
        assert np.concatenate(found).tobytes() == expected.tobytes()


def test_text_without_words_gives_nothing(synthesizer):
    for text in ("", "   ", "?!", "... - !", "🙂 …"):
        assert list(synthesizer.synthesize(text, Delivery("happy"))) == [], text


def test_other_names_of_an_emotion_are_understood(synthesizer):
    joyful, happy = (spoken(synthesizer, "Hello.", Delivery(name)) for name in ("joy", "happy"))
    assert joyful.tobytes() == happy.tobytes()


def test_an_unknown_emotion_is_an_error_with_the_allowed_names(synthesizer):
    with pytest.raises(EmotionOmniError, match="'blue'.*neutral, happy, sad") as caught:
        list(synthesizer.synthesize("Hello.", Delivery("blue")))
    assert caught.value.code == "unknown-emotion"


def test_an_unknown_voice_is_an_error(synthesizer):
    with pytest.raises(EmotionOmniError, match="'nobody'") as caught:
        list(synthesizer.synthesize("Hello.", Delivery("happy", voice="nobody")))
    assert caught.value.code == "unknown-voice"


@pytest.mark.slow
def test_no_intensity_is_neutral(synthesizer):
    flat, neutral = spoken(synthesizer, TEXT, Delivery("sad", 0.0)), spoken(synthesizer, TEXT, Delivery("neutral"))
    assert flat.tobytes() == neutral.tobytes()
    assert spoken(synthesizer, TEXT, Delivery("sad")).tobytes() != flat.tobytes()


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_the_rate_changes_the_length(synthesizer, rate):
    usual = len(spoken(synthesizer, "It is so good to see you.", Delivery("neutral")))
    changed = len(spoken(synthesizer, "It is so good to see you.", Delivery("neutral", rate=rate)))
    assert 0.75 * usual / rate < changed < 1.4 * usual / rate


@pytest.mark.parametrize(
    "delivery", [Delivery("sad", -0.1), Delivery("sad", 2.1), Delivery("sad", math.nan), Delivery("sad", rate=0.0)]
)
def test_a_delivery_out_of_range_is_refused_with_the_range(delivery):
    with pytest.raises(EmotionOmniError, match=r"must be from 0\.\d to 2\.0") as caught:
        check_delivery(delivery)
    assert caught.value.code == "delivery"


def test_clauses_join_to_the_text():
    text = "Oh no! That must have been hard, and " + "very " * 60 + "long. Is it? " + "x" * 400
    clauses = split_clauses(text)
    assert "".join(clauses) == text and max(map(len, clauses)) <= MAX_CLAUSE
    assert clauses[:2] == ["Oh no! ", "That must have been hard,"], "at the last comma within the limit"
