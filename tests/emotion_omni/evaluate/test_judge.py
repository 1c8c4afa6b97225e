"""A judge behind a server, and how far it agrees with people."""

from __future__ import annotations

import json

import chat_server
import numpy as np
import pytest

from emotion_omni.evaluate import judge_calibration as calibration
from emotion_omni.evaluate.judge import MODEL, RUBRICS, URL, Case, Judge, value_in
from emotion_omni.evaluate.measure import NotRun
from emotion_omni.types import EmotionOmniError

CASE = Case("my dog ran away", "sad", "I am so sorry.")


@pytest.fixture
def server():
    with chat_server.serve() as running:
        yield running


def answering(text):
    return lambda body: iter([text[:7], text[7:]])


def test_it_asks_once_for_a_case(server, tmp_path):
    server.write = answering("It meets the sadness. [[4]]")
    judge = Judge(server.url, "big", tmp_path / "known.jsonl")
    assert judge.rate(RUBRICS["empathy"], CASE) == 4 and judge.rate(RUBRICS["empathy"], CASE) == 4
    again = Judge(server.url, "big", tmp_path / "known.jsonl")
    assert again.rate(RUBRICS["empathy"], CASE) == 4 and len(server.requests) == 1
    asked = json.dumps(server.requests[0]["messages"])
    assert "my dog ran away" in asked and "sad" in asked and "deep alignment" in asked
    assert server.requests[0]["temperature"] == 0


@pytest.mark.parametrize(
    ("text", "value"), [("[[3]] or rather [[ 4 ]]", 4), ("Rating: [[9]]", None), ("four", None), ("[[2.5]]", 2.5)]
)
def test_the_number_is_the_last_one_on_the_scale(text, value):
    assert value_in(text, RUBRICS["empathy"]) == value


def test_a_judge_without_a_number_is_no_verdict(server, tmp_path):
    server.write = answering("I would rather not say.")
    judge = Judge(server.url, "big", tmp_path / "known.jsonl")
    assert judge.rate(RUBRICS["direction"], CASE) is None and not (tmp_path / "known.jsonl").exists()


def test_without_a_server_it_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.delenv(URL, raising=False)
    with pytest.raises(NotRun, match=f"{URL}.*{MODEL}"):
        Judge.from_environment(tmp_path)


# --- calibration --------------------------------------------------------------------------------------------------


def export(folder, ratings, mode="both"):
    """``ratings``: item → rater → value of 1 to 5; as python -m annotation export writes it."""
    folder.mkdir(exist_ok=True)
    heard = json.dumps({"reply": {"heard": {"sad": 0.9, "happy": 0.1}}})
    items = [
        {"item": name, "mode": mode, "query_text": f"words {name}", "reply_text": "well " * (n + 1), "about": heard}
        for n, name in enumerate(ratings)
    ]
    rows = [
        {"item": name, "rater": rater, "scale": "empathy", "value_number": value}
        for name, of in ratings.items()
        for rater, value in of.items()
    ]
    for name, content in (("items", items), ("ratings", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    return folder


def rated(seed=0, raters=4, noise=0.7):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 5, 30)
    return truth, {
        f"i{n}": {f"r{k}": float(np.clip(round(value + rng.normal(0, noise)), 1, 5)) for k in range(raters)}
        for n, value in enumerate(truth)
    }


class Fixed:
    """A judge with given verdicts."""

    def __init__(self, values):
        self.values = values

    def rate(self, rubric, case, seed=0):
        return self.values.get(case.words)


def test_a_good_judge_agrees_like_a_rater_and_a_bad_one_is_marked(tmp_path):
    truth, ratings = rated()
    folder = export(tmp_path / "e", ratings)
    good = {f"words i{n}": float(np.clip(round(v), 1, 5)) for n, v in enumerate(truth)}
    found = calibration.calibrate(Fixed(good), folder, lambda text: None)
    assert found["judge_with_raters"] > 0.7 and found["agrees_less_than_raters"] is False and found["items"] == 30
    rng = np.random.default_rng(1)
    bad = {name: float(rng.integers(1, 6)) for name in good}
    assert calibration.calibrate(Fixed(bad), folder, lambda text: None)["agrees_less_than_raters"] is True


def test_a_judge_that_likes_length_shows_it(tmp_path):
    _, ratings = rated()
    folder = export(tmp_path / "e", ratings)
    long_is_good = {f"words i{n}": 1 + 4 * n / 29 for n in range(30)}
    assert calibration.calibrate(Fixed(long_is_good), folder, lambda text: None)["length_bias"] > 0.5


def test_the_tone_comes_from_what_was_heard(tmp_path):
    ((one, *_), pairs) = calibration.read(export(tmp_path / "e", rated()[1]))
    assert one.case.tone == "sad" and 0 <= one.mean <= 1 and not pairs


class FirstPlace:
    def rate(self, rubric, case, seed=0):
        return 1.0


def test_a_judge_that_follows_the_place():
    pairs = [(Case("w", "sad", "a"), Case("w", "sad", "b"))] * 4
    assert calibration.position(FirstPlace(), pairs) == {"pairs": 4, "first_place_wins": 1.0, "follows_the_place": 1.0}


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(EmotionOmniError, match="annotation export"):
        calibration.read(tmp_path)
    export(tmp_path / "e", {})
    with pytest.raises(EmotionOmniError, match="no rated replies"):
        calibration.read(tmp_path / "e")
