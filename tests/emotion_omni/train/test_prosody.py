"""The search for prosody: from manners to settings, samples that are kept, the surface and the way up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_omni import emotion
from emotion_omni.recognition.speech_emotion import HeadConfig, SpeechEmotionHead
from emotion_omni.synthesis import prosody as settings_of
from emotion_omni.train import prosody, prosody_manners
from emotion_omni.train.part_settings import ProsodySettings
from emotion_omni.train.prosody_judges import Judge, Judges

EMOTIONS = len(emotion.NAMES)
WIDTH = len(prosody.PARAMETERS)
FEATURES = HeadConfig().features


def test_a_manner_of_nothing_is_the_voice_as_it_is():
    assert prosody._row(prosody.prosody_of(np.zeros(WIDTH))) == {}


def test_a_manner_is_cut_to_its_bounds():
    far = prosody.prosody_of(np.full(WIDTH, 99.0))
    assert far.pitch == 4 and far.pitch_range == pytest.approx(np.exp(0.75)) and far.style["af_bella"] == 1
    assert prosody.prosody_of(np.full(WIDTH, -99.0)).tremor == 0


def test_settings_are_written_as_they_are_read(tmp_path, monkeypatch):
    names = {parameter.direction for parameter in prosody.PARAMETERS if parameter.direction}
    monkeypatch.setattr(prosody, "directions", lambda: {name: np.ones(256, np.float32) for name in names})
    manners = np.random.default_rng(0).normal(0, 0.5, (EMOTIONS, WIDTH))
    prosody.write(manners, tmp_path)
    read = settings_of.read(tmp_path / "prosody.json")
    assert read.keys() == set(emotion.NAMES)
    for label, manner in zip(emotion.NAMES, manners, strict=True):
        assert read[label].pitch == pytest.approx(prosody.prosody_of(manner).pitch, abs=1e-3)
        assert read[label].style.keys() <= names


def test_samples_are_kept_and_a_second_call_goes_on(tmp_path, monkeypatch):
    spoken = []

    class Stand:
        def sample(self, manner, voice, sentence):
            spoken.append(voice)
            row = {"manner": manner, "change": np.ones(3), "neutral": np.zeros(3), "quality": 0.0, "alike": 1.0}
            return row | {"is_female": voice[1] == "f"}

    monkeypatch.setattr(prosody, "Sampler", Stand)
    prosody.collect(tmp_path, 0, 12, None, seed=1)
    prosody.collect(tmp_path, 0, 20, None, seed=1)
    assert len(spoken) == 20 and len(prosody.read_samples(tmp_path).manners) == 20


def test_a_surface_says_what_was_measured():
    rng = np.random.default_rng(0)
    manners = rng.normal(0, 0.3, (600, WIDTH))
    changes = np.stack([2 * manners[:, 0], manners[:, 1] ** 2], 1)
    is_female = rng.random(600) < 0.5
    samples = prosody.Samples(manners, changes, manners[:, 2], 1 + manners[:, 3], is_female, np.zeros((2, 2)))
    surface = prosody.fit_surface(samples, 0.1)
    x = prosody.terms(torch.from_numpy(manners).float(), torch.from_numpy(is_female))
    assert (x @ surface.features).numpy() == pytest.approx(changes, abs=0.05)
    assert (x @ surface.quality).numpy() == pytest.approx(manners[:, 2], abs=0.05)
    assert (x @ surface.alike).numpy() == pytest.approx(manners[:, 3], abs=0.05)


def surface_and_judges() -> tuple[prosody.Surface, Judges]:
    """Parameter e of a manner makes emotion e, which costs quality."""
    size = prosody.terms(torch.zeros(1, WIDTH), torch.zeros(1)).shape[1]
    features = torch.zeros(size, FEATURES)
    features[range(1, EMOTIONS), range(1, EMOTIONS)] = 1.0
    quality = torch.zeros(size)
    quality[4] = -1.0  # being fearful sounds bad
    weight = torch.zeros(EMOTIONS, FEATURES)
    weight[range(EMOTIONS), range(EMOTIONS)] = 4.0
    judge = Judge(slice(0, FEATURES), torch.arange(EMOTIONS), weight, torch.zeros(EMOTIONS))
    head = SpeechEmotionHead(HeadConfig()).eval()
    return (
        prosody.Surface(features, quality, torch.zeros(size)),
        Judges((judge,), torch.zeros(FEATURES), torch.ones(FEATURES), head),
    )


def test_the_way_up_finds_what_makes_each_emotion_and_spares_quality():
    surface, judges = surface_and_judges()
    chosen = ProsodySettings(steps=200, restraint=0.05, most_loss=0.1)
    manners = prosody.climb(surface, judges, np.zeros((2, FEATURES)), chosen)
    strongest = manners[1:, 1:EMOTIONS].argmax(1) + 1
    assert list(strongest) == list(range(1, EMOTIONS))
    assert manners[4, 4] < 0.5 * manners[1, 1]
    assert not manners[0, prosody.IS_DIRECTION.numpy()].any(), "neutral keeps the style of its voice"


def test_principal_components_hold_no_gender():
    rng = np.random.default_rng(0)
    is_male = np.arange(40) % 2 == 0
    voices = rng.normal(0, 1, (40, 10)) + 5 * is_male[:, None] * np.eye(10)[0]
    found = prosody_manners._components(voices, is_male, 3)
    difference = voices[is_male].mean(0) - voices[~is_male].mean(0)
    assert found @ (difference / np.linalg.norm(difference)) == pytest.approx(0, abs=1e-8)


def test_a_draw_near_an_emotion_is_like_it():
    rng, around = np.random.default_rng(0), np.zeros((EMOTIONS, WIDTH))
    around[:, 0] = 10
    drawn = np.stack([prosody.draw(around, rng) for _ in range(50)])
    assert drawn[:, 0].min() > 4 and np.abs(drawn[:, 1:]).max() < 3


@pytest.mark.slow
def test_a_manner_is_spoken_and_measured(embedded):
    sampler = prosody.Sampler()
    manner = np.zeros(WIDTH)
    same = sampler.sample(manner, "af_heart", prosody.SENTENCES[0])
    assert not same["change"].any() and same["quality"] == 0 and same["alike"] == pytest.approx(1, abs=1e-5)
    manner[0] = 1.0
    higher = sampler.sample(manner, "af_heart", prosody.SENTENCES[0])
    assert np.abs(higher["change"]).max() > 0.01 and higher["alike"] < 1 and isinstance(higher["quality"], float)


def test_the_best_of_several_is_heard_and_sounds_well():
    """Candidate 0 of anger sounds bad, 1 is heard as meant, 2 (their mean) less so."""
    _, judges = surface_and_judges()

    class Room:
        def sample(self, manner, voice, sentence):
            change = np.zeros(FEATURES, np.float32)
            change[:EMOTIONS] = manner[:EMOTIONS]
            quality = -1.0 if manner[20] > 0.9 else 0.0
            return {"change": change, "neutral": np.zeros(FEATURES, np.float32), "quality": quality, "alike": 1.0}

    tops = np.zeros((2, EMOTIONS, WIDTH))
    tops[:, range(EMOTIONS), range(EMOTIONS)] = 1
    tops[0, 3, 3], tops[0, 3, 20] = 3, 1
    tops[1, 5, 5] = 0
    manners = prosody.choose(Room(), tops, judges, ProsodySettings(most_loss=0.1))
    assert manners[3, 3] == 2 and manners[3, 20] == 0.5, "the mean is well heard and sounds well"
    assert manners[5, 5] == 1
