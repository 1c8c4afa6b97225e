"""The command line as a program sees it: JSON on stdout, messages on stderr, honest exit codes."""

from __future__ import annotations

import io
import json

import pytest
import soundfile
from conftest import tone

from emotion_omni import cli


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*arguments: str, stdin: str = "") -> tuple[int, list[dict], str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        status = cli.main([*arguments, "--json", "--engine", "fake"])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return call


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "clip.wav", tone(1.0).samples, 16_000)
    return str(tmp_path / "clip.wav")


def test_hear(run, clip):
    status, rows, _ = run("hear", clip, clip)
    assert status == 0 and len(rows) == 2
    assert {"file", "transcript", "label", "probabilities", "valence", "arousal"} <= set(rows[0])
    assert rows[0]["file"] == clip and sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_one_bad_file_does_not_spoil_the_rest(run, clip, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    status, rows, err = run("hear", str(tmp_path / "bad.wav"), clip)
    assert status == 1 and rows[0]["error"]["code"] == "not-audio" and rows[1]["transcript"] and "bad.wav" in err


def test_talk_is_one_conversation(run, clip, tmp_path):
    out = tmp_path / "reply.wav"
    status, rows, _ = run("talk", clip, clip, "--out", str(out))
    assert status == 0 and ["turn 1" in rows[0]["reply"]["text"], "turn 2" in rows[1]["reply"]["text"]] == [True, True]
    assert set(rows[0]) == {"file", "transcript", "heard", "reply", "audio", "timings"}
    assert set(rows[0]["heard"]) == {"label", "probabilities", "valence", "arousal"}
    lengths = [soundfile.info(row["audio"]).duration for row in rows]
    assert soundfile.info(str(out)).duration == pytest.approx(sum(lengths) + cli.PAUSE_BETWEEN_TURNS, abs=0.01)


def test_talk_with_corrections(run, clip, tmp_path):
    _, rows, _ = run("talk", clip, "--out", str(tmp_path / "r.wav"), "--emotion", "joy", "--transcript", "We won!")
    assert rows[0]["transcript"] == "We won!" and rows[0]["heard"]["label"] == "happy"
    assert rows[0]["audio"] == str(tmp_path / "r.wav")


def test_reply_reads_lines_and_keeps_going(run):
    lines = [
        '{"text": "hi", "emotion": "happy"}',
        "not json",
        '{"text": "hi", "emotion": "hungry"}',
        '{"text": " "}',
        "[1]",
        '{"text": "so?", "history": [{"role": "user", "text": "a", "emotion": "sad"},'
        ' {"role": "assistant", "text": "b"}]}',
    ]
    status, rows, _ = run("reply", stdin="\n".join(lines))
    assert status == 1 and [("error" in row) for row in rows] == [False, True, True, True, True, False]
    assert rows[0]["emotion"] == "happy" and "turn 2" in rows[-1]["text"]
    assert rows[1]["line"] == 2


def test_speak(run, tmp_path):
    status, rows, _ = run("speak", "--text", "hello", "--emotion", "sad", "--out", str(tmp_path / "s.wav"))
    assert status == 0 and soundfile.info(rows[0]["audio"]).samplerate == rows[0]["hz"]
    status, rows, err = run("speak", "--text", "hello", "--out", str(tmp_path / "no" / "where.wav"))
    assert status == 1 and rows[0]["error"]["code"] == "cannot-write" and "where.wav" in err


def test_seed_changes_the_answer(run):
    texts = {run("reply", "--seed", seed, stdin='{"text": "hi"}')[1][0]["text"] for seed in ("1", "2", "1")}
    assert len(texts) == 2


@pytest.mark.parametrize("arguments", [[], ["sing"], ["hear"], ["talk", "a.wav"], ["hear", "a.wav", "--engine", "no"]])
def test_wrong_commands_exit_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["hear", "reply", "speak", "talk", "bench", "fetch", "serve"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0 and "Example:" in said and "--json" in said
