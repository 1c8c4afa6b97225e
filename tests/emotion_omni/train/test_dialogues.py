"""Rows of a data set: what is read, refused, hashed and split."""

from __future__ import annotations

import json
import shutil

import pytest
import soundfile
from conftest import noise
from tiny_training import (
    ROWS,
    write_rows,
)

from emotion_omni.train import dialogues
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize(
    ("changed", "line", "column"),
    [
        ({"reply": None}, 2, "reply"),
        ({"reply": "  "}, 2, "reply"),
        ({"reply": 7}, 2, "reply"),
        ({"query": ""}, 2, "query"),
        ({"query": "nowhere.wav"}, 2, "query"),
        ({"reply_audio": ["r1.wav"]}, 2, "reply_audio"),
        ({"reply_emotion": "hangry"}, 2, "reply_emotion"),
        ({"emotion": 3}, 2, "emotion"),
        ({"split": "training"}, 2, "split"),
        ({"reply_emotoin": "sad"}, 2, "reply_emotoin"),
        ({"history": [{"role": "user", "text": "Hi"}]}, 2, "history"),
        ({"history": [{"role": "assistant", "text": "Hi"}, {"role": "user", "text": "Ho"}]}, 2, "history"),
    ],
)
def test_an_invalid_row_is_refused_by_line_and_column(sounds, changed, line, column):
    with pytest.raises(EmotionOmniError, match=rf"[Ll]ine {line}, column '{column}'") as error:
        dialogues.read(write_rows(sounds, [ROWS[0], ROWS[1] | changed], "wrong"))
    assert error.value.code == "data"


@pytest.mark.parametrize(("text", "said"), [("{", "Line 1 .* not JSON"), ("[1]", "Line 1 .* object"), ("", "no rows")])
def test_a_line_that_is_not_a_row_is_refused(sounds, text, said):
    (sounds / "broken.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(EmotionOmniError, match=said):
        dialogues.read(sounds / "broken.jsonl")


def test_a_row_keeps_all_known_columns(sounds):
    history = [
        {"role": "user", "text": "My dog died.", "emotion": "sadness"},
        {"role": "assistant", "text": "That hurts."},
    ]
    full = ROWS[0] | {"history": history, "speaker": 7, "emotion": "joy", "licence": "CC0"}
    read = dialogues.read(write_rows(sounds, [full], "full"))
    (row,) = read.rows
    assert (
        row.earlier[0] == dialogues.Exchange("My dog died.", "sad", "That hurts.")
        and row.speaker == "7"
        and row.emotion == "happy"
    )
    assert read.ignored == ("licence",) and row.query.read() == (sounds / "q0.wav").read_bytes()


def test_the_column_names_of_an_audio_folder_mean_the_same(sounds):
    ours = dialogues.read(write_rows(sounds, ROWS, "ours"))
    names = {"query": "query_file_name", "reply_audio": "reply_file_name"}
    renamed = [{names.get(key, key): value for key, value in row.items()} for row in ROWS]
    assert dialogues.read(write_rows(sounds, renamed, "theirs")).sha256 == ours.sha256


def test_the_hash_depends_on_rows_and_on_audio(sounds, tmp_path):
    for index in range(4):
        for name in (f"q{index}.wav", f"r{index}.wav"):
            shutil.copy(sounds / name, tmp_path / name)
    same = dialogues.read(write_rows(tmp_path, ROWS)).sha256
    assert same == dialogues.read(write_rows(sounds, ROWS, "same")).sha256
    reworded = dialogues.read(write_rows(tmp_path, [ROWS[0] | {"reply": "Well!"}, *ROWS[1:]])).sha256
    soundfile.write(tmp_path / "r2.wav", noise(1.0, seed=99).samples, 16_000)
    assert len({same, reworded, dialogues.read(write_rows(tmp_path, ROWS)).sha256}) == 3


def test_no_speaker_is_in_both_splits(sounds):
    rows = [
        {key: value for key, value in ROWS[index % 4].items() if key != "split"} | {"speaker": f"s{index % 20}"}
        for index in range(80)
    ]
    read = dialogues.read(write_rows(sounds, rows, "speakers"), validation_ratio=0.2)
    sides = [{row.speaker for row in read.of(split)} for split in ("train", "dev")]
    assert [len(side) for side in sides] == [16, 4] and not sides[0] & sides[1]


def test_without_speakers_copies_of_a_recording_stay_in_one_split(sounds):
    rows = [{key: value for key, value in ROWS[index % 4].items() if key != "split"} for index in range(16)]
    read = dialogues.read(write_rows(sounds, rows, "nobody"), validation_ratio=0.25)
    sides = [{row.query.sha256 for row in read.of(split)} for split in ("train", "dev")]
    assert [len(side) for side in sides] == [3, 1] and not sides[0] & sides[1]


def test_a_data_set_of_the_hub_is_read_by_its_audio_columns(sounds, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(
        [
            {
                "query": {"bytes": (sounds / row["query"]).read_bytes(), "path": row["query"]},
                "reply": row["reply"],
                "reply_audio": {"bytes": (sounds / row["reply_audio"]).read_bytes(), "path": None},
            }
            for row in ROWS
        ]
    )
    audible = table.features | {"query": datasets.Audio(decode=False), "reply_audio": datasets.Audio(decode=False)}
    for split, rows in (("train", range(3)), ("validation", [3])):
        table.select(rows).cast(datasets.Features(audible)).to_parquet(
            tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        )
    read = dialogues.read(str(tmp_path / "data"))
    assert [row.reply for row in read.of("dev")] == ["Oh no, really?"] and len(read.of("train")) == 3
    assert read.rows[2].reply_audio.read() == (sounds / "r2.wav").read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_rows_in_another_encoding_are_the_same_rows(sounds, encoding):
    rows = [ROWS[0] | {"reply": "Schön, wirklich"}, *ROWS[1:]]
    ours = dialogues.read(write_rows(sounds, rows, "ours"))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    (sounds / "theirs.jsonl").write_bytes(text.encode(encoding))
    assert dialogues.read(sounds / "theirs.jsonl").sha256 == ours.sha256


def test_all_lines_that_are_no_rows_are_named_at_once(sounds):
    text = "".join(line + "\n" for line in (json.dumps(ROWS[0]), "{", '{"reply": NaN}', "", '{"reply": "\\ud83d"}'))
    (sounds / "broken.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(EmotionOmniError, match=r"(?s)Line 2 of .*Line 3 of .*NaN.*Line 5 of .*U\+D83D") as caught:
        dialogues.read(sounds / "broken.jsonl")
    assert caught.value.code == "data"
