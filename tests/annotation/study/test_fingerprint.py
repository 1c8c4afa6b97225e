"""Fingerprints find a recording in any form, and nothing else. Speech-like sounds of our own; real speech: README."""

from __future__ import annotations

import numpy as np
import pytest
from disguises import DISGUISES, changed, part

from annotation.study import checks, fingerprint
from annotation.study.fingerprint import FingerprintIndex, waveform_hashes
from emotion_omni.types import Audio

LINES = ("gold-angry", "asks-dog", "kind-dog", "asks-job", "cold-dog", "kind-fire")


@pytest.fixture(scope="module")
def sounds() -> dict[str, Audio]:
    return {name: checks.spoken(name) for name in LINES}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_recording_is_found_in_every_disguise_and_no_other_is(sounds, disguise):
    for name, sound in sounds.items():
        found = fingerprint.fingerprint(DISGUISES[disguise](sound))
        stored = {other: fingerprint.fingerprint(sounds[other]).stored for other in LINES}
        assert FingerprintIndex([stored.pop(name)]).holds(found), name
        assert not FingerprintIndex(list(stored.values())).holds(found), name


def test_an_index_of_many_finds_the_one(sounds):
    random = np.random.default_rng(1)
    many = [fingerprint.encode(random.integers(0, 1 << 16, 50).astype("<u2")) for _ in range(2000)]
    wanted = fingerprint.fingerprint(DISGUISES["opus"](sounds["kind-dog"]))
    assert not FingerprintIndex(many).holds(wanted)
    assert FingerprintIndex([*many, fingerprint.fingerprint(sounds["kind-dog"]).stored]).holds(wanted)
    assert not FingerprintIndex([]).holds(wanted)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.3, 3.0])
def test_silence_steady_and_short_sounds_have_no_fingerprint(seconds):
    time = np.arange(int(16000 * seconds)) / 16000
    for samples in (np.zeros(len(time)), 0.3 * np.sin(2 * np.pi * 220 * time)):
        assert fingerprint.fingerprint(Audio(samples.astype(np.float32), 16000)) is None


def test_a_copy_with_another_gain_of_a_sound_without_fingerprint_is_found(sounds):
    short = part(sounds["asks-dog"], 0.3, 0.4)
    assert fingerprint.fingerprint(short) is None and len(waveform_hashes(short)) == 3
    rounded = np.round(0.9 * short.samples * 32767) / 32767
    assert waveform_hashes(short) & waveform_hashes(changed(short, samples=rounded))
    assert waveform_hashes(short) & waveform_hashes(changed(short, samples=short.samples + 0.1))
    assert not waveform_hashes(short) & waveform_hashes(part(sounds["asks-job"], 0.3, 0.4))
    assert not waveform_hashes(changed(short, samples=np.zeros(9)))
