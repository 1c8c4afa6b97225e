"""What researchers bring: tables of many programs, archives of many systems, and what is wrong with some."""

from __future__ import annotations

import json
import os
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import noise, tone

from annotation.__main__ import main
from annotation.study import importing
from annotation.study.clips import Clips
from annotation.study.faults import ImportFaults
from annotation.study.producing import produce, read_queries
from annotation.study.rules import Study
from annotation.study.source import Source
from emotion_omni import audio
from emotion_omni.fake import FakeEngine
from emotion_omni.types import Audio, EmotionOmniError

RULES = {"title": "T", "template": "emotion-recognition"}
A, B = audio.wav_bytes(tone(0.5)), audio.wav_bytes(noise(0.5))
SILENT = audio.wav_bytes(Audio(np.zeros(8000, np.float32), 16_000))
REPORTS = Path(os.environ.get("EMOTION_OMNI_REPORTS", "none")) / "study"
SURROGATE = b'{"speech": "a.wav", "note": "\\ud83d"}'


def packed(path: Path, files: dict[str, Any]) -> Source:
    with zipfile.ZipFile(path / "in.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Source.archive(path / "in.zip")


def checked(path: Path, files: dict[str, Any], **rules: Any) -> importing.Checked:
    given = {} if any(name.endswith(".yaml") for name in files) else RULES | rules
    return importing.check(packed(path, files), given)


def faults(path: Path, files: dict[str, Any], **rules: Any) -> ImportFaults:
    with pytest.raises(ImportFaults) as caught:
        checked(path, files, **rules)
    return caught.value


READ = {
    "03_appledouble_outside.zip": 2,
    "05_top_folder_manifest_relative.zip": 2,
    "07_backslash.zip": 2,
    "10_semicolon.zip": 1,
    "13_latin1.zip": 1,
    "15_header_space.zip": 1,
    "16_header_caps.zip": 1,
    "17_trailing_space_name.zip": 1,
    "24_u2028.zip": 2,
    "25_jsonl_int_family0.zip": 2,
    "29_mp4_and_wav.zip": 5,
    "41_csv_expected_points.zip": 1,
    "49_manifest_csv_name.zip": 2,
    "50_metadata_jsonl.zip": 1,
    "68_macos_in_ipynb.zip": 1,
    "dir_02_macos": 2,
}
REFUSED = {
    "14_unquoted_comma.zip": "items.csv, row 2: It has 4 fields",
    "30_zero_bytes.zip": "empty.wav: ",
    "31_silent.zip": "silent.wav: ",
    "33_yaml_licence_empty.zip": "study.yaml: licence is empty",
    "35_yaml_takes_turns_text.zip": "study.yaml: takes_turns",
    "37_yaml_title_number.zip": "a text; put it in quotation marks",
    "59_surrogate.zip": "items.jsonl, line 1, column 'text_speech'",
    "64_big_int.zip": "items.jsonl, line 1, column 'x': .*too large",
}


def reported(name: str) -> importing.Checked:
    path = REPORTS / name
    if not path.exists():
        pytest.skip("EMOTION_OMNI_REPORTS names no folder with the reported imports")
    source = Source.folder(path) if path.is_dir() else Source.archive(path)
    return importing.check(source, {} if "study.yaml" in source.names else RULES)


@pytest.mark.parametrize("name", READ)
def test_imports_that_users_reported_are_read(name: str) -> None:
    assert len(reported(name).entries) == READ[name]


@pytest.mark.parametrize("name", REFUSED)
def test_imports_that_users_reported_are_refused_with_the_place(name: str) -> None:
    with pytest.raises(ImportFaults, match=REFUSED[name]):
        reported(name)


TABLE = "speech,text_speech,corpus\na.wav,Grüße,x\nb.wav,you,y\n"
LENIENT = {
    "tabs": {"items.csv": TABLE.replace(",", "\t")},
    "semicolons": {"items.csv": TABLE.replace(",", ";")},
    "semicolons, comma in a text": {"items.csv": 'speech;text_speech\na.wav;"Grüße"\nb.wav;you, too\n'},
    "excel says which": {"items.csv": "sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n")},
    "tsv": {"manifest.tsv": TABLE.replace(",", "\t")},
    "utf-16": {"items.csv": TABLE.encode("utf-16")},
    "utf-16 without mark": {"items.csv": TABLE.encode("utf-16-le")},
    "utf-16 in json lines": {
        "items.jsonl": '{"speech":"a.wav","text_speech":"Grüße"}\n{"speech":"b.wav"}'.encode("utf-16")
    },
    "utf-8 with mark": {"items.csv": TABLE.encode("utf-8-sig")},
    "windows": {"items.csv": TABLE.encode("cp1252")},
    "padded capitals": {"Items.CSV": " Speech , Text Speech\na.wav, Grüße \n b.wav ,you\n"},
    "no-break space": {"items.csv": "speech\u00a0,text-speech\na.wav,Grüße\nb.wav,you\n"},
    "old mac": {"items.csv": TABLE.replace("\n", "\r")},
    "blank rows": {"items.csv": "\n\n" + TABLE.replace("\nb", "\n,,\n\nb") + ",,\n\n"},
    "empty columns at the end": {"items.csv": "speech,text_speech,,\na.wav,Grüße,,\nb.wav,you,,\n"},
    "index of pandas": {"items.csv": ",speech,text_speech\n0,a.wav,Grüße\n1,b.wav,you\n"},
    "hugging face": {"metadata.csv": "file_name,transcription\na.wav,Grüße\nb.wav,you\n"},
    "hugging face lines": {"metadata.jsonl": '{"file_name":"a.wav","text":"Grüße"}\r\n{"file_name":"b.wav"}\r\n'},
    "a list": {"items.jsonl": '[{"speech":"a.wav","text_speech":"Grüße"},\n {"speech":"b.wav"}]'},
    "dots and slashes": {"items.csv": "speech,text_speech\n./a.wav,Grüße\n.\\b.wav,you\n"},
    "capital names": {"items.csv": "speech,text_speech\nA.WAV,Grüße\nb.Wav,you\n"},
}


@pytest.mark.parametrize("kind", LENIENT)
def test_what_is_clear_is_read(tmp_path: Path, kind: str) -> None:
    done = checked(tmp_path, {"a.wav": A, "b.wav": B} | LENIENT[kind])
    assert [entry.files["speech"] for entry in done.entries] == ["a.wav", "b.wav"]
    assert done.entries[0].values["text_speech"] == "Grüße"
    assert done.report()["left_out"] == []
    assert bool(done.notes) == (kind == "windows")


def test_a_zipped_folder_with_names_of_a_mac(tmp_path: Path) -> None:
    files = {
        "my study/cafe\u0301.wav": A,
        "my study/items.csv": "speech\ncaf\u00e9.wav\n",
        "my study/._cafe\u0301.wav": b"x",
        "__MACOSX/my study/._items.csv": b"x",
        "my study/.git/a.wav": A,
        "my study/notes.txt": "x",
        "my study/extra.flac": A,
    }
    done = checked(tmp_path, files)
    assert [entry.files["speech"] for entry in done.entries] == ["my study/cafe\u0301.wav"]
    assert {one["file"]: one["reason"] for one in done.left_out}["my study/extra.flac"] == "no row names it"
    assert len(done.left_out) == 5


def test_names_that_an_archive_holds_as_utf_8_without_saying_so(tmp_path: Path) -> None:
    packed(tmp_path, {"caXX.wav": A, "items.csv": "speech\ncaé.wav\n"})
    data = (tmp_path / "in.zip").read_bytes().replace(b"caXX.wav", "caé.wav".encode())
    (tmp_path / "in.zip").write_bytes(data)
    assert len(importing.check(Source.archive(tmp_path / "in.zip"), RULES).entries) == 1


def test_tables_in_two_folders_name_files_of_their_own(tmp_path: Path) -> None:
    files = {"x/a.wav": A, "x/metadata.csv": "file_name\na.wav\n", "y/a.wav": B, "y/metadata.csv": "file_name\na.wav\n"}
    assert [entry.files["speech"] for entry in checked(tmp_path, files).entries] == ["x/a.wav", "y/a.wav"]


LOUD = {
    "surplus": ({"items.csv": "speech,text_speech\na.wav,Well, I lost\nb.wav,x\n"}, "items.csv, row 2: It has 3"),
    "moved": ({"items.csv": "speech,text_speech,system\na.wav,Well, I lost\n"}, "row 2, column 'system'"),
    "near": ({"items.csv": "speech,text_speach\na.wav,x\n"}, "column 'text_speach': .*'text_speech'"),
    "near in lines": ({"items.jsonl": '{"speech":"a.wav","familly":"x"}'}, "line 1, column 'familly': .*'family'"),
    "no clip": ({"items.csv": "name,text\na.wav,x\n"}, "no column 'speech'; it has name, text"),
    "twice": ({"items.csv": "speech,text,Text\na.wav,x,y\n"}, "two columns"),
    "missing": ({"items.csv": "speech\na.wav\nc.wav\n"}, "items.csv, row 3, column 'speech': .*not there"),
    "elsewhere": ({"items.csv": "speech\n/home/me/a.wav\n"}, "A file of that name is 'a.wav'"),
    "repeated": (
        {"items.csv": "speech\na.wav\nb.wav\na.wav\n"},
        "row 4: It names the same recordings as items.csv, row 2",
    ),
    "open quotes": ({"items.csv": 'speech,text_speech\na.wav,"x\nb.wav,y\n'}, "quotation marks"),
    "unnamed": ({"items.csv": "speech,text_speech,\na.wav,x,y\n"}, "row 2: Column 3 has no name"),
    "surrogate": ({"items.jsonl": SURROGATE}, "line 1, column 'note': .*U\\+D83D"),
    "huge": ({"items.jsonl": '{"speech":"a.wav","x":[-1e999]}'}, "line 1, column 'x': .*too large"),
    "not a number": ({"items.jsonl": '{"speech":"a.wav","x":NaN}'}, "line 1: .*NaN is not a number"),
    "half a title": ({"study.yaml": 'title: "cut \\uD83D"\ntemplate: emotion-recognition\n'}, "half a character"),
    "zero": ({"items.jsonl": '{"speech":"a.wav","x":"\\u0000"}'}, "zero character"),
    "no text": ({"items.jsonl": '{"speech":"a.wav","text_speech":["x"]}'}, "must be a text"),
    "key twice": ({"items.jsonl": '{"speech":"a.wav","speech":"b.wav"}'}, "line 1: .*twice"),
    "two tables": ({"items.csv": "speech\na.wav\n", "items.jsonl": '{"speech":"b.wav"}'}, "several tables"),
    "other table": ({"transcripts.xlsx": b"x"}, "transcripts.xlsx is not read"),
    "mixed": ({"items.csv": "speech,note\na.wav,é".encode() + b"\xe9\n"}, "UTF-8 in part only: line 2"),
    "cyrillic": ({"items.csv": "speech,note\na.wav,привет\n".encode("cp1251")}, "neither UTF-8 nor Windows"),
    "mac roman": ({"items.csv": "speech,note\na.wav,für\n".encode("mac_roman")}, "neither UTF-8 nor Windows"),
    "silent": ({"c.wav": SILENT}, "c.wav: The recording is silent"),
    "clipped": ({"c.wav": audio.wav_bytes(tone(0.5, level=9.0))}, "c.wav: The recording is clipped"),
    "long family": ({"items.jsonl": json.dumps({"speech": "a.wav", "family": "f" * 81})}, "column 'family'"),
    "settings": (
        {"study.yaml": "title: 5\ntemplate: empathy\nsplit:\nblock_size: '9'\n"},
        "(?s)title.*split.*block_size",
    ),
}


@pytest.mark.parametrize("kind", LOUD)
def test_what_is_not_clear_is_refused_with_its_place(tmp_path: Path, kind: str) -> None:
    files, told = LOUD[kind]
    with pytest.raises(ImportFaults, match=told):
        checked(tmp_path, {"a.wav": A, "b.wav": B} | files)


def test_all_faults_are_told_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    table = "speech,guess,guess_probability\na.wav,furry,2\nc.wav,,\nsilent.wav,,\nb.wav,sad,\n"
    found = faults(tmp_path, {"a.wav": A, "b.wav": B, "silent.wav": SILENT, "items.csv": table})
    assert sorted((fault.row, fault.column) for fault in found.faults) == [
        ("row 2", "guess"),
        ("row 2", "guess_probability"),
        ("row 3", "speech"),
        ("row 4", "speech"),
    ]
    with pytest.raises(ImportFaults):
        importing.read_source(Source.archive(tmp_path / "in.zip"), Clips(tmp_path / "clips"), RULES)
    assert not (tmp_path / "clips").exists()


def test_two_files_of_one_name_in_an_archive(tmp_path: Path) -> None:
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a.wav", A)
        archive.writestr("a.wav", B)
    with pytest.raises(ImportFaults, match=r"a\.wav: The archive holds two files"):
        importing.check(Source.archive(tmp_path / "in.zip"), RULES)


def test_values_that_count_as_false_are_kept(tmp_path: Path) -> None:
    rows = '{"speech":"a.wav","family":0,"take":0,"ok":false}\n{"speech":"b.wav","family":0}'
    source = packed(tmp_path, {"a.wav": A, "b.wav": B, "items.jsonl": rows})
    items = importing.read_source(source, Clips(tmp_path / "clips"), RULES)[1]
    assert [item["family"] for item in items] == ["0", "0"]
    assert items[0]["content"]["source"]["row"] == {"speech": "a.wav", "family": 0, "take": 0, "ok": False}


@pytest.mark.parametrize("expected", ["4", "4.0", " 4", "[3, 4]", '{"empathy": "4"}'])
def test_numbers_of_a_csv_are_expected_as_numbers(tmp_path: Path, expected: str) -> None:
    quoted = expected.replace('"', '""')
    files = {"q.wav": A, "r.wav": B, "items.csv": f'query,reply,expected\nq.wav,r.wav,"{quoted}"\n'}
    source = packed(tmp_path, files)
    items = importing.read_source(source, Clips(tmp_path / "clips"), RULES | {"template": "empathy"})[1]
    assert items[0]["expected"]["empathy"] in (4, [3, 4])


@pytest.mark.parametrize(
    ("value", "read"),
    [("no", False), ("", False), (0, False), (None, False), ("yes", True), ("maybe", True), (True, True)],
)
@pytest.mark.parametrize(("licence", "stated"), [(None, "not stated"), (" ", "not stated"), (4, "4"), ("MIT", "MIT")])
def test_studies_stored_before_their_settings_were_checked_still_open(
    value: Any, read: bool, licence: Any, stated: str
) -> None:
    rules = Study.read(RULES | {"licence": licence, "takes_turns": value})
    assert rules.takes_turns is read and rules.licence == stated


def test_uploads_of_one_name_and_archives_beside_recordings(tmp_path: Path) -> None:
    for folder, data in (("one", A), ("two", B)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_bytes(data)
    packed(tmp_path, {"c.wav": A})
    source = Source.uploads([tmp_path / "one/a.wav", tmp_path / "two/a.wav", tmp_path / "in.zip"])
    assert len(importing.check(source, RULES).entries) == 3
    _, items = importing.read_source(source, Clips(tmp_path / "clips"), RULES)
    sources = [item["content"]["source"] for item in items]
    assert len({one["file"]["speech"] for one in sources}) == len(items) == 3
    assert [one["sha256"]["speech"] for one in sources].count(sha256(A).hexdigest()) == 2
    assert {one["place"] for one in sources} == {""}


def test_an_item_says_in_which_row_of_which_table_it_stands(tmp_path: Path) -> None:
    packed(tmp_path, {"a.wav": A, "b.wav": B, "items.csv": "speech,Room\n\nb.wav,1\na.wav,2\n"})
    _, items = importing.read_source(Source.archive(tmp_path / "in.zip"), Clips(tmp_path / "clips"), RULES)
    sources = [item["content"]["source"] for item in items]
    assert [(one["place"], one["row"]["Room"]) for one in sources] == [
        ("items.csv, row 3", "1"),
        ("items.csv, row 4", "2"),
    ]


@pytest.mark.parametrize("template", ["emotion-recognition", "words-voice", "empathy", "compare"])
def test_answers_to_queries_of_a_table_keep_its_columns(tmp_path: Path, template: str) -> None:
    table = "query,Speaker,take\ndeep/ask.wav,s1,007\nask.wav,s2,\n"
    packed(tmp_path, {"deep/ask.wav": A, "ask.wav": B, "items.csv": table})
    (tmp_path / "ask.wav").write_bytes(B)
    queries = read_queries([tmp_path / "in.zip", tmp_path / "ask.wav"])
    rules = Study.read({"title": "T", "template": template})
    items, refused = produce([("fake", FakeEngine())], queries, rules, Clips(tmp_path / "clips"))
    kept: dict[tuple, set] = {}
    for item in items:
        one = item["content"]["source"]
        ((role, name),) = one["file"].items()
        kept.setdefault((name, one["place"]), set()).add((one["row"].get("Speaker"), one["row"].get("take")))
        assert one["sha256"][role] == sha256({"deep/ask.wav": A}.get(name, B)).hexdigest() and not refused
    assert kept == {
        ("deep/ask.wav", "items.csv, row 2"): {("s1", "007")},
        ("ask.wav", "items.csv, row 3"): {("s2", None)},
        ("ask.wav", ""): {(None, None)},
    }


def test_a_folder_of_queries_names_all_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(A)
    (tmp_path / "in/silent.wav").write_bytes(SILENT)
    with pytest.raises(EmotionOmniError, match=r"silent\.wav: The recording is silent"):
        read_queries([tmp_path / "in"])
    (tmp_path / "in/silent.wav").unlink()
    assert [query.name for query in read_queries([tmp_path / "in"])] == ["a.wav"]


def test_a_query_may_be_called_as_the_second_of_one_name_would_be(tmp_path: Path) -> None:
    sound = audio.decode(A)
    queries = [(name, sound) for name in ("a.wav", "a.wav", "2 a.wav", "a.wav")]
    items, _ = produce([("fake", FakeEngine())], queries, Study.read(RULES), Clips(tmp_path / "clips"))
    assert len({item["family"] for item in items}) == 4


def test_queries_keep_their_names_and_are_never_one_family_by_name(tmp_path: Path) -> None:
    paths = []
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "ask.wav")
        paths[-1].write_bytes((A, B)[number])
    (tmp_path / "one/ask.flac").write_bytes(A)
    queries = read_queries([*paths, tmp_path / "one/ask.flac"])
    items, _ = produce([("fake", FakeEngine())], queries, Study.read(RULES), Clips(tmp_path / "clips"))
    assert len({item["family"] for item in items}) == 3
    sources = [item["content"]["source"] for item in items]
    assert [one["file"]["speech"] for one in sources] == ["ask.wav", "ask.wav", "ask.flac"]
    assert len({one["sha256"]["speech"] for one in sources}) == 2
    (tmp_path / "silent.wav").write_bytes(SILENT)
    with pytest.raises(EmotionOmniError, match=r"silent\.wav: The recording is silent"):
        read_queries([tmp_path / "silent.wav"])


def test_a_check_from_the_shell_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))
    packed(tmp_path, {"a.wav": A, "b.wav": B, "items.csv": "speech\na.wav\n"})
    command = ["create", str(tmp_path / "in.zip"), "--title", "T", "--template", "emotion-recognition", "--json"]
    assert main([*command, "--check"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["items"] == 1 and told["left_out"] == [{"file": "b.wav", "reason": "no row names it"}]
    assert not (tmp_path / "home").exists()
    packed(tmp_path, {"a.wav": A, "items.csv": "speech\nc.wav\nd.wav\n"})
    assert main(command) == 1
    told = json.loads(capsys.readouterr().out)
    assert [fault["row"] for fault in told["error"]["faults"]] == ["row 2", "row 3"]
