"""Preparing a recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import EXAMPLES, noise

from emotion_omni import audio
from emotion_omni.omni.encoders import prepare
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import Audio, EmotionOmniError


@pytest.mark.parametrize("hz", [8000, 16_000, 44_100])
@pytest.mark.parametrize("loudness", [0.02, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_whatever_comes_in_leaves_at_16_khz_and_one_level(hz, loudness, channels):
    heard = np.stack([loudness * noise(1.0, hz).samples + 0.01] * channels, axis=1)
    prepared = prepare(audio.from_array(heard, hz))
    assert prepared.dtype == np.float32 and prepared.ndim == 1
    assert abs(len(prepared) - HZ) <= 1
    assert audio.dbfs(prepared) == pytest.approx(audio.SPEECH_DBFS, abs=0.01)
    assert abs(prepared.mean()) < 1e-4


def test_neither_gain_nor_offset_of_the_recorder_reaches_an_encoder(make):
    speech = audio.decode(EXAMPLES / "1-sad.wav")
    assert speech.hz != HZ  # so that it is resampled
    loud = Audio(speech.samples / np.abs(speech.samples).max(), speech.hz)
    quiet = Audio(loud.samples * np.float32(0.1) + np.float32(0.05), speech.hz)
    assert np.abs(prepare(loud) - prepare(quiet)).max() < 1e-4
    frames, _ = make("semantic random")([prepare(loud), prepare(quiet)])
    assert torch.allclose(frames[0], frames[1], atol=1e-3)


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(0), "silent"),
        (np.zeros(HZ), "silent"),
        (np.full(HZ, 0.3), "silent"),
        (noise(0.1).samples, "too-short"),
        (noise(60.1, 8000).samples, "too-long"),
        (np.array([np.nan] * HZ), "not-finite"),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_name(samples, code):
    with pytest.raises(EmotionOmniError) as caught:
        prepare(Audio(samples.astype(np.float32), 8000 if code == "too-long" else HZ))
    assert caught.value.code == code
