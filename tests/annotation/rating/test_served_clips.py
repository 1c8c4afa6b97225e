"""Copies of clips: each assignment's own, and none that sounds different."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import soundfile

from annotation.rating.served_clips import ServedClips, altered
from annotation.study import checks
from annotation.study.clips import flac, flac_pcm
from emotion_omni.types import Audio


def decoded(data: bytes) -> np.ndarray:
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return samples.astype(np.int32)


def speech() -> bytes:
    return flac(checks.spoken("asks-dog"))


def test_an_assignment_gets_the_same_bytes_each_time_and_another_one_others() -> None:
    served, data = ServedClips(b"secret"), speech()
    copy = served.copy(data, "a", 0)
    assert copy == ServedClips(b"secret").copy(data, "a", 0)  # after a restart
    others = [served.copy(data, "b", 0), served.copy(data, "a", 1), ServedClips(b"other").copy(data, "a", 0), data]
    for other in others:
        assert not np.array_equal(decoded(copy), decoded(other))


def test_copies_differ_by_nothing_that_can_be_heard() -> None:
    original = decoded(speech())
    for number in range(5):
        copy = decoded(altered(speech(), bytes([number]) * 32))
        assert len(copy) == len(original)
        gain = np.sum(copy * original) / np.sum(original * original)
        assert abs(20 * np.log10(gain)) <= 0.051
        assert np.abs(copy - gain * original).max() <= 2


@pytest.mark.parametrize("level", [32767, -32768])
def test_full_scale_does_not_wrap_around(level: int) -> None:
    loud = flac_pcm(np.full(2400, level, dtype=np.int16), 24_000)
    assert all(np.all(np.sign(decoded(altered(loud, bytes([n]) * 32))) == np.sign(level)) for n in range(8))


def test_silence_is_unlike_other_silence() -> None:
    quiet = flac(Audio(np.zeros(2400, dtype=np.float32), 24_000))
    one, other = (decoded(altered(quiet, bytes([number]) * 32)) for number in range(2))
    assert not np.array_equal(one, other) and np.abs(one).max() <= 1


def test_a_copy_of_four_seconds_is_made_quickly() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * 24_000).astype(np.float32)
    data, times = flac(Audio(noise, 24_000)), []
    for number in range(10):
        began = time.process_time()
        altered(data, bytes([number]) * 32)
        times.append(time.process_time() - began)
    assert sorted(times)[5] < 0.02
