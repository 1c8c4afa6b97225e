"""The contract between studio and training: studies are made, rated, exported and read by every method."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from export_desk import Desk, answered, asked, comparison, first_value, prefers, scores

from annotation.export.columns import TRAINING
from annotation.export.writing import export_study
from annotation.study.rules import Study
from emotion_omni.rating_contract import CONTRACT, TABLES
from emotion_omni.train import dialogues, ratings
from emotion_omni.types import EmotionOmniError

ABOUT = {"event": "bad", "tone": "sad", "history": []}
EARLIER = [
    {"role": "user", "text": "Hello.", "emotion": "sad"},
    {"role": "assistant", "text": "Hi there.", "emotion": "calm"},
]


def read(item):
    """The same item, its answers to be read."""
    return item | {"content": item["content"] | {"mode": "words"}}


def compared(desk: Desk, out: Path, as_text: bool = True, **more) -> Path:
    made = [comparison(desk, f"Day number {n} was long.", about={"a": ABOUT, "b": ABOUT}, **more) for n in range(3)]
    study = desk.study("compare", [read(one) if as_text else one for one in made])
    for wanted in ("a", "a", "a"):
        desk.rate(study, prefers(wanted) if not as_text else reads(wanted))
    export_study(desk.studio, study, out)
    return out


def reads(wanted: str):
    """A rater who reads both answers, and so knows which is which."""

    def answers(item, screen):
        texts = [one["text"] for one in screen["texts"]]
        assert len(screen["clips"]) == 1 and len(texts) == 2  # the query is heard, the answers are read
        return {"preference": "ab"[texts.index(item["content"]["texts"][wanted])], "certainty": 2}

    return answers


def test_every_table_has_the_columns_of_the_contract():
    for table, columns in TABLES.items():
        assert set(columns) <= set(TRAINING[table]), table


def test_words_that_were_read_train_and_words_that_were_heard_do_not(desk, tmp_path):
    out = compared(desk, tmp_path / "read")
    chosen = ratings.select(ratings.Ratings.read(out), "dpo")
    assert chosen.counts()["taken"] == {"dpo": 3} and not chosen.left_out
    row = chosen.rows[0]
    assert (row["event"], row["emotion"], row["history"], row["judged_from"]) == ("bad", "sad", [], "text")
    assert ratings.content_of(row["chosen"]) == "That must hurt."
    assert len(ratings.select(ratings.Ratings.read(out), "kto").rows) == 6
    heard = compared(desk, tmp_path / "heard", as_text=False)
    chosen = ratings.select(ratings.Ratings.read(heard), "dpo")
    assert not chosen.rows and chosen.left_out == {"heard": 3}
    assert len(ratings.select(ratings.Ratings.read(heard), "dpo", also_heard=True).rows) == 3
    with pytest.raises(EmotionOmniError, match=r"needs at least 20 rows.*3 left out: raters heard"):
        chosen.require_enough()


def test_a_preference_between_two_voices_of_the_same_words_is_of_the_voice(desk, tmp_path):
    voices = {
        role: ABOUT | {"delivery": {"voice": "", "intensity": n, "rate": 1}, "planned": "calm"}
        for role, n in (("a", 1.0), ("b", 0.5))
    }
    made = [
        comparison(desk, f"Day number {n} was long.", a="I am with you.", b="I am with you.", about=voices)
        for n in range(3)
    ]
    study = desk.study("compare", made)
    desk.rate(study, prefers("a"))
    export_study(desk.studio, study, tmp_path / "out")
    found = ratings.Ratings.read(tmp_path / "out")
    assert ratings.select(found, "dpo").left_out == {"same-words": 3}
    chosen = ratings.select(found, "prosody")
    assert len(chosen.rows) == 3 and json.loads(chosen.rows[0]["chosen_delivery"])["intensity"] == 1.0


def test_scores_of_the_voice_and_recognized_emotions(desk, tmp_path):
    delivery = {"planned": "calm", "delivery": {"voice": "", "intensity": 1.0, "rate": 1.0}}
    study = desk.study(
        "empathy", [answered(desk, f"I say this, the {n}th.", "Go on.", about=delivery) for n in range(3)]
    )
    desk.rate(study, scores(5, naturalness=4, emotion_mos=2))
    export_study(desk.studio, study, tmp_path / "voices")
    (row, *_) = ratings.select(ratings.Ratings.read(tmp_path / "voices"), "prosody").rows
    assert (row["naturalness"], row["emotion_mos"], row["reply_emotion"]) == (4.0, 2.0, "calm")
    study = desk.study("emotion-recognition", [desk.item({"speech": f"Number {n}."}) for n in range(3)])
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    export_study(desk.studio, study, tmp_path / "emotions")
    found = ratings.Ratings.read(tmp_path / "emotions")
    chosen = ratings.select(found, "recognizer")
    assert len(chosen.rows) == 3 and chosen.rows[0]["label"] == "neutral" and chosen.rows[0]["label_weight"] == 1.0
    assert found.sound(chosen.rows[0]["audio"]).is_file()


def test_our_dialogues_read_an_export_as_it_is(desk, tmp_path):
    """Every column of it: none may look like a misspelled one of ours."""
    study = desk.study("correction", [answered(desk, "My cat died.", "Great!", about=ABOUT | {"history": EARLIER})])
    desk.rate(study, lambda item, screen: {"rewrite": "I am so sorry.", "rewrite_emotion": "calm"})
    export_study(desk.studio, study, tmp_path / "out")
    rows = dialogues.read(tmp_path / "out" / "sft.jsonl").rows
    (row,) = rows
    assert (row.transcript, row.reply, row.reply_emotion, row.emotion) == (
        "My cat died.",
        "I am so sorry.",
        "calm",
        "sad",
    )
    assert row.split == "train" and row.query.read() and row.earlier[0].reply == "Hi there."
    (taken,) = ratings.select(ratings.Ratings.read(tmp_path / "out"), "sft").rows
    assert taken["judged_from"] == "both" and ratings.history_of(taken) == row.earlier


def test_other_contracts_evaluation_studies_and_changed_files_are_refused(desk, tmp_path):
    out = compared(desk, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["contract"] == CONTRACT and manifest["split"] == "training"
    for change, code in (({"contract": 1}, "ratings"), ({"split": "evaluation"}, "locked")):
        other = tmp_path / code
        shutil.copytree(out, other)
        (other / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(EmotionOmniError) as refused:
            ratings.Ratings.read(other)
        assert refused.value.code == code
    rows = (out / "dpo.jsonl").read_text()
    (out / "dpo.jsonl").write_text(rows.replace("That must hurt.", "That must help."))
    with pytest.raises(EmotionOmniError, match="not as it was exported"):
        ratings.select(ratings.Ratings.read(out), "dpo")
    with pytest.raises(EmotionOmniError, match="is not the export of a study"):
        ratings.Ratings.read(tmp_path)


def test_a_study_that_asks_for_words_is_made_of_items_to_read(desk):
    rules = Study.read({"title": "t", "template": "compare", "modes": ["words", "voice"]})
    assert rules.modes == ("words", "voice")
    with pytest.raises(EmotionOmniError, match="modes"):
        Study.read({"title": "t", "template": "emotion-recognition", "modes": ["words"]})
