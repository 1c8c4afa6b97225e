"""Which turns go before a clip: of whom, in which mood, how many; never the clip itself."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_omni import emotion
from emotion_omni.evaluate import recognition_turns as turns
from emotion_omni.types import SpeakerEstimate

PEOPLE = ["ann"] * 30 + ["bob"] * 30 + ["eve"] * 3
CORPORA = ["one"] * 60 + ["two"] * 3
MOODS = [emotion.NAMES[index % 4] for index in range(63)]


class Recorder:
    """A recognizer that remembers for which estimate it judged a clip: its total lists the clips heard."""

    def __init__(self) -> None:
        self.judged: list[tuple[int, list[int]]] = []

    def __call__(self, clip: int, speaker: SpeakerEstimate | None):
        before = [] if speaker is None else speaker.total.tolist()
        self.judged.append((clip, before))
        marks = np.array([*before, clip])
        return emotion.mixture({"happy": 1 + len(before), "sad": 1.0}), SpeakerEstimate(len(marks), marks, "test")


@pytest.fixture
def voices():
    return turns.Voices(PEOPLE, CORPORA, MOODS, Recorder())


def judged_with(found: list[float]) -> int:
    """How many earlier turns the probabilities of :class:`Recorder` tell."""
    happy, sad = found[emotion.NAMES.index("happy")], found[emotion.NAMES.index("sad")]
    return round(happy / sad) - 1


def test_each_condition_has_its_number_of_turns(voices):
    rows = {(clip, draw): found for clip, draw, found in turns.judge_all(voices, range(63), draws=2)}
    assert len(rows) == 126
    for name, many, few in [("k0", 0, 0), ("k3", 3, 2), ("k20", 20, 2), ("all", 29, 2), ("one_mood_5", 5, None)]:
        assert judged_with(rows[7, 0][name]) == many
        assert judged_with(rows[62, 0][name]) == few if few is not None else name not in rows[62, 0]
    assert judged_with(rows[7, 0]["another_person_5"]) == 5 and "another_person_5" not in rows[62, 0]
    assert "all" not in rows[7, 1], "all other clips are the same in every draw, up to their order"
    conversation = sorted(judged_with(rows[clip, 0]["earlier"]) for clip in range(30))
    assert conversation == list(range(30)), "each turn is judged with all turns before it"


def test_no_clip_is_judged_after_itself_and_estimates_stay_within_a_person(voices):
    list(turns.judge_all(voices, range(30), draws=1))
    strangers = 0
    for clip, before in voices.judge.judged:
        assert clip not in before and len(set(before)) == len(before)
        people = {PEOPLE[one] for one in before}
        assert len(people) <= 1
        strangers += len(before) == 5 and people == {"bob"} and PEOPLE[clip] == "ann"
    assert strangers == 30


def test_turns_in_one_mood_are_of_the_person_in_one_mood(voices):
    by_person, rng = voices.of_person(), np.random.default_rng(0)
    moods = set()
    for _ in range(40):
        found = turns.one_mood(voices, 3, by_person, rng)
        assert len(set(found)) == 5 and 3 not in found and {PEOPLE[one] for one in found} == {"ann"}
        assert len({MOODS[one] for one in found}) == 1
        moods |= {MOODS[one] for one in found}
    assert len(moods) == 4, "any mood, not only that of the clip"


def test_the_same_turns_every_time():
    def all_rows():
        return list(turns.judge_all(turns.Voices(PEOPLE, CORPORA, MOODS, Recorder()), range(10), draws=1))

    assert all_rows() == all_rows()
