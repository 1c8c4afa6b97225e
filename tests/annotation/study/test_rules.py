"""The rules of a study and the values of its scales: what is allowed, and read back as it was."""

from __future__ import annotations

import json

import pytest

from annotation.study.rules import Study
from annotation.study.scales import SCALES
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"titel": "x"}, "Did you mean 'title'"),
        ({"title": ""}, "needs a title"),
        ({"template": "mos"}, "one of emotion-recognition"),
        ({"ratings_per_item": 0}, "from 1 to 1000"),
        ({"ratings_per_item": 2.5}, "from 1 to 1000"),
        ({"block_size": True}, "a number"),
        ({"guess_hidden_share": 1.5}, "from 0 to 1"),
        ({"guess_hidden_share": float("nan")}, "from 0 to 1"),
        ({"cohorts": "north"}, "a list"),
        ({"access": "secret"}, "one of open, invited"),
        ({"split": "train"}, "one of evaluation, training"),
        ({"title": "x" * 121}, "120"),
        ({"consent": [1]}, "a list of texts"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_what_is_allowed(settings: dict, told: str) -> None:
    with pytest.raises(EmotionOmniError, match=told):
        Study.read({"title": "t", "template": "empathy"} | settings)


def test_rules_read_back_as_they_were() -> None:
    rules = Study.read({"title": "t", "template": "compare", "cohorts": ["north"], "block_minutes": 12.5})
    assert Study.read(json.loads(json.dumps(rules.settings()))) == rules


@pytest.mark.parametrize("name", list(SCALES))
def test_every_value_of_a_scale_is_taken_and_stored_as_it_is(name: str) -> None:
    scale = SCALES[name]
    for value in scale.values:
        given = [value] if scale.kind == "several" else value
        assert scale.check(given) == given
    json.dumps(scale.form())
