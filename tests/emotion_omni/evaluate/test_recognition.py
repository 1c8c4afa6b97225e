"""The evaluation of recognition as a command, on made-up voices; resuming after a kill; the page."""

from __future__ import annotations

import html.parser
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from made_up_voices import write_corpus

from emotion_omni import cli, emotion
from emotion_omni.evaluate import recognition
from emotion_omni.evaluate.clip_features import ClipFeatures, Extracted
from emotion_omni.evaluate.recognition_page import page
from emotion_omni.types import EmotionOmniError, SpeakerEstimate

ROOT = Path(__file__).parents[3]
ONE = {"a": ("test", 110.0), "b": ("test", 180.0), "c": ("train", 150.0)}
TWO = {"x": ("test", 220.0), "y": ("dev", 130.0)}


@pytest.fixture(scope="module")
def packs(tmp_path_factory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("packs")
    one = write_corpus(folder / "one", "One", ONE)
    two = write_corpus(folder / "two", "Two", TWO, moods=("happy", "sad"), each=6)
    return one, two


class Listener:
    """Knows a clip's mood by its name; at first it takes the voices of "b" for angry, later it knows better."""

    name, identity, features_identity, why_no_speaker, training_log = "listener", "listener 1", "1", "", None

    def __init__(self) -> None:
        self.extracted = 0

    def extract(self, clip: Path) -> Extracted:
        self.extracted += 1
        speaker, mood, take = clip.stem.split("-")
        if (speaker, mood, take) == ("a", "sad", "0"):
            return Extracted(None, refused="no-speech")
        features = np.array([emotion.NAMES.index(mood), speaker == "b"], np.float32)
        return Extracted(features, words=0 if take == "1" else 3)

    def classify(self, features, speaker):
        known = speaker.turns if speaker else 0
        mood = "angry" if features[1] and known < 3 else emotion.NAMES[int(features[0])]
        return emotion.mixture({name: 0.65 if name == mood else 0.05 for name in emotion.NAMES}), SpeakerEstimate(
            known + 1, np.zeros(1, np.float32), "listener"
        )

    def tone_milliseconds(self):
        return 1.5


@pytest.fixture(scope="module")
def report(packs, tmp_path_factory):
    return recognition.measure(Listener(), recognition.Options(packs), tmp_path_factory.mktemp("cache"), lambda _: None)


def test_the_figures_by_hand(report):
    assert report["clips"] == 36 and report["speakers"] == 3 and set(report["corpora"]) == {"One", "Two"}
    one, two, pooled = report["corpora"]["One"], report["corpora"]["Two"], report["pooled"]
    # neutral 3/6, happy 3/6, angry 6/6 (b's too), sad 2/6 (one of a's refused)
    assert one["uar"]["k0"]["value"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 3) / 4, abs=1e-4)
    assert one["uar"]["k3"]["value"] == one["uar"]["all"]["value"] == pytest.approx((1 + 1 + 1 + 5 / 6) / 4, abs=1e-4)
    assert one["uar"]["k1"]["value"] == one["uar"]["k0"]["value"]
    assert two["uar"]["k0"] == {"value": 1.0}, "one speaker has no interval"
    assert one["uar"]["k0"]["low"] < one["uar"]["k0"]["value"] < one["uar"]["k0"]["high"]
    # happy (3 + 6) / 12, sad (2 + 6) / 12
    assert pooled["uar"]["k0"]["value"] == pytest.approx((1 / 2 + 9 / 12 + 1 + 8 / 12) / 4, abs=1e-4)
    folder = report["folders"]["one"]["uar"]["k0"]["value"]
    assert folder == one["uar_eight_classes"]["k0"]["value"]
    assert report["folders"]["two"]["clips"] == 12, "eight answers, as pooled, by folder of the data"
    assert report["mean_over_corpora"]["k0"] == pytest.approx((one["uar"]["k0"]["value"] + 1) / 2, abs=1e-4)


def test_refusals_words_and_calibration(report):
    one = report["corpora"]["One"]
    assert one["refused"] == {"share": round(1 / 24, 4), "reasons": {"no-speech": 1}}
    assert one["empty_words"] == pytest.approx(8 / 23, abs=1e-4)
    right = 23 - 9  # b's neutral, happy and sad are taken for angry
    assert one["calibration"]["k0"]["ece"] == pytest.approx(abs(0.65 - right / 23), abs=1e-4)
    assert one["calibration"]["k0"]["right_that_are_sure"] == 1.0
    assert one["calibration"]["k5"]["accuracy"] == 1.0
    assert one["confusion"]["k0"]["sad"] == dict.fromkeys(emotion.NAMES, 0.0) | {
        "sad": 2.0,
        "angry": 3.0,
        "refused": 1.0,
    }


def test_people_of_other_splits_lend_their_voices_only(report):
    """Corpus Two has one speaker in the split: the dev speaker is heard before, and never judged."""
    two = report["corpora"]["Two"]
    assert two["clips"] == 12 and two["speakers"] == 1 and two["uar"]["another_person_5"]["value"] == 1.0
    assert two["uar"]["one_mood_5"]["value"] == 1.0


def test_a_condition_that_suits_nobody_is_named(report):
    one = report["corpora"]["One"]
    assert "one_mood_5" not in one["uar"] and "enough clips" in one["not_run"]["one_mood_5"]
    assert "leave_one_corpus_out" in report["not_run"] and report["tone_milliseconds"] == 1.5
    assert report["machine"]["cores"] and report["versions"]["numpy"]


def test_a_recognizer_that_learns_no_voice_is_judged_without_turns(packs, tmp_path):
    deaf = Listener()
    deaf.why_no_speaker = "it cannot"
    found = recognition.measure(deaf, recognition.Options(packs), tmp_path, lambda _: None)
    assert list(found["pooled"]["uar"]) == ["k0"] and found["not_run"]["earlier turns"] == "it cannot"
    assert "earlier turns: not run, it cannot" in page(found)


def test_a_limit_keeps_all_moods_and_several_speakers(packs):
    clips, _ = recognition.choose_clips(
        recognition.read_manifests(packs), recognition.Options(packs, split="all", limit=8)
    )
    for corpus, moods in (("One", 4), ("Two", 2)):
        own = [clip for clip in clips if clip.source == corpus]
        assert len(own) == 8 and len({clip.emotion for clip in own}) == moods and len({c.speaker for c in own}) == 2


def test_features_are_found_again_by_content_and_identity(packs, tmp_path):
    listener, options = Listener(), recognition.Options(packs)
    first = recognition.measure(listener, options, tmp_path / "cache", lambda _: None)
    once = listener.extracted
    assert recognition.measure(listener, options, tmp_path / "cache", lambda _: None) == first
    assert listener.extracted == once, "all from disk"
    listener.features_identity = "2"
    recognition.measure(listener, options, tmp_path / "cache", lambda _: None)
    assert listener.extracted == 2 * once, "another recognizer has features of its own"


def test_a_renamed_clip_is_found_again_and_a_changed_one_is_not(tmp_path):
    files = ClipFeatures(tmp_path / "cache", "x")
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"one")
    (tmp_path / "c.wav").write_bytes(b"two")
    assert files.path(tmp_path / "a.wav") == files.path(tmp_path / "b.wav") != files.path(tmp_path / "c.wav")


def joined(packs: tuple[Path, ...]) -> str:
    return os.pathsep.join(map(str, packs))


def command(packs: tuple[Path, ...], folder: Path) -> list[str]:
    words = ["evaluate", "--only", "recognition", "--recognizer", "functionals", "--data", joined(packs), "--json"]
    return [*words, "--out", str(folder / "out"), "--cache", str(folder / "cache"), "--draws", "1"]


def test_a_run_that_was_killed_resumes_with_what_it_had(packs, tmp_path, capsys):
    program = subprocess.Popen(
        [sys.executable, "-m", "emotion_omni", *command(packs, tmp_path)], cwd=ROOT, stdout=-3, stderr=-3
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cache").glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(program.pid, signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL and not (tmp_path / "out").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npz")}
    assert cli.main(command(packs, tmp_path)) == 0
    found = json.loads(capsys.readouterr().out)
    assert before and {path: path.stat().st_mtime_ns for path in before} == before, "kept, not computed again"
    assert found == json.loads((tmp_path / "out" / "recognition.json").read_text())
    assert found["clips"] == 36 and "k20" in found["pooled"]["uar"]


class _Outside(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.targets += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "circle", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in ("circle", "line", "polyline"):
            assert self.open.pop() == tag


def test_the_page_is_one_file_that_needs_nothing_else(report):
    text, reader = page(report), _Outside()
    reader.feed(text)
    assert reader.open == [] and reader.targets == [] and "<script" not in text and "url(" not in text
    assert "prefers-color-scheme: dark" in text and "NaN" not in text and "None" not in text
    labels = re.findall(r'aria-label="([^"]+)"', text)
    assert len(labels) == text.count("<svg") >= 4


def test_names_in_the_data_are_escaped(report):
    assert "<b>" not in page(report | {"recognizer": "<b>bold</b>"})


def test_what_cannot_be_evaluated_is_refused_first(packs, tmp_path, capsys):
    for words, code in (
        (["--data", str(tmp_path / "nowhere")], "missing"),
        (["--data", joined(packs), "--recognizer", "omni:x"], "unknown-engine"),
        (["--data", str(packs[1]), "--split", "train"], "no-data"),
    ):
        assert cli.main(["evaluate", "--out", str(tmp_path / "out"), "--json", *words]) == 1
        assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_a_manifest_without_a_column_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_text("path,emotion\na.wav,happy\n")
    with pytest.raises(EmotionOmniError, match="source"):
        recognition.check(recognition.Options((tmp_path,)))
