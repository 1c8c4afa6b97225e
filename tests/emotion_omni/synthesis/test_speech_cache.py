"""Kept phrases: the same samples, made once, never a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emotion_omni.synthesis import speech_cache
from emotion_omni.synthesis.speech_cache import SpeechCache
from emotion_omni.types import Audio, Delivery

SAD = Delivery("sad")


class Counting:
    """Sounds that differ by text and manner; counts what it is asked."""

    hz, voices = 24_000, ("one",)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def synthesize(self, text: str, delivery: Delivery, *, seed: int = 0) -> Iterator[Audio]:
        self.asked.append(text)
        samples = np.random.default_rng(abs(hash((text, delivery)))).normal(size=64).astype(np.float32)
        yield Audio(samples[:40], self.hz)
        yield Audio(samples[40:], self.hz)


def spoken(cache: SpeechCache, text: str, delivery: Delivery = SAD) -> np.ndarray:
    return np.concatenate([one.samples for one in cache.synthesize(text, delivery)])


def test_a_phrase_is_spoken_once_and_always_the_same(tmp_path: Path) -> None:
    inner = Counting()
    cache = SpeechCache(inner, ["Oh no."], tmp_path)
    first = spoken(cache, "Oh no.")
    assert np.array_equal(first, np.concatenate([one.samples for one in Counting().synthesize("Oh no.", SAD)]))
    assert np.array_equal(first, spoken(cache, " Oh no. ")) and inner.asked == ["Oh no."]
    again = SpeechCache(Counting(), ["Oh no."], tmp_path)
    assert np.array_equal(first, spoken(again, "Oh no.")) and not again.inner.asked


def test_other_texts_and_manners_are_not_mixed_up(tmp_path: Path) -> None:
    inner = Counting()
    cache = SpeechCache(inner, ["Oh no."], tmp_path)
    sounds = [
        spoken(cache, "Oh no.", one)
        for one in (SAD, Delivery("happy"), Delivery("sad", 0.5), Delivery("sad", voice="one"))
    ]
    assert len({one.tobytes() for one in sounds}) == 4
    assert len(list(tmp_path.iterdir())) == 2  # manners that a listener chose stay in memory
    for _ in range(2):
        spoken(cache, "Something longer.")
    assert inner.asked.count("Something longer.") == 2


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    first = spoken(SpeechCache(Counting(), ["Oh no."], tmp_path), "Oh no.")
    (path,) = tmp_path.iterdir()
    for damage in (b"", path.read_bytes()[:-8], b"nonsense"):
        path.write_bytes(damage)
        assert np.array_equal(first, spoken(SpeechCache(Counting(), ["Oh no."], tmp_path), "Oh no."))
    assert not list(tmp_path.glob("*.part"))


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(speech_cache, "IN_MEMORY", 3)
    inner = Counting()
    cache = SpeechCache(inner, ["Oh."])
    for step in range(5):
        spoken(cache, "Oh.", Delivery("sad", step / 4))
    spoken(cache, "Oh.", Delivery("sad", 1.0))
    assert len(inner.asked) == 5
    spoken(cache, "Oh.", Delivery("sad", 0.0))
    assert len(inner.asked) == 6
