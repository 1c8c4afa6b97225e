"""The recognizer of the embedded engine against independent references, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import noise, tone

from emotion_omni import audio, emotion, weights
from emotion_omni.recognition.whisper_encoder import HOP, HZ, WINDOW_SECONDS, mel_filters, valid_frames
from emotion_omni.types import Audio, Delivery, Turn


def test_mel_filters_are_those_of_transformers():
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(201, 80, 0.0, 8000.0, HZ, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(mel_filters().numpy(), theirs, atol=1e-6)


def test_the_encoder_is_ctranslate2s(embedded, spoken):
    """Ours in torch, layer by layer, against the library that decodes from it."""
    import ctranslate2

    ear = embedded.recognizer
    states = ear.encoder.hidden_states(spoken.samples)
    padding = HZ + (-len(spoken.samples)) % (2 * HOP)
    mel = ear.encoder.log_mel(torch.nn.functional.pad(torch.from_numpy(spoken.samples), (0, padding))[None])
    folder = weights.fetch("whisper-base/model.bin").parent
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32")
    theirs = np.array(model.encode(ctranslate2.StorageView.from_array(mel.numpy()), to_cpu=True))[0]
    np.testing.assert_allclose(states[-1].numpy(), theirs, atol=2e-3)
    assert states.shape[0] == ear.encoder.layers + 1 and valid_frames(len(spoken.samples)) < states.shape[1]


def test_loudness_and_silence_do_not_change_the_tone(embedded, spoken):
    """Level and pauses must not look like an emotion: the same speech 30 dB softer between two silences."""
    quiet = np.concatenate([np.zeros(HZ), spoken.samples * 10 ** (-30 / 20), np.zeros(2 * HZ)]).astype(np.float32)
    plain = embedded.recognizer.recognize(Turn(spoken))
    padded = embedded.recognizer.recognize(Turn(Audio(quiet, HZ)))
    assert padded.transcript.lower().replace(",", "") == plain.transcript.lower().replace(",", "")
    gap = max(abs(plain.emotion.probabilities[name] - padded.emotion.probabilities[name]) for name in emotion.NAMES)
    assert gap < 0.15
    assert padded.trajectory[0][0] > 1.0, "times count from the start of the recording"


def test_words_survive_rate_and_channels(embedded, spoken):
    for hz in (8_000, 48_000):
        heard = embedded.recognizer.recognize(Turn(audio.resample(spoken, hz)))
        assert "lost my keys" in heard.transcript.lower()


@pytest.mark.parametrize(
    "sentence", ["Congratulations on the selection.", "That will raise questions.", "Something just went wrong."]
)
def test_a_short_sentence_is_heard_once(embedded, sentence):
    """Whisper on a clip with little silence after it says a short sentence again and again."""
    spoken = audio.join(list(embedded.speak(sentence, Delivery("neutral"))))
    heard = embedded.recognizer.recognize(Turn(spoken)).transcript
    assert heard.lower().strip(".!") == sentence.lower().strip("."), heard


@pytest.mark.slow
def test_a_long_turn_is_heard_to_its_end(embedded):
    story = (
        "On Monday I took the train to the coast. The sea was rough, and the hotel had lost my booking. "
        "A fisherman told me about his daughter in Canada. We ate soup and talked about the price of coffee. "
        "On Tuesday the sun came back. I walked to the old lighthouse and counted ninety steps. "
        "My camera fell into the water, which made the children laugh. Then the wind turned, and it was time "
        "to take the last train home. The final word is pineapple."
    )
    told = audio.resample(audio.join(list(embedded.speak(story, Delivery("sad")))), HZ)
    assert told.seconds > WINDOW_SECONDS, "longer than one window of the encoder"
    words = embedded.recognizer.recognize(Turn(told)).transcript.lower()
    assert all(word in words for word in ("coast", "canada", "coffee", "lighthouse", "children", "pineapple")), words


def test_nobody_speaks_in_noise_and_music(embedded):
    from conftest import music

    for sound in (noise(3), music(4), tone(2)):
        assert embedded.recognizer.voice_activity.spans(sound.samples) == []


@pytest.mark.slow
def test_the_tone_head_hears_acted_speech(embedded, speech_packs):
    """The first bar on the test split of three corpora: every third clip, with the margin that so few clips need."""
    from emotion_omni.train.emotion_corpus import read_manifests, unweighted_average_recall

    corpora = ("RAVDESS", "EMO-DB", "nEMO")
    clips = [clip for clip in read_manifests(speech_packs) if clip.source in corpora and clip.split == "test"][::3]
    guesses = []
    for clip in clips:
        heard = embedded.recognizer.recognize(Turn(audio.decode(clip.path), transcript="not of interest here"))
        guesses.append(emotion.NAMES.index(heard.emotion.label))
    found = unweighted_average_recall(np.array(guesses), np.array([clip.label for clip in clips]))
    assert found > 0.70, found
