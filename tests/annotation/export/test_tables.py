"""Exports: what was picked is what is written, the same log gives the same bytes, evaluation never trains, stock readers read it."""

from __future__ import annotations

import ast
import dataclasses
import gzip
import hashlib
import inspect
import itertools
import json
import shutil
import socket
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import tone
from hypothesis import given
from hypothesis import strategies as st

from annotation.export import tables as export
from annotation.studio import Studio
from annotation.study import lifecycle, translate
from annotation.study.items import in_modes, make_item
from annotation.study.rules import Study
from annotation.study.scales import SCALES, Scale
from emotion_omni import emotion
from emotion_omni.types import EmotionOmniError

PLAIN = {
    "traps_per_block": 0,
    "gold_per_block": 0,
    "repeats_per_block": 0,
    "training_right": 0,
    "block_size": 200,
    "block_minutes": 240,
}
PITCHES = itertools.count(100)
Answers = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


class Desk:
    """A studio with a clock of its own, and raters who do as they are told."""

    def __init__(self, home: Path) -> None:
        self.studio = Studio.open(home)
        self.now = 1_700_000_000.0
        self.studio.sessions.clock = lambda: self.now
        self.picked: dict[str, dict[str, Any]] = {}  # by submit id, as it stood on the page
        self.page: dict[str, list[str]] = {}  # by submit id: SHA-256 of what was played, in the order of the page

    def item(self, texts: Mapping[str, str], sounds: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        sounds = {role: tone(0.3, pitch=next(PITCHES)) for role in texts} | dict(sounds or {})
        return make_item(sounds, self.studio.clips, texts, **more)

    def study(self, template: str, items: list, name: str = "", split: str = "training", **rules: Any) -> str:
        usual = PLAIN | {
            "title": "A study",
            "template": template,
            "split": split,
            "ratings_per_item": 9,
            "guess_hidden_share": 0.0,
        }
        settings = usual | rules
        return lifecycle.create(self.studio.store, self.studio.clips, Study.read(settings), items, study=name)

    def rate(self, study: str, answers: Answers, name: str = "Ann Example") -> str:
        """One rater goes through the whole study → their id. ``answers``: (item, screen) → values."""
        rater = self.studio.identity.guest(name)
        while (screen := self._write(lambda transaction: self.studio.sessions.next(transaction, study, rater)))[
            "screen"
        ] != "done":
            if screen["screen"] == "rate":
                self._answer(screen, rater, answers)
            else:
                told = (
                    {"agreed": True}
                    if screen["screen"] == "consent"
                    else {"device": "headphones", "language": "yes", "difficulty": 2}
                )
                body = {"study": study, "phase": screen["screen"], "answers": told}
                self._write(lambda transaction, body=body: self.studio.sessions.confirm_phase(transaction, rater, body))
        return rater

    def _answer(self, screen: Mapping[str, Any], rater: str, answers: Answers) -> None:
        name = screen["assignment"]
        with self.studio.store.read() as view:
            item = view.item(view.assignment(name)["item"])
            fetched = [self.studio.sessions.clip(view, rater, name, number) for number in range(len(screen["clips"]))]
        values = {"digits": item["expected"]["digits"]} if screen["kind"] == "sound" else answers(item, screen)
        self.now += 30
        whole = {"from": 0, "rate": 1, "muted": False, "visible": True}
        played = [whole | {"clip": n, "to": clip["seconds"]} for n, clip in enumerate(screen["clips"])]
        proofs = {str(n): proof for n, (_, proof) in enumerate(fetched)}
        heard = self.studio.sessions.heard(
            {"assignment": name, "receipt": screen["receipt"], "proofs": proofs, "played": played}
        )
        submit = str(uuid.uuid4())
        body = {"submit_id": submit, "assignment": name, "receipt": heard["receipt"], "values": values, "seconds": 4.0}
        self._write(lambda transaction: self.studio.sessions.submit(transaction, rater, body))
        if screen["kind"] != "sound":
            self.picked[submit], self.page[submit] = values, [sha for sha, _ in fetched]

    def _write(self, operation: Callable[[Any], Any]) -> Any:
        return self.studio.store.write(operation)

    def decide(self, study: str, subject: str, **facts: Any) -> None:
        self._write(
            lambda transaction: transaction.record(
                "decided", decision=uuid.uuid4().hex, study=study, subject=subject, by="somebody", **facts
            )
        )

    def flag(self, study: str, rater: str) -> None:
        self.decide(study, "rater", rater=rater, value="flagged", reason="answers by a pattern")


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "home")
    yield desk
    desk.studio.store.close()


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def written(folder: Path, name: str) -> int:
    if name == "audio":
        return len(list((folder / name).iterdir()))
    return pq.read_table(folder / name).num_rows if name.endswith(".parquet") else len(lines(folder, name))


def asked(screen: Mapping[str, Any], pick: Callable[[Any], Any]) -> dict[str, Any]:
    """An answer to every question that is asked now."""
    values: dict[str, Any] = {}
    for form in screen["scales"]:
        if not form["show_if"] or values.get(form["show_if"]["scale"]) in form["show_if"]["in"]:
            values[form["name"]] = pick(SCALES[form["name"]])
    return values


def first_value(scale: Scale) -> Any:
    return [] if scale.kind == "several" else scale.values[0] if scale.values else ""


def scores(empathy: int, relevance: int = 5, **more: Any) -> Answers:
    def answers(item: Mapping[str, Any], screen: Mapping[str, Any]) -> dict[str, Any]:
        values = asked(screen, lambda scale: scale.high if scale.kind == "points" else first_value(scale))
        return values | {"empathy": empathy, "relevance": relevance} | more

    return answers


def prefers(wanted: str) -> Answers:
    """A rater for whom the item's own answer ``wanted`` (a, b or tie) is better, wherever the page shows it."""

    def answers(item: Mapping[str, Any], screen: Mapping[str, Any]) -> dict[str, Any]:
        if wanted == "tie":
            return {"preference": "tie"}
        turned = {"a": "b", "b": "a"} if is_swapped(item, screen) else {}
        return {"preference": turned.get(wanted, wanted), "certainty": 2}

    return answers


def is_swapped(item: Mapping[str, Any], screen: Mapping[str, Any]) -> bool:
    """Whether the page shows the item's answers swapped: told by the length of the first answer, which differs."""
    return screen["clips"][1]["seconds"] != item["content"]["clips"]["a"]["seconds"]


def comparison(
    desk: Desk,
    query: str = "I lost my job today.",
    a: str = "That must hurt.",
    b: str = "Bananas are yellow.",
    **more: Any,
) -> dict[str, Any]:
    sounds = {"a": tone(0.3, pitch=next(PITCHES)), "b": tone(0.6, pitch=next(PITCHES))}
    return desk.item({"query": query, "a": a, "b": b}, sounds, systems={"a": "one", "b": "two"}, **more)


def answered(desk: Desk, query: str, reply: str, **more: Any) -> dict:
    return desk.item({"query": query, "reply": reply}, systems={"reply": "embedded"}, **more)


# --- what was picked is what is written --------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["emotion-recognition", "empathy", "compare", "words-voice", "correction"])
def test_what_was_picked_is_what_the_export_says(desk, tmp_path, template):
    """Every value of every scale, and both side orders."""
    roles = {"compare": ("query", "a", "b"), "empathy": ("query", "reply"), "correction": ("query", "reply")}.get(
        template, ("speech",)
    )
    guess = {"label": "sad", "probability": 0.7}
    items = [desk.item({role: f"Text {n} of {role}." for role in roles}, guess=guess) for n in range(9)]
    study = desk.study(template, items)
    turns = {name: itertools.cycle(scale.values) for name, scale in SCALES.items()}

    def pick(scale):
        if scale.kind == "several":
            return [next(turns[scale.name]), next(turns[scale.name])]
        return next(turns[scale.name]) if scale.values else f"Words | with “signs”, {scale.name}"

    for _ in range(2):
        desk.rate(study, lambda item, screen: asked(screen, pick))
    export.export(desk.studio, study, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
    on_page = {(row["rating"], row["scale"]): row["value_on_page"] for row in rows}
    shown = {
        (submit, name): "|".join(sorted(set(value), key=SCALES[name].values.index))
        if isinstance(value, list)
        else str(value)
        for submit, values in desk.picked.items()
        for name, value in values.items()
    }
    assert on_page == shown
    assert {row["value_number"] == float(row["value"]) for row in rows if SCALES[row["scale"]].kind == "points"} <= {
        True
    }
    for name in {row["scale"] for row in rows if SCALES[row["scale"]].kind in ("points", "choice")}:
        assert {row["value"] for row in rows if row["scale"] == name} == set(map(str, SCALES[name].values))


def test_a_preference_is_about_the_answer_that_was_heard_on_either_side(desk, tmp_path):
    items = [comparison(desk, f"Query number {n}.") for n in range(8)]
    study = desk.study("compare", items)
    turns = itertools.cycle(("a", "b", "b"))
    for _ in range(3):
        desk.rate(study, lambda item, screen: {"preference": next(turns), "certainty": 1})
    export.export(desk.studio, study, tmp_path / "out")
    with desk.studio.store.read() as view:
        heard_as = {
            clip["played"]: role
            for item in view.items(study, "rate")
            for role, clip in item["content"]["clips"].items()
        }
    found = {
        row["rating"]: row
        for row in pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
        if row["scale"] == "preference"
    }
    assert {row["side"] for row in found.values()} == {"as stored", "swapped"}
    for submit, values in desk.picked.items():
        place = 1 if values["preference"] == "a" else 2
        assert found[submit]["value"] == heard_as[desk.page[submit][place]]
        assert found[submit]["side"] == ("as stored" if heard_as[desk.page[submit][1]] == "a" else "swapped")


# --- bytes, folders, people --------------------------------------------------------------------------------------


def small(desk: Desk) -> str:
    study = desk.study(
        "compare", [comparison(desk, f"What a day number {n}.") for n in range(3)], instructions=["Höre zu."]
    )
    for wanted in ("a", "a", "b"):
        desk.rate(study, prefers(wanted))
    return study


def test_the_same_log_gives_the_same_bytes(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    study = small(desk)
    export.export(desk.studio, study, tmp_path / "one")
    for name in ("log", "audio"):
        shutil.copytree(desk.studio.home / name, tmp_path / "other" / name)
    shutil.copy(desk.studio.home / "secret", tmp_path / "other/secret")
    other = Studio.open(tmp_path / "other")
    export.export(other, study, tmp_path / "two")
    zips = [export.zipped(studio, study) for studio in (desk.studio, other)]
    other.store.close()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(tmp_path / "one")


def test_the_manifest_tells_the_truth_about_every_file(desk, tmp_path):
    study, out = small(desk), tmp_path / "out"
    manifest = export.export(desk.studio, study, out)
    assert json.loads((out / "manifest.json").read_text()) == dataclasses.asdict(manifest)
    assert manifest.files == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents(out).items() if name != "manifest.json"
    }
    for name, count in manifest.rows.items():
        assert written(out, name) == count > 0
    log = b"".join(path.read_bytes() for path in desk.studio.store.log.segments())
    assert manifest.log_sha256 == hashlib.sha256(log).hexdigest()
    assert manifest.log_sequence == desk.studio.store.log.last
    assert all(path.stem == hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "audio").iterdir())


def test_an_earlier_export_is_replaced_and_nothing_else_is(desk, tmp_path):
    study, out = small(desk), tmp_path / "out"
    out.mkdir()
    export.export(desk.studio, study, out)
    before = contents(out)
    export.export(desk.studio, study, out)
    assert contents(out) == before
    (out / "my notes.txt").write_text("mine")
    with pytest.raises(EmotionOmniError, match="my notes.txt") as refused:
        export.export(desk.studio, study, out)
    assert refused.value.code == "not-empty" and (out / "my notes.txt").read_text() == "mine"
    with pytest.raises(EmotionOmniError, match="is a file") as refused:
        export.export(desk.studio, study, out / "README.md")
    assert refused.value.code == "not-empty"


def test_a_failure_leaves_the_earlier_export_and_no_half_one(desk, tmp_path, monkeypatch):
    study, out = small(desk), tmp_path / "exports" / "out"
    export.export(desk.studio, study, out)
    before = contents(out)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "card", full)
    with pytest.raises(EmotionOmniError, match="No space left") as refused:
        export.export(desk.studio, study, out)
    assert refused.value.code == "disk"
    assert contents(out) == before and [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_unknown_study_is_refused_and_leaves_no_file(desk, tmp_path):
    with pytest.raises(EmotionOmniError) as refused:
        export.export(desk.studio, "nothing", tmp_path / "sub" / "out")
    assert refused.value.code == "not-found" and not list((tmp_path / "sub").iterdir())


def test_a_sound_that_changed_on_disk_is_noticed(desk, tmp_path):
    study = small(desk)
    with desk.studio.store.read() as view:
        sha = view.items(study, "rate")[0]["content"]["clips"]["a"]["sha"]
    desk.studio.clips.path(sha).write_bytes(b"something else")
    with pytest.raises(EmotionOmniError) as refused:
        export.export(desk.studio, study, tmp_path / "out")
    assert refused.value.code == "clip-damaged" and not (tmp_path / "out").exists()


def test_a_withdrawal_during_an_export_stops_it_and_the_next_holds_nothing_of_them(desk, tmp_path, monkeypatch):
    study = small(desk)
    leaving = desk.rate(study, prefers("a"))
    with desk.studio.store.read() as view:
        pseudonym = export.Results.read(view, study, desk.studio.identity.secret).pseudonym(leaving)
        theirs = [row["id"] for row in view.ratings(study, rater=leaving)]
    export.export(desk.studio, study, tmp_path / "before")
    assert any(
        pseudonym.encode() in data for name, data in contents(tmp_path / "before").items() if name == "dpo.jsonl"
    )
    card = export.card

    def while_somebody_leaves(*told):
        desk.studio.withdraw(rater=leaving, study=None)
        return card(*told)

    monkeypatch.setattr(export, "card", while_somebody_leaves)
    with pytest.raises(EmotionOmniError) as refused:
        export.export(desk.studio, study, tmp_path / "out")
    assert refused.value.code == "changed-meanwhile" and not (tmp_path / "out").exists()
    monkeypatch.setattr(export, "card", card)
    export.export(desk.studio, study, tmp_path / "after")
    gone = {pseudonym, leaving, *theirs}
    assert not gone & {
        row[key] for row in pq.read_table(tmp_path / "after/ratings.parquet").to_pylist() for key in ("rater", "rating")
    }
    assert not any(word.encode() in data for word in gone for data in contents(tmp_path / "after").values())


def test_no_name_no_account_and_no_contributors_code_leaves_the_studio(desk, tmp_path):
    study = desk.study("empathy", [answered(desk, "I am here.", "So am I.")])
    lifecycle.add_items(
        desk.studio.store,
        study,
        [answered(desk, "This is my voice.", "It is a fine one.", contributor="code-of-the-voice")],
    )
    raters = [desk.rate(study, scores(5), name="Annabel Q. Rater") for _ in range(2)]
    export.export(desk.studio, study, tmp_path / "out")
    folder = tmp_path / "out"
    tables = [str(pq.read_table(folder / name).to_pylist()).encode() for name in ("ratings.parquet", "items.parquet")]
    for secret in ("Annabel", "code-of-the-voice", *raters):
        assert not any(secret.encode() in data for data in [*contents(folder).values(), *tables])
    by_query = {row["text"]: row for row in lines(folder, "sft.jsonl")}
    assert (by_query["This is my voice."]["contributed"], by_query["I am here."]["contributed"]) == (True, False)
    assert all(row["consent"] is True for row in by_query.values())


# --- evaluation never trains -------------------------------------------------------------------------------------


def test_an_evaluation_study_gives_no_training_file_and_the_card_says_why(desk, tmp_path):
    study = desk.study("compare", [comparison(desk)], split="evaluation")
    desk.rate(study, prefers("a"))
    manifest = export.export(desk.studio, study, tmp_path / "out")
    assert not set(export.TRAINING) & {path.stem for path in (tmp_path / "out").iterdir()}
    assert manifest.excluded == {"evaluation-study": 1} and manifest.kto_weights is None
    text = (tmp_path / "out/README.md").read_text()
    assert "none of them may be trained on" in text and "split: test" in text and "split: train\n" not in text


def test_items_that_an_evaluation_study_holds_in_any_form_never_train(desk, tmp_path):
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
    manifest = export.export(desk.studio, study, tmp_path / "out")
    trained = {row["text"] for row in lines(tmp_path / "out", "sft.jsonl")}
    assert trained == {items[name]["content"]["texts"]["query"] for name in ("far words", "own")}
    assert {row["prompt"][0]["content"] for row in lines(tmp_path / "out", "kto.jsonl")} == trained
    assert manifest.excluded["split-lock"] == 6
    assert manifest.rows["items.jsonl"] > len(trained)  # they stay among the items, whose ratings are exported


words = st.lists(
    st.sampled_from(["ja", "nein", "Haus", "Hund", "heute", "sehr", "gut", "ist", "das", "nie"]), max_size=9
)


@given(st.lists(words, max_size=6), words)
def test_the_quick_search_for_near_texts_finds_what_comparing_all_finds(held, asked_for):
    def alike(one, other):
        one, other = set(export.normalised(" ".join(one))), set(export.normalised(" ".join(other)))
        return bool(one) and 5 * len(one & other) >= 4 * len(one | other)

    found = export._Texts(" ".join(text) for text in held).near(" ".join(asked_for))
    assert found == any(alike(text, asked_for) for text in held)


def test_words_are_compared_without_case_and_punctuation_in_any_script():
    assert export.normalised("DON’T, don't…  Straße!") == ["dont", "dont", "strasse"]
    assert export.normalised("我很难过。") == ["我", "很", "难", "过"]


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
    manifest = export.export(desk.studio, study, tmp_path / "out")
    ratings = pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()
    assert {row["kind"] for row in ratings} == {"rate", "trap", "gold", "repeat"}
    by_outcome = {row["outcome"]: row["reasons"] for row in ratings}
    assert by_outcome["kept"] == "" and "traps" in by_outcome["flagged"]
    rows = lines(tmp_path / "out", "dpo.jsonl")
    assert len(rows) == 4 and manifest.rows["kto.jsonl"] == 8
    with desk.studio.store.read() as view:
        results = export.Results.read(view, study, desk.studio.identity.secret)
    for row in rows:
        assert row["chosen"][0]["content"] == "That must hurt." and row["raters"] == [results.pseudonym(kept)]
        assert (row["n_raters"], row["ratings_kept"], row["ratings_flagged"], row["vote_share"]) == (1, 1, 2, 1.0)
        assert "traps" in row["reasons"]
    assert f"{4 * len(flagged)} ordinary ratings by flagged raters" in (tmp_path / "out/README.md").read_text()
    assert {row["role"] for row in lines(tmp_path / "out", "items.jsonl")} == {"rate", "trap", "gold"}


# --- what votes say ----------------------------------------------------------------------------------------------


def test_margin_and_flip_rate_are_the_posteriors_worked_by_hand():
    assert export.margin(1, 1) == pytest.approx(0.693147, abs=1e-6)  # odds 2 : 1
    assert export.margin(2.5, 3) == pytest.approx(0.847298, abs=1e-6)  # odds 3.5 : 1.5
    assert export.flip_rate(1, 1) == pytest.approx(1 / 4)  # integral of 2 p from 0 to 1/2
    assert export.flip_rate(3, 5) == pytest.approx(22 / 64)  # P(Beta(4, 3) < 1/2) = P(Binomial(6, 1/2) >= 4)


@given(st.integers(1, 60), st.integers(0, 120))
def test_more_votes_mean_a_larger_margin_and_fewer_flips(n, halves):
    votes = min(n, n / 2 + (1 + halves) / 2)
    assert export.margin(votes, n) > 0 and 0 < export.flip_rate(votes, n) < 0.5
    assert export.margin(n, n) >= export.margin(votes, n) and export.flip_rate(n, n) <= export.flip_rate(votes, n)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_kto_weights_bring_the_labels_between_one_to_one_and_four_to_three(good, bad):
    weights = export.kto_weights(good, bad)
    assert 1 <= weights["desirable_weight"] * good / (weights["undesirable_weight"] * bad) <= 4 / 3
    assert 1.0 in weights.values() and min(weights.values()) >= 1.0


def test_kto_without_one_of_the_labels_has_no_weights():
    assert export.kto_weights(3, 0) is None and export.kto_weights(0, 3) is None


# --- each kind of row --------------------------------------------------------------------------------------------


def test_comparisons_become_preferences_with_ties_counted_half_and_tied_items_dropped(desk, tmp_path):
    known = {"planned": "calm", "timings": {"done": 1.5}, "heard": {"sad": 0.8, "calm": 0.2}}
    about = {"a": known | {"seed": 4}, "b": known | {"seed": 5}}
    study = desk.study(
        "compare", [comparison(desk, "Clear case here.", about=about), comparison(desk, "Undecided case there.")]
    )

    def answers(wanted):
        return lambda item, screen: prefers("tie" if "Undecided" in item["content"]["texts"]["query"] else wanted)(
            item, screen
        )

    raters = [desk.rate(study, answers(wanted)) for wanted in ("b", "b", "tie", "b", "a")]
    manifest = export.export(desk.studio, study, tmp_path / "out")
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Clear case here."}]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Bananas are yellow.", "That must hurt.")
    assert (row["vote_share"], row["n_raters"], len(row["raters"])) == (0.7, 5, len(raters))
    assert row["margin"] == pytest.approx(export.margin(3.5, 5), abs=1e-6)
    assert row["flip_rate"] == pytest.approx(export.flip_rate(3.5, 5), abs=1e-6)
    assert (row["chosen_system"], row["rejected_system"], row["chosen_seed"], row["rejected_seed"]) == (
        "two",
        "one",
        5,
        4,
    )
    assert json.loads(row["chosen_timings"]) == {"done": 1.5} and (row["chosen_emotion"], row["emotion"]) == (
        "calm",
        "sad",
    )
    assert row["side_as_stored"] + row["side_swapped"] == 5 and abs(row["side_as_stored"] - row["side_swapped"]) == 1
    assert row["heard_least"] >= 0.95 and row["scales"] == ["preference@1", "certainty@1", "note@1"]
    for side in ("query", "chosen", "rejected"):
        assert (tmp_path / "out" / row[f"{side}_file_name"]).is_file()
    (reward,) = lines(tmp_path / "out", "reward.jsonl")
    assert reward["chosen"] == row["prompt"] + row["chosen"] and reward["rejected"] == row["prompt"] + row["rejected"]
    kto = lines(tmp_path / "out", "kto.jsonl")
    assert [(one["completion"][0]["content"], one["label"]) for one in kto] == [
        ("Bananas are yellow.", True),
        ("That must hurt.", False),
    ]
    assert manifest.excluded == {"tie": 1}


def test_the_same_words_in_two_voices_are_marked_and_kept_out_of_kto(desk, tmp_path):
    study = desk.study("compare", [comparison(desk, a="The same words.", b="The  same words.")])
    desk.rate(study, prefers("a"))
    manifest = export.export(desk.studio, study, tmp_path / "out")
    assert [row["same_words"] for row in lines(tmp_path / "out", "dpo.jsonl")] == [True]
    assert "kto.jsonl" not in manifest.rows and manifest.excluded == {"same-words": 1}


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
    manifest = export.export(desk.studio, study, tmp_path / "out")
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
    assert manifest.kto_weights == export.kto_weights(2, 1)


def test_one_raters_liking_approves_nothing(desk, tmp_path):
    study = desk.study("empathy", [answered(desk, "Hello there.", "Hello.")])
    desk.rate(study, scores(5))
    assert "sft.jsonl" not in export.export(desk.studio, study, tmp_path / "out").rows


def test_corrected_answers_teach_and_stand_above_the_original(desk, tmp_path):
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
    manifest = export.export(desk.studio, study, tmp_path / "out")
    found = {(row["text"], row["reply"]): row for row in lines(tmp_path / "out", "sft.jsonl")}
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
        found["My cat died.", "Poor thing."]["emotion_source"],
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
    manifest = export.export(desk.studio, study, tmp_path / "out")
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


def test_sounds_of_different_rates_keep_their_own(desk, tmp_path):
    items = [desk.item({"speech": f"At {hz} hertz."}, {"speech": tone(0.4, hz=hz)}) for hz in (16_000, 24_000)]
    study = desk.study("emotion-recognition", items)
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    export.export(desk.studio, study, tmp_path / "out")
    described = json.loads(pq.read_schema(tmp_path / "out/emotion.parquet").metadata[b"huggingface"])
    assert described["info"]["features"]["audio"] == {"_type": "Audio", "sampling_rate": None}


def test_of_words_and_voice_apart_only_the_whole_recording_is_labelled(desk, tmp_path):
    sound = tone(0.5, pitch=200)
    made = desk.item({"speech": "Just words."}, {"speech": sound})
    study = desk.study("words-voice", in_modes(made, sound, desk.studio.clips))
    for _ in range(3):
        desk.rate(study, lambda item, screen: {"primary": "sad", "intensity": 3})
    manifest = export.export(desk.studio, study, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/emotion.parquet").to_pylist()
    assert [row["mode"] for row in rows] == ["both"] and manifest.excluded == {"words-or-voice-alone": 2}


def test_the_card_states_words_numbers_and_only_what_is_known(desk, tmp_path):
    study = desk.study("compare", [comparison(desk)], consent=["I agree to a special text."], licence="CC-BY-4.0")
    raters = [desk.rate(study, prefers(wanted)) for wanted in ("a", "a", "b")]
    desk.flag(study, raters[2])
    manifest = export.export(desk.studio, study, tmp_path / "out")
    head, text = (tmp_path / "out/README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    known = yaml.safe_load(head)
    assert (known["license"], known["language"], "audio" in known["tags"]) == ("cc-by-4.0", ["en"], True)
    assert {one["config_name"] for one in known["configs"]} == {"ratings", "items", "dpo", "kto", "reward"}
    scales = (SCALES["preference"].question, SCALES["certainty"].anchors[3])
    told = (
        "I agree to a special text.",
        "3 raters",
        "1 flagged",
        "researcher's decision: 1",
        "not stated",
        "Krippendorff's alpha",
    )
    for said in (
        *scales,
        *told,
        manifest.log_sha256,
        "What did you listen with?",
        f"is {manifest.label_smoothing:.3f}",
    ):
        assert said in text
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert (
        row["n_raters"] == 2 and row["ratings_flagged"] == 1 and row["flip_rate"] == manifest.label_smoothing == 0.125
    )


def test_a_translated_study_is_described_in_the_words_that_raters_read(desk, tmp_path, monkeypatch):
    english = SCALES["preference"].question
    monkeypatch.setattr(translate, "languages", lambda: ("en", "xx"))
    monkeypatch.setattr(
        translate, "words", lambda language: {english: "Was davon ist besser?"} if language == "xx" else {}
    )
    monkeypatch.setattr("annotation.study.rules.languages", translate.languages)
    study = desk.study("compare", [comparison(desk)], language="xx")
    desk.rate(study, prefers("a"))
    manifest = export.export(desk.studio, study, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "Was davon ist besser?" in text and english not in text
    (row,) = lines(tmp_path / "out", "dpo.jsonl")
    assert "preference@1-xx" in row["scales"] and manifest.scales["preference"] == "1-xx"
    assert {one["version"] for one in pq.read_table(tmp_path / "out/ratings.parquet").to_pylist()} == {"1-xx"}


@pytest.mark.parametrize(
    ("licence", "head"),
    [("not stated", {"license": "unknown"}), ("Ask us", {"license": "other", "license_name": "Ask us"})],
)
def test_a_licence_that_is_no_known_one_is_not_made_up(desk, tmp_path, licence, head):
    study = desk.study("compare", [comparison(desk)], licence=licence)
    export.export(desk.studio, study, tmp_path / "out")
    known = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    assert head.items() <= known.items()


# --- stock readers and trainers ----------------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Reads a configuration of a folder, with a cache of its own and no way out to any network."""
    datasets = pytest.importorskip("datasets")

    def refuse(*_):
        raise AssertionError("A reader of local files has called the network.")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return lambda folder, name: datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))


def test_stock_datasets_reads_every_configuration(desk, tmp_path, offline):
    import datasets

    study, out = small(desk), tmp_path / "out"
    manifest = export.export(desk.studio, study, out)
    for name in ("ratings", "items", "dpo", "kto", "reward"):
        found = offline(out, name)["train"]
        assert found.num_rows == manifest.rows[f"{name}.parquet"]
        if name != "ratings":
            path = str(out / f"{name}.jsonl")
            as_lines = datasets.load_dataset("json", data_files=path, cache_dir=str(tmp_path / "cache"))["train"]
            assert as_lines.sort("item").to_list() == found.select_columns(as_lines.column_names).sort("item").to_list()
    empty = desk.study("emotion-recognition", [desk.item({"speech": "Not rated."})], split="evaluation")
    export.export(desk.studio, empty, tmp_path / "empty")
    assert offline(tmp_path / "empty", "items")["test"].num_rows > 0
    study = desk.study(
        "emotion-recognition", [desk.item({"speech": f"Speech number {n}, all different."}) for n in range(2)]
    )
    desk.rate(study, lambda item, screen: asked(screen, first_value))
    export.export(desk.studio, study, tmp_path / "emotions")
    found = offline(tmp_path / "emotions", "emotion")["train"]
    assert isinstance(found.features["audio"], datasets.Audio) and found.features["audio"].sampling_rate == 16_000
    row = found.cast_column("audio", datasets.Audio(decode=False))[0]
    assert hashlib.sha256(row["audio"]["bytes"]).hexdigest() == row["audio_sha256"][0]


def test_a_column_whose_first_rows_are_empty_still_has_its_kind(desk, tmp_path, offline):
    """Otherwise a file would be read as far as its first value, and then refused."""
    study = small(desk)
    export.export(desk.studio, study, tmp_path / "out")
    found = offline(tmp_path / "out", "dpo")["train"]
    assert set(found["chosen_emotion"]) == {None} and found.features["chosen_emotion"].dtype == "string"
    assert found.features["chosen_seed"].dtype == "int64"


@pytest.fixture(scope="module")
def tiny():
    """A Llama of a few thousand random weights and a tokenizer of bytes, made on the spot."""
    pytest.importorskip("trl")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({letter: n for n, letter in enumerate([*letters, "<end>", "<pad>"])}, []))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }

    def model(kind: str):
        torch.manual_seed(0)
        made, labels = (
            (LlamaForSequenceClassification, {"num_labels": 1}) if kind == "reward" else (LlamaForCausalLM, {})
        )
        return made(LlamaConfig(**size, **labels))

    return model, tokenizer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Training files of every kind for text: a comparison, and answers with scores."""
    home = tmp_path_factory.mktemp("exported")
    desk = Desk(home / "home")
    compared = desk.study("compare", [comparison(desk, f"What a day number {n}.") for n in range(4)])
    for wanted in ("a", "a", "b"):
        desk.rate(compared, prefers(wanted))
    manifest = export.export(desk.studio, compared, home / "compared")
    about = {"event": "bad", "emotion": "sad"}
    scored = desk.study(
        "empathy", [answered(desk, f"I say this, the {n}th.", "Tell me more.", about=about) for n in range(4)]
    )
    for _ in range(2):
        desk.rate(scored, scores(5))
    export.export(desk.studio, scored, home / "scored")
    desk.studio.store.close()
    return home, manifest


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto", "reward"])
def test_one_step_of_the_stock_trainer_learns_from_the_file(exported, tiny, tmp_path, offline, kind):
    import torch
    import trl

    (home, manifest), (make, tokenizer) = exported, tiny
    rows = offline(home / ("scored" if kind == "sft" else "compared"), kind)["train"]
    trainer_of, config_of = {
        "sft": (trl.SFTTrainer, trl.SFTConfig),
        "dpo": (trl.DPOTrainer, trl.DPOConfig),
        "kto": (trl.KTOTrainer, trl.KTOConfig),
        "reward": (trl.RewardTrainer, trl.RewardConfig),
    }[kind]
    more = {"kto": manifest.kto_weights}
    if kind == "dpo":
        more["dpo"] = {"loss_type": ["robust"], "label_smoothing": manifest.label_smoothing}
    settings = config_of(
        output_dir=str(tmp_path / "run"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
        max_length=256,
        **more.get(kind, {}),
    )
    model = make(kind)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    reference = {"ref_model": make(kind)} if kind in ("dpo", "kto") else {}
    trainer = trainer_of(model=model, args=settings, train_dataset=rows, processing_class=tokenizer, **reference)
    loss = trainer.train().training_loss
    assert torch.isfinite(torch.tensor(loss)) and loss > 0
    assert any(not torch.equal(weight.detach(), before[name]) for name, weight in model.named_parameters())


def test_our_own_trainer_reads_the_conversations(exported, tmp_path):
    from emotion_omni.train import responder as answer

    class Letters:
        def encode(self, text):
            return type("Encoded", (), {"ids": [ord(letter) for letter in text]})

    home, _ = exported
    path = tmp_path / "sft.jsonl.gz"
    path.write_bytes(gzip.compress((home / "scored/sft.jsonl").read_bytes()))
    rows = answer.read_rows(path)
    assert len(rows) == 4
    for row in rows:
        ids, labels = answer.encode(row, Letters())
        prompt = "".join(chr(one) for one, label in zip(ids, labels, strict=True) if label == answer.IGNORED)
        assert "(sad, bad) I say this" in prompt
        assert "".join(map(chr, labels[len(prompt) :])).startswith("Tell me more.")


# --- the shape of the code ---------------------------------------------------------------------------------------


def test_every_reason_an_item_is_left_out_for_is_explained_in_the_card():
    noted = {
        node.slice.value
        for node in ast.walk(ast.parse(inspect.getsource(export)))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "left_out"
    }
    assert noted == set(export._REASONS)
