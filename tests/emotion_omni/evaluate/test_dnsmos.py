"""DNSMOS: noise sounds worse than speech, and short clips are repeated."""

from __future__ import annotations

import pytest
from conftest import noise

from emotion_omni.evaluate.dnsmos import DNSMOS
from emotion_omni.types import Audio


@pytest.mark.slow
def test_noise_sounds_worse_than_speech(spoken):
    judge = DNSMOS.load()
    clean, noisy = judge.scores(spoken), judge.scores(noise(2.0))
    assert clean["overall"] > 2.8 > noisy["overall"]
    hiss = noise(spoken.seconds, level=0.02).samples[: len(spoken.samples)]
    assert judge.scores(Audio(spoken.samples + hiss, spoken.hz))["background"] < clean["background"] - 0.3
    assert judge.scores(noise(0.3)).keys() == {"speech", "background", "overall"}
