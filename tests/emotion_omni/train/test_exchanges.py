"""The written exchanges and their checker: every promise of the card has a test that can fail."""

from __future__ import annotations

import copy
import json

import pytest

from emotion_omni import json_lines
from emotion_omni.train import exchanges

ROW = {
    "id": "work-0001",
    "kind": "feeling",
    "news": "bad",
    "turns": [
        {
            "text": "they lost my application",
            "tone": "angry",
            "intensity": 0.6,
            "reply": "Lost it, after all that typing? Did they say sorry?",
            "strategy": ["reflect", "ask"],
        }
    ],
}


def row(**turn):
    """A valid row with another turn, or another key if the name is one of the row's."""
    made = copy.deepcopy(ROW)
    for key, value in turn.items():
        (made if key in exchanges.ROW_KEYS else made["turns"][0])[key] = value
    return made


def corpus(*rows):
    return [exchanges.exchange_of(one) for one in rows]


def test_the_corpus_has_no_faults_and_is_as_large_as_its_card_says(capsys):
    assert exchanges.main([]) == 0, capsys.readouterr().err
    count = int(capsys.readouterr().out.split()[0])
    card = (exchanges.FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{count:,} exchanges" in card


def test_a_tenth_is_dev_and_groups_stay_together():
    rows = exchanges.read()
    share = sum(one.split == "dev" for one in rows) / len(rows)
    assert 0.07 < share < 0.13
    splits = {}
    for one in rows:
        splits.setdefault(one.group, set()).add(one.split)
    assert all(len(found) == 1 for found in splits.values())


def test_every_tone_kind_and_strategy_occurs():
    rows = exchanges.read()
    assert {turn.tone for turn in exchanges.turns_of(rows)} == set(exchanges.TONES)
    assert {one.kind for one in rows} == set(exchanges.KINDS)
    assert {name for turn in exchanges.turns_of(rows) for name in turn.strategy} == set(exchanges.STRATEGIES)


def test_a_valid_row_passes():
    assert exchanges.row_faults(ROW) == []
    assert exchanges.corpus_faults(corpus(row(reply="Lost it, after all that typing. They owe you one."))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "Work 1"}, "not like work-0001"),
        ({"kind": "mood"}, "kind 'mood'"),
        ({"news": "mixed"}, "news 'mixed'"),
        ({"turns": []}, "1 to 4 turns"),
        ({"tone": "cheerful"}, "tone 'cheerful'"),
        ({"intensity": 7}, "between 0 and 1"),
        ({"strategy": ["console"]}, "strategy"),
        ({"strategy": []}, "strategy"),
        ({"unsure_between": ["sad", "angry"]}, "unsure_between"),
        ({"text": "word " * 41}, "not 1 to 40"),
        ({"reply": "Oh no."}, "not 6 to 35"),
        ({"reply": "They  lost it, after all that typing."}, "odd spaces"),
        ({"reply": "They lost it, after all that typing"}, "does not end"),
        ({"reply": "Oh. No. They lost it. All of it."}, "more than 3 sentences"),
        ({"reply": "You're angry. They should say sorry to you."}, "names the tone back"),
        ({"reply": "I know exactly how you feel about that form."}, "claims to know a feeling"),
        ({"reply": "My sister lost a form like that one too."}, "a human life"),
        ({"reply": "I'm always here for you, form or no form."}, "a stock phrase"),
        ({"reply": "Did he lose it on purpose, do you think?"}, "he is not in what was said"),
    ],
)
def test_a_fault_of_a_row_is_named(change, said):
    faults = exchanges.row_faults(row(**change))
    assert any(said in fault for fault in faults), faults


def test_unsure_rows_hold_two_tones_beside_neutral():
    assert exchanges.row_faults(row(kind="unsure"))
    assert exchanges.row_faults(row(kind="unsure", tone="neutral", unsure_between=["sad", "sad"]))
    assert not exchanges.row_faults(row(kind="unsure", tone="neutral", unsure_between=["sad", "angry"]))


def test_he_and_she_are_allowed_after_a_name_a_pronoun_or_a_word_for_them():
    for text in ("my brother lost it", "and then Martin lost it", "he lost it"):
        assert not exchanges.invented_gender(text, "Did he say sorry?")
    assert exchanges.invented_gender("my brother lost it", "Did she say sorry?")


def test_faults_between_rows_are_named():
    first = row()
    other = row(id="work-0002", text="somebody ate my sandwich in the lift", reply="Lost it? Well, did they say sorry?")
    assert exchanges.corpus_faults(corpus(first, other)) == ["100% of the replies end in a question, more than 50%"]
    same_end = row(id="work-0002", text="somebody ate my sandwich", reply="The whole sandwich! Did they say sorry?")
    assert any("ending used by work-0001, work-0002" in one for one in exchanges.corpus_faults(corpus(first, same_end)))
    assert any("id work-0001 is used 2 times" in one for one in exchanges.corpus_faults(corpus(first, first)))
    near = row(id="work-0002", text="They lost my application.", reply="The whole form, just gone like that.")
    assert any("share 100% of their words" in one for one in exchanges.corpus_faults(corpus(first, near)))
    many = []
    for n in range(1, 4):
        many.append(row(id=f"work-{n:04}", text=f"number{n} is lost", reply=f"Lost it, after all of number{n}."))
    assert any("opening used 3 times: 'lost it after'" in one for one in exchanges.corpus_faults(corpus(*many)))


def test_a_group_is_the_same_words_in_different_tones():
    sad = row(id="contrast-0001-sad", kind="contrast", tone="sad", reply="Gone, and so much of you was in it.")
    angry = row(id="contrast-0001-angry", kind="contrast")
    assert exchanges.group_faults(corpus(sad, angry)) == []
    assert exchanges.group_faults(corpus(sad))
    assert exchanges.group_faults(corpus(sad, row(id="contrast-0001-angry", kind="contrast", tone="sad")))
    assert exchanges.group_faults(corpus(sad, row(id="contrast-0001-angry", kind="contrast", text="it is lost")))


def test_faults_are_printed_with_their_place(tmp_path, capsys):
    (tmp_path / "work.jsonl").write_text(json.dumps(row(kind="mood")) + "\n", encoding="utf-8")
    assert exchanges.main([str(tmp_path)]) == 1
    assert "work.jsonl:1 kind 'mood'" in capsys.readouterr().err
    (tmp_path / "work.jsonl").unlink()
    assert exchanges.main([str(tmp_path)]) == 1
    assert "holds no rows" in capsys.readouterr().err


PROMPTS = exchanges.FOLDER.parents[1] / "evaluate" / "reply_prompts.jsonl"


def test_the_prompts_for_blind_reading_are_in_no_row():
    prompts = [prompt for _, prompt in json_lines.read_file(PROMPTS)]
    trained = [set(exchanges.normalized(turn.text).split()) for turn in exchanges.turns_of(exchanges.read())]
    for prompt in prompts:
        words = set(exchanges.normalized(prompt["text"]).split())
        nearest = max(trained, key=lambda other: len(words & other) / len(words | other))
        assert len(words & nearest) / len(words | nearest) < exchanges.MAX_OVERLAP, (prompt["text"], nearest)


def test_the_prompts_for_blind_reading_are_what_the_card_says():
    prompts = [prompt for _, prompt in json_lines.read_file(PROMPTS)]
    pairs = {}
    for prompt in prompts:
        assert prompt["tone"] in exchanges.TONES and prompt["kind"] in exchanges.KINDS
        if prompt["kind"] == "contrast":
            pairs.setdefault(prompt["text"], set()).add(prompt["tone"])
    assert len(prompts) == 120 == len({prompt["id"] for prompt in prompts})
    assert len(pairs) == 30 and all(len(tones) == 2 for tones in pairs.values())
    assert sum(bool(prompt["earlier"]) for prompt in prompts) == 20
