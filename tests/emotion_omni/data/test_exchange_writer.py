import pytest

from emotion_omni.data.dialogue import NoText
from emotion_omni.data.exchange_writer import ExchangeWriter, assign, spoken
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.data.scenarios import scenarios
from emotion_omni.train import exchanges

ROWS = list(scenarios(CorpusPlan(dialogues=1000, seed=3)))
FOUND = exchanges.read()
GIVEN = assign(ROWS, FOUND, 3)


def test_none_is_given_twice_and_nearly_all_scenarios_get_one():
    assert len({one.id for one in GIVEN.values()}) == len(GIVEN) > 950


def test_emotion_and_kind_are_those_of_the_scenario():
    plain = [(row, GIVEN[row.index]) for row in ROWS if row.index in GIVEN and row.kind != "contrast"]
    assert all(one.turns[-1].tone == row.emotion for row, one in plain)
    assert all((len(one.turns) > 1) == (row.kind == "multi-turn") for row, one in plain)


def test_held_out_exchanges_stay_out_of_training():
    assert all((GIVEN[row.index].split == "train") == (row.split == "train") for row in ROWS if row.index in GIVEN)


def test_a_set_holds_the_same_words_in_different_tones():
    sets = {}
    for row in ROWS:
        if row.kind == "contrast" and row.index in GIVEN:
            sets.setdefault(row.group, []).append(GIVEN[row.index])
    assert len(sets) > 30
    for members in sets.values():
        assert len({one.turns[0].text for one in members}) == 1
        assert len({one.turns[0].tone for one in members}) == len(members)


def test_a_scenario_without_an_exchange_says_so():
    rows = list(scenarios(CorpusPlan(dialogues=6000)))
    writer = ExchangeWriter(rows, 0)
    assert writer.write(rows[0]).source.startswith("exchanges:")
    given = assign(rows, FOUND, 0)
    with pytest.raises(NoText, match="No written exchange is left"):
        writer.write(next(row for row in rows if row.index not in given))


@pytest.mark.parametrize(
    ("text", "said"), [("my dog ran away", "My dog ran away."), ("is it late", "Is it late?"), ("No!", "No!")]
)
def test_texts_get_a_capital_and_an_end(text, said):
    assert spoken(text) == said
