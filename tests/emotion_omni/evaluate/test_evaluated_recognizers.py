"""Every kind of recognizer in the one form that evaluation knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import music

from emotion_omni import emotion
from emotion_omni.evaluate import evaluated_recognizers as recognizers
from emotion_omni.types import EmotionOmniError, SpeakerEstimate, Turn


class Head:
    """The interface of a head: features of the frames in which somebody speaks, classified for a speaker."""

    def features(self, hidden_states: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
        self.states, self.speech = hidden_states, speech
        return hidden_states[-1, speech].mean(0)

    def classify(self, features: torch.Tensor, speaker: SpeakerEstimate | None = None):
        turns = speaker.turns if speaker else 0
        return emotion.one_hot(emotion.NAMES[turns]), SpeakerEstimate(turns + 1, np.zeros(1, np.float32), "head")


@pytest.fixture(scope="module")
def clips(spoken, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    sounds = {"speech": spoken.samples, "music": music(3).samples, "paused": np.pad(spoken.samples, (16_000, 16_000))}
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    return {name: folder / f"{name}.wav" for name in sounds}


def test_the_embedded_recognizer_gives_the_heads_features_of_the_speech(embedded, clips):
    head = Head()
    ours = recognizers.EmbeddedRecognizer("embedded", replace(embedded.recognizer, emotion_head=head), "1", Path("x"))
    found = ours.extract(clips["speech"])
    assert found.features.shape == (head.states.shape[2],) and found.words > 5 and not found.refused
    assert len(head.speech) == head.states.shape[1] and 0.5 < head.speech.float().mean() <= 1
    felt, speaker = ours.classify(found.features, None)
    assert felt.label == emotion.NAMES[0] and ours.classify(found.features, speaker)[0].label == emotion.NAMES[1]


def test_what_an_engine_refuses_is_refused_with_its_code(embedded, clips):
    ours = recognizers.AnyRecognizer("any", embedded.recognizer, "1", Path("x"))
    found = ours.extract(clips["music"])
    assert found.features is None and found.refused == "no-speech"


def test_any_recognizer_is_judged_by_its_probabilities(embedded, clips, spoken):
    ours = recognizers.AnyRecognizer("any", embedded.recognizer, "1", Path("x"))
    found = ours.extract(clips["speech"])
    felt, speaker = ours.classify(found.features, None)
    whole = embedded.recognizer.recognize(Turn(spoken)).emotion
    assert speaker is None and ours.why_no_speaker and found.words > 5
    assert felt.probabilities == pytest.approx(dict(whole.probabilities), abs=0.05), "up to 16 bits of the file"


def test_the_second_recognizer_knows_voices_and_no_words(clips):
    ours = recognizers.load("functionals")
    found = ours.extract(clips["speech"])
    assert found.words is None and ours.classify(found.features, None)[1].turns == 1
    assert ours.features_identity != ours.identity and ours.tone_milliseconds() is None


@pytest.mark.parametrize("name", ["omni:x", "fake", "nobody"])
def test_what_has_no_recognizer_of_its_own_is_refused(name):
    with pytest.raises(EmotionOmniError) as error:
        recognizers.load(name)
    assert error.value.code == "unknown-engine"
