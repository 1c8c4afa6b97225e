"""Evaluating a voice: who is judged against whom, and what counts as heard, rising and alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from emotion_omni import cli, emotion
from emotion_omni.evaluate import synthesis
from emotion_omni.evaluate.speaker_similarity import PART, SpeakerEmbedder
from emotion_omni.evaluate.speech_quality import SEGMENT, SpeechQuality, _segments
from emotion_omni.evaluate.synthesis import Clip, Options
from emotion_omni.fake import FakeEngine
from emotion_omni.types import Audio, SpeakerEstimate

HZ = 16_000


class LoudnessRecognizer:
    """Hears an emotion by the pitch of a tone, and counts the clips it knows of the voice."""

    def features(self, sound: Audio) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(sound.samples))
        return np.array([np.argmax(spectrum) / sound.seconds, np.sqrt(np.mean(sound.samples**2))], np.float32)

    def classify(self, features, speaker):
        turns = speaker.turns if speaker else 0
        label = emotion.NAMES[int(features[0] // 100) % len(emotion.NAMES)]
        weights = dict.fromkeys(emotion.NAMES, 0.1) | {label: 1.0 + turns}
        return emotion.mixture(weights), SpeakerEstimate(turns + 1, features, "loudness")


def tone(number: int, level: float = 0.2) -> Audio:
    times = np.arange(HZ) / HZ
    return Audio((level * np.sin(2 * np.pi * (100 * number + 50) * times)).astype(np.float32), HZ)


def clips(voice: str = "a", level: float = 0.2) -> list[Clip]:
    return [Clip(voice, label, 1.0, "Hello.", tone(number, level)) for number, label in enumerate(emotion.NAMES)]


def test_a_clip_is_judged_knowing_the_other_clips_of_its_voice_alone():
    both = [*clips("a"), *clips("b")]
    heard = synthesis.judge(LoudnessRecognizer(), both, lambda text: None, "loudness")
    assert all(felt.label == clip.emotion for clip, felt in heard.items())
    confidences = {round(felt.confidence, 6) for felt in heard.values()}
    assert len(confidences) == 1, "each knows the same number of other clips"
    alone = synthesis.judge(LoudnessRecognizer(), both[:1], lambda text: None, "loudness")[both[0]]
    assert heard[both[0]].confidence > alone.confidence


def test_loudness_gives_nothing_away():
    recognizer = LoudnessRecognizer()
    quiet, loud = clips(level=0.01)[1], clips(level=0.5)[1]
    assert recognizer.features(quiet.equalized) == pytest.approx(recognizer.features(loud.equalized), rel=1e-3)


def test_recall_confusion_and_quadrants():
    chosen = clips()
    heard = {clip: emotion.one_hot(clip.emotion) for clip in chosen}
    perfect = synthesis.heard_row(chosen, heard)
    assert perfect["uar"] == 1 and perfect["right_quadrant"] == 1 and perfect["by_voice"] == {"a": 1}
    anger_as_fear = heard | {chosen[3]: emotion.one_hot("fearful"), chosen[0]: emotion.one_hot("calm")}
    row = synthesis.heard_row(chosen, anger_as_fear)
    assert row["confusion"]["angry"]["fearful"] == 1 and row["recall"]["angry"] == 0
    assert row["right_quadrant"] == 7 / 8, "anger and fear are in one quadrant; neutral is like nothing else"


def test_a_voice_that_ignores_intensity_is_not_monotone():
    graded = [Clip("a", "sad", intensity, "Hello.", tone(2)) for intensity in synthesis.INTENSITIES]
    others = [
        Clip("a", label, intensity, "Hello.", tone(2))
        for label in emotion.NAMES[1:]
        if label != "sad"
        for intensity in synthesis.INTENSITIES
    ]
    flat = {clip: emotion.one_hot(clip.emotion) for clip in [*graded, *others]}
    assert synthesis.by_intensity([*graded, *others], flat)["monotone"] == 0
    rising = flat | {clip: emotion.mixture({"sad": clip.intensity, "neutral": 1.0}) for clip in graded}
    found = synthesis.by_intensity([*graded, *others], rising)
    assert found["sad"]["monotone"] and found["monotone"] == 1


def test_every_voice_speaks_every_emotion_and_intensity():
    spoken = list(synthesis.speak_all(FakeEngine(), Options(("a", "b"), sentences=3), lambda text: None))
    assert len({(clip.voice, clip.emotion, clip.intensity, clip.sentence) for clip in spoken}) == len(spoken)
    assert sum(clip.intensity == 1 for clip in spoken) == 2 * len(emotion.NAMES) * 3
    assert sum(clip.intensity < 1 for clip in spoken) == 2 * (len(emotion.NAMES) - 1) * 2 * 3


def test_quality_reads_clips_of_any_length():
    for seconds, segments in ((0.5, 1), (7.68, 1), (9.0, 3)):
        found = _segments(torch.full((int(seconds * HZ),), 0.25))
        assert found.shape == (segments, SEGMENT) and found.max() == pytest.approx(1)
    assert 0 < SpeechQuality().eval()(_segments(torch.randn(HZ))).item() < 1


def test_an_embedding_has_length_one_and_does_not_depend_on_the_level():
    embedder = SpeakerEmbedder().eval()
    noise = np.random.default_rng(0).normal(0, 0.1, HZ).astype(np.float32)
    one, other = embedder.embed(Audio(noise, HZ)), embedder.embed(Audio(noise / 4, HZ))
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5) and one == pytest.approx(other, abs=1e-4)
    assert embedder._parts(torch.randn(100)).shape == (1, PART, 40)


@pytest.mark.slow
def test_the_command_writes_report_and_samples(embedded, tmp_path, capsys):
    words = ["evaluate", "--only", "synthesis", "--voices", "af_heart", "--sentences", "1", "--out", str(tmp_path)]
    assert cli.main([*words, "--samples", str(tmp_path / "samples"), "--json"]) == 0
    report = json.loads((tmp_path / "synthesis.json").read_text(encoding="utf-8"))
    assert report["clips"] == 8 + 7 * 3 and len(list((tmp_path / "samples").iterdir())) == 8
    assert report["cost"]["neutral"]["similarity"] == 1 and report["cost"]["neutral"]["mos"] > 3.5
    assert abs(report["cost"]["angry"]["louder_lu"]) < 1
    capsys.readouterr()
