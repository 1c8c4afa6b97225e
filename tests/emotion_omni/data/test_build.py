import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
import yaml
from corpora import InlinePool, PoisonedPool, built, contents, small_plan

from emotion_omni import cli
from emotion_omni.data.build import build
from emotion_omni.data.finish import finish
from emotion_omni.data.plan import Filters, Mix, Speech
from emotion_omni.data.worker import Worker
from emotion_omni.train import dialogues
from emotion_omni.types import EmotionOmniError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    found = built(small_plan(), tmp_path_factory.mktemp("corpus") / "whole")
    finish(found, {})
    return found


def test_everything_that_was_planned_is_kept_or_rejected(corpus):
    ledgers = [corpus.ledger(shard) for shard in corpus.shards]
    assert [one["tried"] for one in ledgers] == [10, 10, 4]
    assert all(one["kept"] + one["rejected"] == one["tried"] for one in ledgers)
    assert not list((corpus.folder / "work").iterdir())


def test_the_same_plan_gives_the_same_bytes(corpus, tmp_path):
    again = built(small_plan(), tmp_path / "again")
    finish(again, {"seconds": 3})
    assert contents(again.folder) == contents(corpus.folder)


@pytest.mark.parametrize("dies_after", [1, 7, 16])
def test_an_interrupted_build_goes_on_and_repeats_only_what_was_in_hand(corpus, tmp_path, dies_after):
    plan, folder = small_plan(), tmp_path / "cut"
    first, second = InlinePool(plan, dies_after), InlinePool(plan)
    with pytest.raises(KeyboardInterrupt):
        build(plan, folder, lambda: first, lambda line: None)
    found, _ = build(plan, folder, lambda: second, lambda line: None)
    finish(found, {})
    assert contents(folder) == contents(corpus.folder)
    assert len(set(first.given) & set(second.given)) <= 3


def test_a_dialogue_that_a_power_cut_emptied_is_made_again(corpus, tmp_path):
    plan, folder = small_plan(), tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        build(plan, folder, lambda: InlinePool(plan, 7), lambda line: None)
    next((folder / "work").rglob("*.zip")).write_bytes(b"")
    finish(built(plan, folder), {})
    assert contents(folder) == contents(corpus.folder)


def test_a_finished_corpus_needs_no_worker(corpus):
    def none():
        raise AssertionError("a pool was started")

    _, progress = build(small_plan(), corpus.folder, none, lambda line: None)
    assert progress.already == 24 and not progress.kept


def test_a_folder_of_another_plan_is_refused(corpus, tmp_path):
    with pytest.raises(EmotionOmniError, match="another plan"):
        built(small_plan(seed=5), corpus.folder)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(EmotionOmniError, match="other files"):
        built(small_plan(), tmp_path)


def test_rejections_are_kept_with_reasons_and_measurements(tmp_path):
    plan = small_plan(filters=Filters(recognizer="none", max_seconds=2.0))
    found = built(plan, tmp_path / "strict")
    rejected = list(found.rejected())
    assert rejected and all("too long" in one["reasons"][0] for one in rejected if "unwritten" not in one["reasons"][0])
    assert any(
        row["query_measured"]["seconds"] > 0 for one in rejected for row in one["rows"] if "query_measured" in row
    )
    report = finish(found, {})
    assert report["kept"] + report["rejected"] == 24 and report["reasons"]["reply too long"] > 0


def test_a_dialogue_that_fails_is_one_rejection(monkeypatch, tmp_path):
    def refuse(self, scenario, dialogue):
        if scenario.index == 3:
            raise EmotionOmniError("There is nothing to pronounce.", "unspeakable")
        return whole(self, scenario, dialogue)

    from emotion_omni.data.voice import DialogueSpeaker

    whole = DialogueSpeaker.speak
    monkeypatch.setattr(DialogueSpeaker, "speak", refuse)
    (one,) = [one for one in built(small_plan(), tmp_path / "one").rejected() if "unspoken" in one["reasons"][0]]
    assert one["index"] == 3


def test_the_hub_reads_the_shards_as_sound(corpus):
    datasets = pytest.importorskip("datasets")
    table = datasets.load_dataset(str(corpus.folder), cache_dir=str(corpus.folder.parent / "cache"))
    rows = table["train"]
    assert isinstance(rows.features["query"], datasets.Audio)
    schema = pq.read_schema(next((corpus.folder / "data").glob("train-*.parquet")))
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"].keys() == set(schema.names)


def test_training_reads_a_corpus_without_unpacking_it(corpus):
    read = dialogues.read(corpus.folder)
    manifest = json.loads((corpus.folder / "manifest.json").read_text())
    assert len(read.rows) == manifest["statistics"]["turns"] and read.of("train")
    row = read.rows[0]
    assert row.query.read()[:4] == b"fLaC" and row.reply_audio and row.reply_audio.read()[:4] == b"fLaC"
    assert row.emotion and row.reply_emotion and row.transcript and row.speaker
    assert any(row.earlier for row in dialogues.read(corpus.folder).rows) == any(
        one["turn"] for one in corpus.kept_rows(["turn"])
    )


def test_a_corpus_without_a_finished_shard_is_refused(tmp_path):
    plan = small_plan(dialogues=5)
    with pytest.raises(KeyboardInterrupt):
        build(plan, tmp_path / "begun", lambda: InlinePool(plan, 2), lambda line: None)
    with pytest.raises(EmotionOmniError, match="no finished shard"):
        dialogues.read(tmp_path / "begun")


def test_card_and_manifest_tell_what_there_is(corpus):
    card = (corpus.folder / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0" and front["configs"][0]["data_files"][0]["split"] == "train"
    assert "checked, none found" in card and "a rehearsal" in card
    manifest = json.loads((corpus.folder / "manifest.json").read_text())
    assert manifest["complete"] and manifest["statistics"]["leaks"] == {
        "texts_in_two_splits": [],
        "voices_in_two_splits": [],
    }


def test_only_the_first_dialogues(tmp_path):
    plan = small_plan()
    found, progress = build(plan, tmp_path / "few", lambda: InlinePool(plan), lambda line: None, limit=10)
    assert progress.kept + progress.rejected == 10 and found.is_done(0) and not found.is_done(1)
    assert "Not complete" in (finish(found, {}) and (found.folder / "README.md").read_text(encoding="utf-8"))


def test_a_worker_gives_the_same_bytes_as_any_other():
    from emotion_omni.data.exchange_writer import ExchangeWriter
    from emotion_omni.data.scenarios import scenarios
    from emotion_omni.data.worker import Task

    plan = small_plan(speech=Speech(synthesizer="fake", room=1.0, noise=1.0), mix=Mix(cues=1.0))
    rows = list(scenarios(plan))
    text = ExchangeWriter(rows, 0).write(rows[5])
    one, other = (Worker(plan).finish(Task(rows[5], text)) for _ in range(2))
    assert one.sounds == other.sounds and one.rows == other.rows and "room" in one.rows[0]["channel"]


def test_the_command_plans(capsys):
    assert cli.main(["data", "plan", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dialogues"] == 100 and report["cells"]["of"] == 160


@pytest.mark.slow
def test_a_dialogue_that_kills_its_worker_is_quarantined_alone(tmp_path):
    plan = small_plan(dialogues=8, shard=8)
    found, _ = build(plan, tmp_path / "poison", lambda: PoisonedPool(plan, 1), lambda line: None)
    (one,) = [one for one in found.rejected() if "quarantined" in one["reasons"][0]]
    assert one["index"] == 3 and found.ledger(0)["tried"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_kills_at_random_moments_change_no_byte(tmp_path, seed):
    """The command, with worker processes, is killed until it gets through."""
    plan, whole, cut = tmp_path / "plan.json", tmp_path / "whole", tmp_path / "cut"
    plan.write_text(small_plan(dialogues=60).to_json())
    command = [sys.executable, "-m", "emotion_omni", "data", "build", "--plan", str(plan), "--workers", "2", "--out"]
    started = time.monotonic()
    subprocess.run([*command, str(whole)], cwd=ROOT, check=True, capture_output=True)
    seconds, rng, kills = time.monotonic() - started, Random(seed), 0
    while True:
        process = subprocess.Popen([*command, str(cut)], cwd=ROOT, stdout=-3, stderr=-3)
        try:
            process.wait(rng.uniform(0.4, 1.1) * seconds if kills < 6 else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills and contents(cut) == contents(whole)
