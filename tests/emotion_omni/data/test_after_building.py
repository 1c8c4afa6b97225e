import json

import numpy as np
import pytest
from corpora import built, small_plan

from annotation.study import importing
from annotation.study.clips import Clips
from annotation.study.source import Source
from emotion_omni import cli
from emotion_omni.data import forecast
from emotion_omni.data.audit import audit
from emotion_omni.data.finish import finish
from emotion_omni.data.statistics import leaks, self_bleu
from emotion_omni.types import EmotionOmniError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    found = built(small_plan(), tmp_path_factory.mktemp("after") / "corpus")
    finish(found, {"samples": [2.0, 4.0] * 12, "tokens": {}})
    return found.folder


def test_the_studio_imports_an_audit(corpus, tmp_path):
    assert cli.main(["data", "audit", "--corpus", str(corpus), "--out", str(tmp_path / "study"), "--clips", "5"]) == 0
    rules, items = importing.read_source(Source.folder(tmp_path / "study"), Clips(tmp_path / "clips"))
    assert len(items) == 5 and rules.template == "emotion-recognition"


def test_an_audit_is_random_but_repeats(corpus, tmp_path):
    ids = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        audit(corpus, tmp_path / name, 6, seed)
        lines = (tmp_path / name / "items.jsonl").read_text().splitlines()
        ids.append([json.loads(line)["corpus_id"] for line in lines])
    assert ids[0] == ids[1] != ids[2]
    with pytest.raises(EmotionOmniError, match="not empty"):
        audit(corpus, tmp_path / "a", 6)
    with pytest.raises(EmotionOmniError, match="no corpus"):
        audit(tmp_path, tmp_path / "d", 6)


def test_a_forecast_scales_the_pilot_and_has_an_interval(corpus):
    found = forecast.forecast(small_plan(), corpus, 200_000, 10)
    hours = found["hours"]
    assert (
        hours["mean"] == pytest.approx(3 * 200_000 / 3600 / 10, abs=0.01)
        and hours["low"] < hours["mean"] < hours["high"]
    )
    assert found["keep_rate"]["low"] < found["keep_rate"]["mean"] <= 1 and found["gigabytes"] > 0
    assert "Forecast for 200000" in forecast.as_text(found)


def test_a_forecast_needs_a_pilot(tmp_path):
    with pytest.raises(EmotionOmniError, match="no times.json"):
        forecast.forecast(small_plan(), tmp_path, 10, 1)


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(60):
        low, high = forecast.interval_of_mean(rng.gamma(2, 2, 60))
        hits += low <= 4 <= high
    assert hits >= 51
    assert forecast.wilson(50, 100) == pytest.approx((0.404, 0.596), abs=0.001)


def test_self_bleu_tells_alike_from_varied():
    alike = ["I am so glad to hear that from you"] * 5
    varied = ["red cats jump", "we ate soup late", "no one came by train", "is it raining", "the desk broke again"]
    assert self_bleu(alike) == pytest.approx(1) and self_bleu(varied) < 0.3 and self_bleu(["one"]) is None


def test_leaks_are_found():
    row = {"turn": 0, "transcript": "Hello there.", "split": "train", "speaker": "a"}
    assert not any(leaks([row]).values())
    assert all(leaks([row, row | {"split": "test", "transcript": "hello there"}]).values())
