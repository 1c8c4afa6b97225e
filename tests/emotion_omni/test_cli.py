"""The command line as a program sees it: JSON on stdout, messages on stderr, honest exit codes."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import tone

from emotion_omni import cli, emotion
from emotion_omni.cli.conversation import PAUSE_BETWEEN_TURNS
from emotion_omni.cli.train import settings_from
from emotion_omni.fake import FakeEngine
from emotion_omni.train.part_settings import CodecSettings, ResponderSettings
from emotion_omni.train.settings import Settings
from emotion_omni.types import NO_WORDS, Heard

ROOT = Path(__file__).parents[2]


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


def test_turns_of_one_speaker_are_heard_knowing_those_before(run, clip, tmp_path):
    soundfile.write(tmp_path / "loud.wav", tone(1.0, level=0.9).samples, 16_000)
    loud = str(tmp_path / "loud.wav")
    _, together, _ = run("hear", loud, clip, loud, "--same-speaker")
    _, apart, _ = run("hear", loud, clip, loud)
    assert [row["turns_known"] for row in together] == [0, 1, 2] and [row["turns_known"] for row in apart] == [0, 0, 0]
    assert together[0]["probabilities"] == apart[0]["probabilities"]
    assert together[2]["probabilities"] != apart[2]["probabilities"] == apart[0]["probabilities"]


def test_a_bad_turn_does_not_lose_the_speaker(run, clip, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    status, rows, _ = run("hear", clip, str(tmp_path / "bad.wav"), clip, "--same-speaker")
    assert status == 1 and "error" in rows[1] and rows[2]["turns_known"] == 1


def test_hear_without_words_says_so(run, clip, monkeypatch, capsys):
    monkeypatch.setattr(FakeEngine, "_recognize", lambda self, turn: Heard("", emotion.one_hot("sad")))
    _, rows, _ = run("hear", clip)
    assert rows[0]["transcript"] == "" and rows[0]["label"] == "sad"
    assert cli.main(["hear", clip, "--engine", "fake"]) == 0
    assert f"{NO_WORDS} — sad" in capsys.readouterr().out


def test_hear_says_in_words_when_it_is_not_sure_and_where_the_tone_changes(run, clip, monkeypatch, capsys):
    unsure = emotion.mixture(dict.fromkeys(emotion.NAMES, 0.1) | {"sad": 0.3, "calm": 0.2})
    over_time = tuple((0.6 + 0.2 * at, emotion.one_hot("sad" if at < 5 else "angry")) for at in range(10))
    heard = Heard("Well.", unsure, over_time, turning_point=1.5)
    monkeypatch.setattr(FakeEngine, "_recognize", lambda self, turn: heard)
    assert cli.main(["hear", clip, "--engine", "fake", "--same-speaker"]) == 0
    said = "not sure: sad (27%) or calm (18%); sad → angry at 1.5 s; 0 earlier turns of this voice known"
    assert said in capsys.readouterr().out
    _, rows, _ = run("hear", clip)
    assert rows[0]["sure"] is False and rows[0]["turning_point"] == 1.5


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
    assert soundfile.info(str(out)).duration == pytest.approx(sum(lengths) + PAUSE_BETWEEN_TURNS, abs=0.01)


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
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6]


LINES = {
    "null": '"text": null',
    "number": '"text": 5',
    "list": '"text": ["a"]',
    "emotion": '"text": "a", "emotion": ["sad"]',
    "history": '"text": "a", "history": {"role": "user"}',
    "message": '"text": "a", "history": ["user"]',
    "role": '"text": "a", "history": [{"text": "b"}]',
    "words": '"text": "a", "history": [{"role": "user", "text": ["b"]}]',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_reply_takes_texts_for_texts_alone(run, line):
    status, rows, err = run("reply", stdin=f'\n{{{line}}}\n{{"text": "a"}}\n')
    assert status == 1 and ["error" in row for row in rows] == [True, False] and [row["line"] for row in rows] == [2, 3]
    assert "line 2: " in err and "1 of 2 inputs failed" in err


def test_reply_to_nothing_says_so(run):
    assert run("reply", stdin="\n \n")[:2] == (0, []) and "nothing to do" in run("reply", stdin="")[2]


NO_SOUND_FILES = ["reply", "reply.xyz", "reply.m4a", "no/reply.wav", "", "..", "folder.wav", "q.wav/x.wav"]


@pytest.mark.parametrize("out", NO_SOUND_FILES)
@pytest.mark.parametrize("command", [("talk", "q.wav"), ("talk", "q.wav", "q.wav"), ("speak", "--text", "hello")])
def test_a_place_that_is_no_sound_file_is_refused_before_any_work(run, command, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emotion_omni.cli.conversation.load_engine", lambda options: pytest.fail("work has begun"))
    soundfile.write("q.wav", tone(1.0).samples, 16_000)
    (tmp_path / "folder.wav").mkdir()
    status, rows, err = run(*command, "--out", out)
    assert status == 1 and len(rows) == 1 and rows[0]["error"]["code"] in ("unknown-format", "cannot-write")
    assert "Cannot write" in err and sorted(path.name for path in tmp_path.iterdir()) == ["folder.wav", "q.wav"]


def test_talk_does_not_write_over_what_it_is_given(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "a-2.wav"):
        soundfile.write(name, tone(1.0).samples, 16_000)
    for files in (["./a.wav"], ["a.wav", "a-2.wav"], ["a-2.wav", "a-2.wav"]):
        status, rows, _ = run("talk", *files, "--out", "a.wav")
        assert status == 1 and "one of the recordings" in rows[0]["error"]["message"]
    assert {soundfile.info(name).duration for name in ("a.wav", "a-2.wav")} == {1.0}


@pytest.mark.parametrize("ending", ["mp3", "MP3", "flac", "ogg"])
def test_sounds_are_in_the_format_that_their_name_says(run, clip, ending, tmp_path):
    out = str(tmp_path / f"reply.{ending}")
    expected = ending.upper()
    assert run("speak", "--text", "hello", "--out", out)[0] == 0 and soundfile.info(out).format == expected
    _, rows, _ = run("talk", clip, clip, "--out", out)
    assert {soundfile.info(name).format for name in (out, *(row["audio"] for row in rows))} == {expected}


def test_each_reply_is_numbered_like_its_file(run, clip, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    status, rows, _ = run("talk", str(tmp_path / "bad.wav"), clip, "--out", str(tmp_path / "r.wav"))
    assert status == 1 and rows[1]["audio"] == str(tmp_path / "r-2.wav") and (tmp_path / "r.wav").exists()


def test_an_argument_that_is_no_text_is_refused(run, clip, tmp_path):
    for arguments in (("speak", "--text", "a\udcff"), ("talk", clip, "--transcript", "\ud83d")):
        with pytest.raises(SystemExit) as caught:
            run(*arguments, "--out", str(tmp_path / "r.wav"))
        assert caught.value.code == 2


def test_a_recording_with_an_empty_name_is_asked_for(run):
    status, rows, _ = run("hear", "")
    assert status == 1 and rows[0]["error"]["message"].startswith("Give a recording: WAV")


def test_speak(run, tmp_path):
    status, rows, _ = run("speak", "--text", "hello", "--emotion", "sad", "--out", str(tmp_path / "s.wav"))
    assert status == 0 and soundfile.info(rows[0]["audio"]).samplerate == rows[0]["hz"]
    slow = str(tmp_path / "slow.wav")
    run("speak", "--text", "hello", "--rate", "0.5", "--intensity", "0.6", "--voice", "am_echo", "--out", slow)
    assert soundfile.info(slow).duration == pytest.approx(2 * rows[0]["seconds"], abs=0.01)
    status, rows, err = run("speak", "--text", "hello", "--out", str(tmp_path / "no" / "where.wav"))
    assert status == 1 and rows[0]["error"]["code"] == "cannot-write" and "where.wav" in err


def test_seed_changes_the_answer(run):
    texts = {run("reply", "--seed", seed, stdin='{"text": "hi"}')[1][0]["text"] for seed in ("1", "2", "1")}
    assert len(texts) == 2


WRONG = [
    "",
    "sing",
    "hear",
    "talk a.wav",
    "hear a.wav --engine no",
    "hear a.wav --engine fake --checkpoint x",
    "hear a.wav --engine omni:y --checkpoint x",
    "hear a.wav --engine hub:huge",
    "hear a.wav --engine cascade:",
    "talk a.wav --out b.wav --emotion hungry",
    "speak --text x --out y --emotion hungry",
    "train",
    "train everything",
    "train understand --data x",
    "train understand --data x --out y --config huge",
    "train understand --data x --out y --config missing.json",
    "train understand --data x --out y --config small --parent z",
    "train understand --data x --out y --batch-size 0",
    "train speak --data x --out y",
    "train speak --data x --out y --parent z --warmup-ratio 2",
    "train codec --out y --sentences 3",
    "train recognizer --data x",
    "train responder --out y --epochs 0",
    "checkpoint",
    "checkpoint show",
    "checkpoint push name",
    "bench",
    "bench latency --runs 0",
    "bench omni --config huge",
    "bench tone-contrast --data x",
    "convert",
]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_commands_exit_with_two(line, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("train understand --data x --out y --lora-learning-rate=-1", "--lora-learning-rate is -1.0"),
        ("train understand --data x --out y --lora-rate=-1", "--lora-learning-rate is -1.0"),
        ("train speak --parent z --data x --out y --max-grad-norm 0", "--max-grad-norm is 0.0"),
        ("train codec --out y --max-steps 3", "--max-steps is 3"),
    ],
)
def test_an_error_names_the_option_as_it_is_typed(line, option, capsys):
    with pytest.raises(SystemExit):
        cli.main(line.split())
    assert f"error: {option}" in capsys.readouterr().err


def commands(parser, *path) -> list[list[str]]:
    """Every command that runs, with the commands above it."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        return [list(path)]
    return [found for name, sub in groups[0].choices.items() for found in commands(sub, *path, name)]


@pytest.mark.parametrize("path", commands(cli.parser()), ids=" ".join)
def test_every_command_explains_itself(path, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([*path, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0 and "Example:" in text and "--json" in text


def test_help_imports_no_torch():
    program = "import sys; from emotion_omni import cli; cli.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


ALIASES = [
    ("understand", "--steps", "max_steps", 7),
    ("understand", "--batch", "batch_size", 7),
    ("understand", "--accumulate", "gradient_accumulation_steps", 7),
    ("understand", "--adapter-rate", "learning_rate", 0.25),
    ("understand", "--lora-rate", "lora_learning_rate", 0.25),
    ("understand", "--warm-up", "warmup_ratio", 0.25),
    ("understand", "--clip", "max_grad_norm", 0.25),
    ("understand", "--told", "correction_rate", 0.25),
    ("understand", "--held-out", "validation_ratio", 0.25),
    ("understand", "--evaluate-every", "eval_steps", 7),
    ("understand", "--save-every", "save_steps", 7),
    ("understand", "--frozen", "base_dtype", "bfloat16"),
    ("understand", "--checkpointing", "gradient_checkpointing", True),
    ("speak", "--speech-rate", "learning_rate", 0.25),
    ("speak", "--batch", "batch_size", 7),
    ("speak", "--warm-up", "warmup_ratio", 0.25),
    ("speak", "--clip", "max_grad_norm", 0.25),
    ("speak", "--told", "correction_rate", 0.25),
    ("speak", "--frozen", "base_dtype", "bfloat16"),
    ("responder", "--rate", "learning_rate", 0.25),
    ("responder", "--limit-seconds", "max_seconds", 7.0),
    ("codec", "--steps", "max_steps", 77),
]
KINDS = {"responder": ResponderSettings, "codec": CodecSettings}


@pytest.mark.parametrize(("what", "alias", "name", "value"), ALIASES, ids=lambda value: str(value))
def test_an_option_of_the_last_release_sets_the_same_setting(what, alias, name, value, capsys):
    kind = KINDS.get(what, Settings)
    needed = ["--data", "x"] if kind is Settings else []
    given = [alias] if value is True else [alias, str(value)]
    options = cli.parser().parse_args(["train", what, "--out", "y", *needed, *given])
    assert settings_from(options, kind) == kind(**{name: value})
    standard = [f"--{name.replace('_', '-')}", *given[1:]]
    assert settings_from(cli.parser().parse_args(["train", what, "--out", "y", *needed, *standard]), kind) == kind(
        **{name: value}
    )
    with pytest.raises(SystemExit):
        cli.main(["train", what, "--help"])
    assert f"{alias} " not in capsys.readouterr().out, "hidden"


def test_from_is_parent():
    options = cli.parser().parse_args(["train", "speak", "--data", "x", "--out", "y", "--from", "z"])
    assert options.parent == "z"


@pytest.mark.parametrize("option", ["--adapter-rate=1", "--lora-rate=1", "--emotion-weight=1", "--config=small"])
def test_an_option_without_effect_is_accepted_with_a_warning(option, tmp_path, caplog):
    """Release 0.1 accepted these in stage speak, where they do nothing."""
    status = cli.main(["train", "speak", "--data=x.jsonl", "--out", str(tmp_path), "--parent=nowhere", option])
    assert status == 1 and f"{option.partition('=')[0]} has no effect" in caplog.text


@pytest.mark.slow
def test_a_program_that_has_answered_exits_cleanly():
    """A decoding thread that still ran at exit aborted two of three processes."""
    command = [sys.executable, "-m", "emotion_omni", "reply", "--json"]
    line = '{"text": "I lost my job.", "emotion": "sad"}\n'
    for _ in range(4):
        done = subprocess.run(command, input=line, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and json.loads(done.stdout)["text"], done.stderr
