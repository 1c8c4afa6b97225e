"""Conversations and emotion labels: what is approved, corrected, labeled or left out."""

from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
import pytest
from conftest import tone
from export_desk import (
    answered,
    asked,
    comparison,
    first_value,
    lines,
    prefers,
    scores,
)

from annotation.analysis.results import Results
from annotation.export.preferences import kto_weights
from annotation.export.writing import export_study
from annotation.study.items import in_modes
from emotion_omni import emotion


def test_flagged_raters_traps_gold_and_repeats_never_count_in_a_training_row(desk, tmp_path):
    rules = {"traps_per_block": 1, "gold_per_block": 1, "repeats_per_block": 1, "block_size": 4}
    study = desk.study("compare", [comparison(desk, f"Query number {n} of four.") for n in range(4)], **rules)

    def attentive(item, screen):
        wanted = (item["expected"] or {"preference": "a"})["preference"]
        return prefers(wanted)(item, screen) if item["role"] == "rate" else {"preference": wanted, "certainty": 1}

    def careless(item, screen):
        right = attentive(item, screen)["preference"]
        return {"preference": "b" if right == "a" else "a", "certainty": 1}

    kept, flagged = desk.rate(study, attentive), [desk.rate(study, careless) for _ in range(2)]
    manifest = export_study(desk.studio, study, tmp_path / "out")
    ratings = pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
    assert {row["kind"] for row in ratings} == {"rate", "trap", "gold", "repeat"}
    by_outcome = {row["outcome"]: row["reasons"] for row in ratings}
    assert by_outcome["kept"] == "" and "traps" in by_outcome["flagged"]
    rows = lines(tmp_path / "out", "dpo.jsonl")
    assert len(rows) == 4 and manifest.rows["kto.jsonl"] == 8
    with desk.studio.store.read() as view:
        results = Results.read(view, study, desk.studio.people.key)
    for row in rows:
        assert row["chosen"][0]["content"] == "That must hurt." and row["raters"] == [results.pseudonym(kept)]
        assert (row["n_raters"], row["ratings_kept"], row["ratings_flagged"], row["vote_share"]) == (1, 1, 2, 1.0)
        assert "traps" in row["reasons"]
    assert f"{4 * len(flagged)} ordinary ratings by flagged raters" in (tmp_path / "out/README.md").read_text()
    assert {row["role"] for row in lines(tmp_path / "out", "items.jsonl")} == {"rate", "trap", "gold"}


def test_answers_are_approved_scored_or_left_out_for_a_named_reason(desk, tmp_path):
    wanted = {"loved": (5, 4), "poor": (2, 3), "middling": (3, 5), "off the point": (5, 3), "unsafe": (5, 5)}
    items = [
        answered(desk, name, f"Answer to {name}.", about={"seed": "7", "planned": "calm", "event": "good"})
        for name in wanted
    ]
    items.append(desk.item({"query": "", "reply": "No transcript."}))
    study = desk.study("empathy", items)

    def answers(item, screen):
        name = item["content"]["texts"]["query"]
        return scores(*wanted.get(name, (5, 5)), safety=["dismissive"] if name == "unsafe" else [])(item, screen)

    for _ in range(2):
        desk.rate(study, answers)
    manifest = export_study(desk.studio, study, tmp_path / "out")
    (row,) = lines(tmp_path / "out", "sft.jsonl")
    assert row["messages"] == [
        {"role": "user", "content": "loved"},
        {"role": "assistant", "content": "Answer to loved."},
    ]
    assert (row["source"], row["system"], row["seed"], row["reply_emotion"], row["event"]) == (
        "approved",
        "embedded",
        7,
        "calm",
        "good",
    )
    labels = {one["prompt"][0]["content"]: one["label"] for one in lines(tmp_path / "out", "kto.jsonl")}
    assert labels == {"loved": True, "poor": False, "off the point": True}
    assert manifest.excluded == {"middling-score": 1, "no-transcript": 1, "not-approved": 3, "safety-flag": 1}
    assert manifest.kto_weights == kto_weights(2, 1)


def test_one_rater_is_not_enough_to_approve(desk, tmp_path):
    study = desk.study("empathy", [answered(desk, "Hello there.", "Hello.")])
    desk.rate(study, scores(5))
    assert "sft.jsonl" not in export_study(desk.studio, study, tmp_path / "out").rows


def test_corrected_answers_are_sft_rows_and_preferred_to_the_original(desk, tmp_path):
    items = [
        answered(desk, "My cat died.", "Great news!", about={"emotion": "grief"}),
        answered(desk, "I won a prize.", "How lovely!"),
    ]
    study = desk.study("correction", items)

    def writes(text, felt):
        def answers(item, screen):
            if "cat" in item["content"]["texts"]["query"]:
                return {"rewrite": text, "rewrite_emotion": felt}
            return {"rewrite": screen["prefill"]["rewrite"], "rewrite_emotion": "happy"}

        return answers

    for text, felt in (
        ("I am so sorry.", "calm"),
        ("I am so  sorry. ", "calm"),
        ("Poor thing.", "sad"),
        ("Great news!", "happy"),
    ):
        desk.rate(study, writes(text, felt))
    manifest = export_study(desk.studio, study, tmp_path / "out")
    found = {(row["transcript"], row["reply"]): row for row in lines(tmp_path / "out", "sft.jsonl")}
    assert {key: (row["source"], row["n_raters"], row["reply_emotion"]) for key, row in found.items()} == {
        ("My cat died.", "I am so sorry."): ("corrected", 2, "calm"),
        ("My cat died.", "Poor thing."): ("corrected", 1, "sad"),
        ("My cat died.", "Great news!"): ("unchanged", 1, "happy"),
        ("I won a prize.", "How lovely!"): ("unchanged", 4, "happy"),
    }
    assert (
        found["My cat died.", "Great news!"]["reply_file_name"]
        and not found["My cat died.", "Poor thing."]["reply_file_name"]
    )
    assert (
        found["My cat died.", "Poor thing."]["emotion"],
        found["My cat died.", "Poor thing."]["stated_or_heard"],
    ) == ("sad", "stated")
    pairs = lines(tmp_path / "out", "dpo.jsonl")
    assert {(row["chosen"][0]["content"], row["rejected"][0]["content"], row["vote_share"]) for row in pairs} == {
        ("I am so sorry.", "Great news!", 0.75),
        ("Poor thing.", "Great news!", 0.75),
    }
    assert all(
        row["source"] == "correction" and row["chosen_file_name"] is None and row["rejected_file_name"] for row in pairs
    )
    assert manifest.excluded == {"most-left-it-unchanged": 1}


def test_recordings_get_majorities_soft_labels_and_means(desk, tmp_path):
    guess = {"label": "sad", "probability": 0.6}
    clear, divided, lost = (desk.item({"speech": text}, guess=guess) for text in ("So nice.", "Who knows.", "Hm hm."))
    study = desk.study("emotion-recognition", [clear, divided, lost])
    heard = {
        "So nice.": ("happy", "happy", "calm"),
        "Who knows.": ("sad", "angry", "other"),
        "Hm hm.": ("cannot-tell",) * 3,
    }

    def hears(turn):
        def answers(item, screen):
            values = asked(screen, lambda scale: scale.low + turn if scale.kind == "points" else first_value(scale))
            return values | {"primary": heard[item["content"]["texts"]["speech"]][turn]}

        return answers

    for turn in range(3):
        desk.rate(study, hears(turn))
    with desk.studio.store.read() as view:
        ids = {item["content"]["texts"]["speech"]: item["id"] for item in view.items(study, "rate")}
    desk.decide(study, "item", item=ids["Who knows."], scale="primary", value="angry", reason="listened again")
    manifest = export_study(desk.studio, study, tmp_path / "out", labels="anchored")
    rows = {row["transcript"]: row for row in pq.read_table(tmp_path / "out/emotion.parquet").to_pylist()}
    assert {text: row["label"] for text, row in rows.items()} == {"So nice.": "happy", "Who knows.": None}
    assert rows["Who knows."]["adjudicated"] == "angry" and manifest.excluded == {"no-emotion-named": 1}
    nice = dict(zip(emotion.NAMES, rows["So nice."]["soft_label"], strict=True))
    assert (nice["happy"], nice["calm"], nice["sad"]) == pytest.approx((2.5 / 7, 1.5 / 7, 0.5 / 7), abs=1e-6)
    assert all(sum(row["soft_label"]) == pytest.approx(1, abs=1e-5) for row in rows.values())
    assert (rows["So nice."]["valence"], rows["So nice."]["n_raters"], rows["So nice."]["guess_shown_share"]) == (
        2.0,
        3,
        1.0,
    )
    sound = rows["So nice."]["audio"]
    assert (
        hashlib.sha256(sound["bytes"]).hexdigest()
        == sound["path"].removesuffix(".flac")
        == clear["content"]["clips"]["speech"]["sha"]
    )
    items = {row["item"]: row for row in lines(tmp_path / "out", "items.jsonl")}
    assert items[ids["Who knows."]]["adjudicated_reason"] == "listened again"


def test_only_unmasked_recordings_get_emotion_labels(desk, tmp_path):
    sound = tone(0.5, pitch=200)
    made = desk.item({"speech": "Just words."}, {"speech": sound})
    study = desk.study("words-voice", in_modes(made, sound, desk.studio.clips))
    for _ in range(3):
        desk.rate(study, lambda item, screen: {"primary": "sad", "intensity": 3})
    manifest = export_study(desk.studio, study, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/emotion.parquet").to_pylist()
    assert [row["mode"] for row in rows] == ["both"] and manifest.excluded == {"words-or-voice-alone": 2}
