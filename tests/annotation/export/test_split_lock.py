"""Items of evaluation studies are never trained on."""

from __future__ import annotations

from conftest import tone
from export_desk import (
    answered,
    comparison,
    lines,
    prefers,
    scores,
)
from hypothesis import given
from hypothesis import strategies as st

from annotation.export.columns import TRAINING
from annotation.export.split_lock import NearDuplicates, normalized_words
from annotation.export.writing import export_study


def test_an_evaluation_study_has_no_training_files_and_the_card_says_why(desk, tmp_path):
    study = desk.study("compare", [comparison(desk)], split="evaluation")
    desk.rate(study, prefers("a"))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    assert not set(TRAINING) & {path.stem for path in (tmp_path / "out").iterdir()}
    assert manifest.excluded == {"evaluation-study": 1} and manifest.kto_weights is None
    text = (tmp_path / "out/README.md").read_text()
    assert "none of them may be trained on" in text and "split: test" in text and "split: train\n" not in text


def test_items_of_an_evaluation_study_are_locked_in_any_form(desk, tmp_path):
    known, own = tone(0.4, pitch=331), tone(0.4, pitch=337)
    evaluated = [
        answered(desk, "My neighbour moved away and I miss her very much.", "Oh.", family="family-one"),
        desk.item({"query": "Something else entirely.", "reply": "Hm."}, {"query": known}),
    ]
    desk.study("empathy", evaluated, name="held-out", split="evaluation")
    louder = tone(0.4, pitch=331, level=0.4)  # another file, which once equalised may be the same
    items = {
        "family": answered(desk, "Nothing alike.", "Yes.", family="family-one"),
        "exact words": answered(desk, "my neighbour moved away, and I miss her VERY much!", "Yes."),
        "near words": answered(desk, "My neighbour has moved away and I miss her very much.", "Yes."),
        "sound": desk.item({"query": "A new thing to say.", "reply": "Yes."}, {"query": known}),
        "sound in another role": desk.item({"query": "One more thing to say.", "reply": "Yes."}, {"reply": known}),
        "far words": answered(desk, "My neighbour moved away and I am glad of it.", "Yes."),
        "own": desk.item({"query": "Quite another thing.", "reply": "Yes."}, {"query": own}),
    }
    played = desk.item({"query": "Loud and clear.", "reply": "Yes."}, {"query": louder})
    played["content"]["clips"]["query"]["played"] = evaluated[1]["content"]["clips"]["query"]["played"]
    study = desk.study("empathy", [*items.values(), played])
    for _ in range(2):
        desk.rate(study, scores(5))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    trained = {row["transcript"] for row in lines(tmp_path / "out", "sft.jsonl")}
    assert trained == {items[name]["content"]["texts"]["query"] for name in ("far words", "own")}
    assert {row["prompt"][0]["content"] for row in lines(tmp_path / "out", "kto.jsonl")} == trained
    assert manifest.excluded["split-lock"] == 6
    assert manifest.rows["items.jsonl"] > len(trained)  # they stay among the items, whose ratings are exported


words = st.lists(
    st.sampled_from(["ja", "nein", "Haus", "Hund", "heute", "sehr", "gut", "ist", "das", "nie"]), max_size=9
)


@given(st.lists(words, max_size=6), words)
def test_prefix_filtering_finds_what_comparing_all_pairs_finds(held, asked_for):
    def alike(one, other):
        one, other = set(normalized_words(" ".join(one))), set(normalized_words(" ".join(other)))
        return bool(one) and 5 * len(one & other) >= 4 * len(one | other)

    found = NearDuplicates(" ".join(text) for text in held).contains(" ".join(asked_for))
    assert found == any(alike(text, asked_for) for text in held)


def test_words_are_compared_without_case_and_punctuation_in_any_script():
    assert normalized_words("DON’T, don't…  Straße!") == ["dont", "dont", "strasse"]
    assert normalized_words("我很难过。") == ["我", "很", "难", "过"]


def test_another_training_study_locks_nothing(desk, tmp_path):
    made = [answered(desk, "My neighbour moved away and I miss her very much.", "Oh.", family="same") for _ in range(2)]
    desk.study("empathy", made[:1], split="training")
    study = desk.study("empathy", made[1:])
    for _ in range(2):
        desk.rate(study, scores(5))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    assert manifest.rows["sft.jsonl"] == 1 and "split-lock" not in manifest.excluded
