"""Speech → tokens and a voice, with tiny networks."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise, tone
from tiny_onnx import write_speaker_encoder, write_tokenizer

from emotion_omni.synthesis.onnx_encoders import SpeakerEncoder, SpeechTokenizer, whisper_mel
from emotion_omni.synthesis.voice_prompt import VoicePrompt, prompt_mel
from emotion_omni.types import Audio, EmotionOmniError


@pytest.fixture
def tokenizer(tmp_path) -> SpeechTokenizer:
    return write_tokenizer(tmp_path)


@pytest.fixture
def speaker_encoder(tmp_path) -> SpeakerEncoder:
    return write_speaker_encoder(tmp_path)


def test_speech_becomes_25_tokens_a_second_by_mel_and_length(tokenizer):
    low, high = (tokenizer(tone(2.0, hz, pitch)) - 200 for hz, pitch in ((16_000, 300.0), (24_000, 3000.0)))
    assert low.dtype == np.int64 and len(low) == len(high) == 50
    assert len(set(low[2:-2])) == 1 and low[25] < high[25] < 128  # a steady tone is one band, a higher one another


def test_speech_longer_than_the_tokenizer_hears_is_refused(tokenizer):
    assert len(tokenizer(noise(30.0))) == 750
    with pytest.raises(EmotionOmniError, match=r"31\.0 s.*30 s") as caught:
        tokenizer(noise(31.0))
    assert caught.value.code == "too-long"


def test_the_tokenizers_mel_is_whispers():
    from transformers import WhisperFeatureExtractor

    samples = noise(30.0).samples
    samples[160_000:] *= 1e-6  # under the floor of eight decades
    speech = Audio(samples, 16_000)
    reference = WhisperFeatureExtractor(feature_size=128)(speech.samples, sampling_rate=16_000).input_features[0]
    assert np.allclose(whisper_mel(speech), reference, atol=1e-3)


def test_a_voice_is_made_of_a_recording_however_loud(tokenizer, speaker_encoder):
    loud, quiet, deep = (
        VoicePrompt.of(noise(1.5, seed=seed, level=level), tokenizer, speaker_encoder)
        for seed, level in ((1, 0.2), (1, 0.02), (2, 0.2))
    )
    assert len(loud.tokens) == 37 and loud.mel.shape == (74, 80)  # 1.5 s are 37 tokens and a half
    assert np.allclose(loud.embedding, quiet.embedding, atol=1e-2) and not np.allclose(
        loud.embedding, deep.embedding, atol=1e-1
    )
    assert np.allclose(loud.mel - quiet.mel, np.log(10), atol=0.1)


def test_the_prompts_mel_has_a_steady_tone_in_its_band():
    """Slaney's scale is linear below 1 kHz (15 mels); 8 kHz is 45.2: 81 intervals put 600 Hz in band 15 of 0 to 79."""
    mel = prompt_mel(tone(1.0, 24_000, 600.0))
    assert mel.shape == (50, 80)
    assert set(mel[5:-5].argmax(axis=1)) == {15}


def test_a_voice_whose_mel_does_not_match_its_tokens_is_refused():
    with pytest.raises(EmotionOmniError, match=r"float32 \[9, 80\]") as caught:
        VoicePrompt(np.zeros(192, np.float32), np.zeros(5, np.int64), np.zeros((9, 80), np.float32))
    assert caught.value.code == "voice"


def test_a_voice_comes_back_from_its_file_as_it_was(tmp_path):
    voice = VoicePrompt(
        np.arange(192, dtype=np.float32),
        np.array([5, 6560, 0, 71]),
        np.random.default_rng(0).normal(size=(8, 80)).astype(np.float32),
    )
    voice.save(tmp_path / "voice.safetensors")
    loaded = VoicePrompt.load(tmp_path / "voice.safetensors")
    for name in ("embedding", "tokens", "mel"):
        assert np.array_equal(getattr(loaded, name), getattr(voice, name))
