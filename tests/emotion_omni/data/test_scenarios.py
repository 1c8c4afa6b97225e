from collections import Counter, defaultdict
from itertools import islice

import pytest

from emotion_omni.data.domains import CUES, CUES_OF, domain_of, domains
from emotion_omni.data.plan import CorpusPlan, Mix, Speech, Split
from emotion_omni.data.scenarios import coverage, scenarios
from emotion_omni.emotion import NAMES
from emotion_omni.train import exchanges

MIXED = Mix(tone_contrast=0.2, conflict=0.1, multi_turn=0.1, cues=0.3)


def rows_of(count=2000, **settings):
    return list(scenarios(CorpusPlan(dialogues=count, **({"mix": MIXED} | settings))))


def test_there_are_twenty_domains_and_every_theme_of_the_exchanges_has_one():
    assert len(domains()) == 20 and all(len(one.situations) >= 5 for one in domains().values())
    themes = [theme for one in domains().values() for theme in one.themes]
    assert {path.stem for path in exchanges.FOLDER.glob("*.jsonl")} <= set(themes) | {"neighbours"}
    assert len(themes) == len(set(themes)) and domain_of("grief") == "loss"


def test_the_same_plan_gives_the_same_scenarios_and_another_seed_others():
    assert rows_of(300) == rows_of(300) != rows_of(300, seed=1)


def test_a_larger_plan_begins_as_a_smaller_one():
    assert [row.emotion for row in rows_of(50)] == [row.emotion for row in islice(rows_of(500), 50)]


def test_every_cell_and_kind_gets_its_share():
    rows = rows_of(3200)
    counts = coverage(rows)
    assert len(counts["cells"]) == 20 * 8 and min(counts["cells"].values()) >= 10
    assert max(counts["emotion"].values()) - min(counts["emotion"].values()) <= 40
    kinds = {name: count / len(rows) for name, count in counts["kind"].items()}
    assert kinds == pytest.approx({"plain": 0.6, "contrast": 0.2, "conflict": 0.1, "multi-turn": 0.1}, abs=0.01)


def test_a_pilot_of_fifty_stands_for_all():
    counts = coverage(rows_of(50))
    assert counts["kind"].keys() == {"plain", "contrast", "conflict", "multi-turn"} and len(counts["emotion"]) == 8


def test_a_set_has_different_tones_of_one_domain_and_one_split():
    sets = defaultdict(list)
    for row in rows_of():
        if row.kind == "contrast":
            sets[row.group].append(row)
    whole = [rows for rows in sets.values() if len(rows) == 4]
    assert len(whole) >= 99
    for rows in whole:
        assert len({row.emotion for row in rows}) == 4
        assert len({(row.domain, row.situation, row.split) for row in rows}) == 1


def test_no_voice_is_in_two_splits_and_held_out_ones_have_voices_of_their_own():
    voices = defaultdict(set)
    for row in rows_of(split=Split(0.1, 0.1)):
        voices[row.split].add(row.voice)
    assert voices.keys() == {"train", "dev", "test"}
    assert sum(map(len, voices.values())) == len(set.union(*voices.values()))
    assert all(len({name[1] for name in some}) == 2 for some in voices.values())


def test_too_few_voices_are_shared():
    rows = rows_of(400, speech=Speech(queries=("af_heart",)), split=Split(0.2, 0.2))
    assert {row.split for row in rows} == {"train", "dev", "test"} and {row.voice for row in rows} == {"af_heart"}


def test_cues_fit_the_emotion_and_only_plain_dialogues_have_them():
    rows = [row for row in rows_of() if row.cue]
    assert Counter(row.kind for row in rows).keys() == {"plain"} and 250 < len(rows) < 470
    assert all(row.cue in CUES_OF[row.emotion] and row.cue in CUES for row in rows)
    assert set(CUES_OF) == set(NAMES)
