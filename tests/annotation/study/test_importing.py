"""Making studies: what an import takes, what it refuses and how it says so; and clips that betray nothing."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pyloudnorm
import pytest
import soundfile
from conftest import noise, tone
from starlette.requests import Request

from annotation.people.logins import COOKIE
from annotation.realtime.engine_pool import EnginePool
from annotation.store.store import Store
from annotation.studio import Studio
from annotation.study import checks, importing, lifecycle
from annotation.study.clips import HZ, LEAD_SECONDS, LUFS, TAIL_SECONDS, Clips, equalized, flac, without_words
from annotation.study.importing import read_source
from annotation.study.items import make_item
from annotation.study.live_turns import save_turn
from annotation.study.producing import answer, produce
from annotation.study.rules import Study
from annotation.study.source import Source
from annotation.study.templates import TEMPLATES
from annotation.ui.studies import Handlers
from emotion_omni import audio
from emotion_omni.fake import FakeEngine
from emotion_omni.types import Audio, EmotionOmniError, Event, Heard, Turn

RULES = {"title": "Mine", "template": "emotion-recognition"}
WAV = audio.wav_bytes(tone(0.5))


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """Beside the store, as in a studio."""
    return Clips(tmp_path / "audio")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(tmp_path)
    yield one
    one.close()


def packed(path: Path, files: Mapping[str, bytes | str]) -> Source:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Source.archive(path)


def folder(path: Path, files: Mapping[str, bytes | str]) -> Source:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return Source.folder(path)


def lines(*rows: Mapping[str, Any]) -> str:
    return "\n".join(map(json.dumps, rows))


def refused(code: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


# --- what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [packed, folder])
def test_a_manifest_in_json_lines_becomes_items(tmp_path: Path, clips: Clips, source: Any) -> None:
    row = {
        "query": "q.wav",
        "reply": "sub/r.wav",
        "text_query": "Hello",
        "text_reply": "Hi",
        "system": "engine-1",
        "guess": "joy",
        "guess_probability": 0.7,
        "family": "f",
        "speaker": 12,
    }
    files = {
        "q.wav": WAV,
        "sub/r.wav": WAV,
        "items.jsonl": lines(row) + "\n\n",
        "study.yaml": "title: Mine\ntemplate: empathy\n",
    }
    rules, items = read_source(source(tmp_path / "in", files), clips)
    assert (rules.title, rules.template, len(items)) == ("Mine", "empathy", 1)
    content = items[0]["content"]
    assert content["systems"] == {"reply": "engine-1"} and content["texts"] == {"query": "Hello", "reply": "Hi"}
    assert content["guess"] == {"label": "happy", "probability": 0.7} and content["about"] == {"speaker": 12}
    assert set(content["clips"]) == {"query", "reply"} and items[0]["family"] == "f" and items[0]["role"] == "rate"


def test_a_manifest_in_csv_becomes_items(tmp_path: Path, clips: Clips) -> None:
    header = "\ufeffspeech,text_speech,expected,guess,guess_probability,corpus"
    table = header + '\na.wav,"Hello, you",sad,,,x\nb.wav,,,angry,0.5,\n'
    _, items = read_source(folder(tmp_path / "in", {"a.wav": WAV, "b.wav": WAV, "items.csv": table}), clips, RULES)
    assert [item["role"] for item in items] == ["gold", "rate"]
    assert items[0]["expected"] == {"primary": "sad"} and items[0]["content"]["texts"] == {"speech": "Hello, you"}
    assert items[1]["content"]["guess"] == {"label": "angry", "probability": 0.5}


def test_recordings_alone_become_items(tmp_path: Path, clips: Clips) -> None:
    files = {"a.wav": WAV, "deep/b.WAV": audio.wav_bytes(noise(0.5)), "readme.txt": "no sound"}
    _, items = read_source(folder(tmp_path / "in", files), clips, RULES)
    assert len(items) == 2 and all(clips.path(item["content"]["clips"]["speech"]["played"]).exists() for item in items)


def test_words_against_voice_makes_three_modes_of_one_family(tmp_path: Path, clips: Clips) -> None:
    files = {"a.wav": WAV, "items.jsonl": lines({"speech": "a.wav", "text_speech": "Hello"})}
    _, items = read_source(folder(tmp_path / "in", files), clips, RULES | {"template": "words-voice"})
    assert [item["content"]["mode"] for item in items] == ["words", "voice", "both"]
    assert len({item["family"] for item in items}) == 1
    words, voice, both = (item["content"]["clips"]["speech"] for item in items)
    assert words == both != voice


@pytest.mark.parametrize(
    "expected", [{"empathy": {"low": 1, "high": 2}}, {"empathy": [1, 2]}, {"empathy": 1, "relevance": 2}, 3]
)
def test_what_is_expected_of_a_gold_item_may_be_a_value_a_list_or_a_range(
    tmp_path: Path, clips: Clips, expected: Any
) -> None:
    files = {"a.wav": WAV, "items.jsonl": lines({"query": "a.wav", "reply": "a.wav", "expected": expected})}
    _, items = read_source(folder(tmp_path / "in", files), clips, RULES | {"template": "empathy"})
    assert items[0]["role"] == "gold" and items[0]["expected"] == (
        expected if isinstance(expected, dict) else {"empathy": 3}
    )


def test_a_study_holds_its_items_and_the_checks_of_its_template(store: Store, clips: Clips) -> None:
    rules = Study.read(RULES)
    study = lifecycle.create(store, clips, rules, [make_item({"speech": tone(0.5)}, clips)])
    with store.read() as view:
        roles = [row["role"] for row in view.items(study)]
        assert clips_exist(clips, view.clips_in_use())
    assert roles.count("rate") == 1 and {"sound", "training", "gold", "trap"} < set(roles)
    refused("taken", lifecycle.create, store, clips, rules, [], None, study)


def clips_exist(clips: Clips, shas: set[str]) -> bool:
    return bool(shas) and all(clips.path(sha).exists() for sha in shas)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_the_checks_of_every_template_ask_for_what_can_be_answered(template: str) -> None:
    asked = {scale.name: scale for scale in TEMPLATES[template].asked(False)}
    found = list(checks.checks_for(TEMPLATES[template]))
    for check in found:
        assert all(checks.spoken(line).seconds > 0.3 for line in check.clips.values())
        for name, wanted in check.expected.items():
            if check.role != "sound":
                values = (
                    [wanted["low"], wanted["high"]]
                    if isinstance(wanted, dict)
                    else wanted
                    if isinstance(wanted, list)
                    else [wanted]
                )
                assert all(value in asked[name].values for value in values)
    assert {check.role for check in found} == {"sound", "training", "gold", "trap"}


# --- what is refused --------------------------------------------------------------------------------------------


def test_a_name_in_an_archive_cannot_point_outside(tmp_path: Path, clips: Clips) -> None:
    (tmp_path / "evil.wav").write_bytes(WAV)
    inside = packed(
        tmp_path / "in.zip", {"../evil.wav": WAV, "/abs.wav": WAV, "items.jsonl": lines({"speech": "../evil.wav"})}
    )
    before = sorted(path for path in tmp_path.rglob("*") if "audio" not in path.parts)
    read_source(inside, clips, RULES)  # read from the archive itself
    assert sorted(path for path in tmp_path.rglob("*") if "audio" not in path.parts) == before


@pytest.mark.parametrize("name", ["../evil.wav", "/etc/passwd", "a/../../evil.wav", "nothing.wav", "..", "."])
@pytest.mark.parametrize("source", [packed, folder])
def test_a_manifest_names_only_files_of_its_own(tmp_path: Path, clips: Clips, source: Any, name: str) -> None:
    (tmp_path / "evil.wav").write_bytes(WAV)
    inside = source(tmp_path / "in", {"a.wav": WAV, "items.jsonl": lines({"speech": "a.wav"}, {"speech": name})})
    told = refused("missing", read_source, inside, clips, RULES)
    assert told.startswith("items.jsonl, line 2, column 'speech': ") and "not there" in told


def test_an_unknown_setting_is_refused_with_the_nearest(tmp_path: Path, clips: Clips) -> None:
    inside = folder(
        tmp_path / "in", {"a.wav": WAV, "study.yaml": "title: Mine\ntemplate: empathy\nratings_per_itm: 3\n"}
    )
    assert "'ratings_per_item'" in refused("unknown-setting", read_source, inside, clips)


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "a: [", "", "\x00", "? {a: b}"])
def test_rules_that_are_no_settings_are_refused(text: str) -> None:
    refused("bad-yaml", importing.read_yaml, text.encode())


@pytest.mark.parametrize(
    ("bad", "code"),
    [(b"", "empty"), (b"no sound", "not-audio"), (WAV[:30], "not-audio"), (audio.wav_bytes(tone(0.05)), "too-short")],
)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, clips: Clips, bad: bytes, code: str) -> None:
    inside = folder(tmp_path / "in", {"a.wav": WAV, "b.wav": bad, "c.wav": WAV})
    assert refused(code, read_source, inside, clips, RULES).startswith("b.wav: ")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"text_speech": "no clip"}, "missing"),
        ({"speech": "a.wav", "guess": "furry"}, "unknown-emotion"),
        ({"speech": "a.wav", "guess": "sad", "guess_probability": "high"}, "bad-manifest"),
        ({"speech": "a.wav", "guess": "sad", "guess_probability": 2}, "bad-manifest"),
        ({"speech": "a.wav", "expected": "furry"}, "off-scale"),
        ({"speech": "a.wav", "expected": {"warmth": 3}}, "off-scale"),
        ({"speech": "a.wav", "expected": ["sad", "furry"]}, "off-scale"),
        ({"speech": "a.wav", "expected": "{broken"}, "bad-manifest"),
        ({"speech": "a.wav", "expected": {"intensity": {"low": "x"}}}, "off-scale"),
        ({"speech": "a.wav", "expected": {"intensity": {"least": 2}}}, "bad-manifest"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_by_its_number(tmp_path: Path, clips: Clips, row: dict, code: str) -> None:
    inside = folder(tmp_path / "in", {"a.wav": WAV, "b.wav": WAV, "items.jsonl": lines({"speech": "b.wav"}, row)})
    assert refused(code, read_source, inside, clips, RULES).startswith("items.jsonl, line 2, column ")


@pytest.mark.parametrize("line", ["{", "5", '["a.wav"]', '{"speech": NaN}', "[" * 100_000])
def test_a_line_that_is_no_object_is_refused_by_its_number(tmp_path: Path, clips: Clips, line: str) -> None:
    inside = folder(tmp_path / "in", {"a.wav": WAV, "items.jsonl": lines({"speech": "a.wav"}) + "\n" + line})
    assert "line 2" in refused("bad-manifest", read_source, inside, clips, RULES)


def test_words_against_voice_without_words_is_refused(tmp_path: Path, clips: Clips) -> None:
    inside = folder(tmp_path / "in", {"a.wav": WAV})
    assert "transcript" in refused("missing", read_source, inside, clips, RULES | {"template": "words-voice"})


def test_a_comparison_without_a_manifest_is_refused(tmp_path: Path, clips: Clips) -> None:
    inside = folder(tmp_path / "in", {"a.wav": WAV})
    assert "query, a, b" in refused("missing", read_source, inside, clips, RULES | {"template": "compare"})


def test_a_source_without_items_is_refused(tmp_path: Path, clips: Clips) -> None:
    refused("empty", read_source, folder(tmp_path / "in", {"readme.txt": "x"}), clips, RULES)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.study.source.LARGEST_UNPACKED", 2**20)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(2**20 + 1))
    assert path.stat().st_size < 10_000
    refused("too-large", Source.archive, path)


def test_a_single_recording_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "LARGEST_BYTES", 2**20)
    inside = packed(tmp_path / "in.zip", {"a.wav": bytes(2**21)})
    refused("too-large", read_source, inside, clips, RULES)


def test_an_archive_that_is_none_or_is_cut_off_is_refused(tmp_path: Path, clips: Clips) -> None:
    (tmp_path / "none.zip").write_bytes(b"no archive")
    refused("bad-archive", Source.archive, tmp_path / "none.zip")
    packed(tmp_path / "in.zip", {"a.wav": WAV})
    data = bytearray((tmp_path / "in.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    refused("bad-archive", Source.archive, tmp_path / "cut.zip")
    data[200] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(data)
    refused("bad-archive", read_source, Source.archive(tmp_path / "damaged.zip"), clips, RULES)


def test_an_archive_with_a_password_is_refused(tmp_path: Path, clips: Clips) -> None:
    packed(tmp_path / "in.zip", {"a.wav": WAV})
    data = bytearray((tmp_path / "in.zip").read_bytes())
    for place in (data.find(b"PK\x03\x04") + 6, data.find(b"PK\x01\x02") + 8):
        data[place] |= 1  # the flag that says so
    (tmp_path / "locked.zip").write_bytes(data)
    assert "password" in refused("bad-archive", read_source, Source.archive(tmp_path / "locked.zip"), clips, RULES)


# --- sounds that come and go ------------------------------------------------------------------------------------


def test_deleting_a_study_deletes_its_sounds_but_none_that_another_needs(store: Store, clips: Clips) -> None:
    shared, own = tone(0.5), noise(0.5)
    first = lifecycle.create(
        store, clips, Study.read(RULES), [make_item({"speech": sound}, clips) for sound in (shared, own)]
    )
    second = lifecycle.create(store, clips, Study.read(RULES), [make_item({"speech": shared}, clips)])
    with store.read() as view:
        before = view.clips_in_use()
    lifecycle.delete(store, clips, first)
    with store.read() as view:
        assert view.study(first) is None and clips_exist(clips, view.clips_in_use())
        assert not any(clips.path(sha).exists() for sha in before - view.clips_in_use())
    lifecycle.delete(store, clips, second)
    assert list(clips.folder.rglob("*.flac")) == []


def test_cleaning_spares_the_sounds_of_a_study_in_the_making(store: Store, clips: Clips) -> None:
    made = make_item({"speech": tone(0.5)}, clips)  # engines may take hours before its study is stored
    lifecycle.delete_unused_clips(store, clips)
    study = lifecycle.create(store, clips, Study.read(RULES), [made])
    with store.read() as view:
        assert clips_exist(clips, view.clips_in_use()) and view.items(study)


def test_cleaning_removes_what_a_crash_left_long_ago(store: Store, clips: Clips) -> None:
    left, again = (clips.add(sound)["sha"] for sound in (tone(0.5), noise(0.5)))
    for sha in (left, again):
        os.utime(clips.path(sha), (0, time.time() - 3 * 86_400))
    clips.add(noise(0.5))  # wanted anew just now
    lifecycle.delete_unused_clips(store, clips)
    assert not clips.path(left).exists() and clips.path(again).exists()


@pytest.mark.parametrize("sha", ["", "../../secret", "a" * 63, "A" * 64, "a" * 63 + "/", "a" * 65])
def test_a_sound_is_found_by_a_hash_and_nothing_else(clips: Clips, sha: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        clips.path(sha)


# --- clips that betray nothing ----------------------------------------------------------------------------------


def bursts(seconds: float, hz: int, level: float, lead: float = 0.0, seed: int = 0) -> Audio:
    """Noise that comes and goes four times a second, like syllables, after ``lead`` seconds of silence."""
    times = np.arange(int(seconds * hz)) / hz
    wave = np.random.default_rng(seed).normal(0, 1, len(times)) * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * times + np.pi))
    silence = np.zeros(int(lead * hz))
    return Audio(np.clip(level * np.concatenate([silence, wave, silence]), -1, 1).astype(np.float32), hz)


KINDS = {
    "quiet": bursts(1.5, 24_000, 0.002),
    "loud": bursts(1.5, 48_000, 0.9),
    "late": bursts(1.5, 16_000, 0.1, lead=0.8),
    "narrow": bursts(2.5, 8_000, 0.05),
    "tone": tone(1.2, 44_100),
    "spoken": checks.spoken("sad"),
}


def played(sound: Audio, clips: Clips) -> Audio:
    samples, hz = soundfile.read(io.BytesIO(clips.read(clips.add(sound)["played"])), dtype="float32")
    return Audio(samples, hz)


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_equally_loud_at_one_rate_and_do_not_clip(clips: Clips, kind: str) -> None:
    heard = played(KINDS[kind], clips)
    assert heard.hz == HZ and np.abs(heard.samples).max() < 0.98
    assert pyloudnorm.Meter(HZ).integrated_loudness(heard.samples.astype(np.float64)) == pytest.approx(LUFS, abs=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_clip_begins_and_ends_with_the_same_silence(clips: Clips, kind: str) -> None:
    heard = played(KINDS[kind], clips)
    blocks = heard.samples[: len(heard.samples) // 240 * 240].reshape(-1, 240)
    levels = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-12)
    loud = np.flatnonzero(levels > levels.max() - 35)
    assert loud[0] * 0.01 == pytest.approx(LEAD_SECONDS, abs=0.0101)
    assert heard.seconds - (loud[-1] + 1) * 0.01 == pytest.approx(TAIL_SECONDS, abs=0.0201)


def test_clips_are_of_one_format_with_nothing_written_into_them(clips: Clips) -> None:
    told = []
    for sound in KINDS.values():
        with soundfile.SoundFile(io.BytesIO(clips.read(clips.add(sound)["played"]))) as file:
            told.append((file.format, file.subtype, file.channels, file.samplerate, file.copy_metadata()))
    assert set(map(repr, told)) == {repr(("FLAC", "PCM_16", 1, HZ, {}))}


TIMES = np.arange(12_000)


@pytest.mark.parametrize(
    "samples", [np.zeros(12_000), np.full(12_000, 0.5), np.eye(1, 12_000, 6_000)[0], np.sign(np.sin(TIMES))]
)
def test_sounds_that_nobody_sends_are_equalised_without_harm(samples: np.ndarray) -> None:
    heard = equalized(Audio(samples.astype(np.float32), 24_000)).samples
    assert np.isfinite(heard).all() and np.abs(heard).max() < 1.0


def test_a_sound_is_kept_once_and_read_back_as_it_was(clips: Clips) -> None:
    sound = noise(0.5)
    assert clips.add(sound) == clips.add(sound)
    assert clips.read(clips.add(sound)["sha"]) == flac(sound)
    assert len(list(clips.folder.rglob("*"))) - len(list(clips.folder.iterdir())) == 2


@pytest.mark.parametrize("kind", ["loud", "narrow", "spoken"])
def test_a_masked_voice_has_lost_what_lies_above_its_melody(clips: Clips, kind: str) -> None:
    sha = clips.add_masked(KINDS[kind])["played"]
    masked, hz = soundfile.read(io.BytesIO(clips.read(sha)))
    power, freqs = np.abs(np.fft.rfft(masked)) ** 2, np.fft.rfftfreq(len(masked), 1 / hz)
    assert power[freqs > 600].sum() < 0.01 * power.sum()
    assert pyloudnorm.Meter(hz).integrated_loudness(masked) == pytest.approx(LUFS, abs=1.5)


def test_masking_keeps_the_melody_in_its_time() -> None:
    low = tone(0.5, pitch=200.0)
    masked = without_words(low)
    middle = slice(2000, 6000)
    assert np.abs(masked.samples[middle] - low.samples[middle]).max() < 0.02
    assert masked.hz == low.hz and len(masked.samples) == len(low.samples)


# --- by engines, from the tab -----------------------------------------------------------------------------------


class SeedRecorder(FakeEngine):
    """Keeps the seeds that it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: list[int] = []

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        self.seeds.append(seed)
        return super().respond(turn, seed=seed)


@pytest.mark.parametrize(("template", "seeds"), [("compare", [7, 8]), ("empathy", [7])])
def test_one_engine_is_compared_with_itself_under_two_seeds(clips: Clips, template: str, seeds: list[int]) -> None:
    engine = SeedRecorder()
    rules = Study.read(RULES | {"template": template})
    items, refused_answers = produce([("fake", engine)], [("hello", tone(0.5))], rules, clips, seed=7)
    assert engine.seeds == seeds and len(items) == 1 and refused_answers == []


def test_a_live_turn_belongs_to_its_code_and_its_study_stays_paused(store: Store, clips: Clips) -> None:
    given = answer(FakeEngine(), tone(0.5))
    code = save_turn(store, clips, tone(0.5), given, {"emotion": "sad"})
    with store.read() as view:
        (item,) = view.contributed(code)
        assert item["content"]["about"]["corrections"] == {"emotion": "sad"}
        assert view.study(item["study"])["state"] == "paused"
        assert view.contributed("another code") == []


def test_an_engine_that_gives_no_answer_is_reported(clips: Clips) -> None:
    class Silent(FakeEngine):
        def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
            return iter(())

    items, refused_answers = produce([("fake", Silent())], [("hello", tone(0.5))], Study.read(RULES), clips)
    assert items == [] and len(refused_answers) == 1 and refused_answers[0].startswith("hello: ")


class WordlessEngine(FakeEngine):
    """The fake, which makes out no words."""

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        for event in super().respond(turn, seed=seed):
            yield replace(event, transcript="") if isinstance(event, Heard) else event


@pytest.mark.parametrize("template", ["empathy", "emotion-recognition", "compare"])
def test_a_query_without_words_is_an_item_with_an_empty_text(clips: Clips, template: str) -> None:
    rules = Study.read(RULES | {"template": template})
    (item,), refused_answers = produce([("fake", WordlessEngine())], [("hello", tone(0.5))], rules, clips)
    assert (
        refused_answers == []
        and item["content"]["texts"]["speech" if template == "emotion-recognition" else "query"] == ""
    )


def test_words_against_voice_needs_words(clips: Clips) -> None:
    rules = Study.read(RULES | {"template": "words-voice"})
    queries = [("mute", tone(0.5)), ("again", tone(0.6))]
    items, refused_answers = produce([("fake", WordlessEngine())], queries, rules, clips)
    assert items == [] and [line.split(":")[0] for line in refused_answers] == ["mute", "again"]
    assert "No words could be made out" in refused_answers[0]


def test_a_live_turn_without_words_can_be_given(store: Store, clips: Clips) -> None:
    code = save_turn(store, clips, tone(0.5), answer(WordlessEngine(), tone(0.5)), {})
    with store.read() as view:
        (item,) = view.contributed(code)
    assert item["content"]["texts"]["query"] == "" and item["content"]["about"]["transcript"] == ""


class GatedEngine(FakeEngine):
    """The fake, which begins to answer and goes on once it may."""

    def __init__(self) -> None:
        self.begun, self.gate = threading.Semaphore(0), threading.Event()

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        self.begun.release()
        assert self.gate.wait(20)
        yield from super().respond(turn, seed=seed)


def asking(studio: Studio, person: str) -> gr.Request:
    cookie = f"{COOKIE}={studio.people.logins.issue(person)}".encode()
    return gr.Request(request=Request({"type": "http", "headers": [(b"cookie", cookie)]}))


def test_stop_ends_what_one_has_begun_and_nobody_elses(tmp_path: Path) -> None:
    files = [str(tmp_path / f"question{number}.wav") for number in range(3)]
    for file in files:
        Path(file).write_bytes(WAV)
    studio, engine = Studio.open(tmp_path / "home"), GatedEngine()
    handlers = Handlers(studio, EnginePool(lambda _: engine))
    people = [
        studio.people.invites.accept(studio.people.invites.create("researcher", name=name))
        for name in ("Ada", "Bo", "Cy")
    ]

    def make(title: str, request: gr.Request) -> None:
        handlers.create(
            title,
            "empathy",
            "engines",
            files,
            ["fake"],
            0,
            1,
            10,
            "open",
            "evaluation",
            "",
            request,
            lambda *_, **__: None,
        )

    ada, bo, cy = (asking(studio, person) for person in people)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(make, "Ada's", ada), pool.submit(make, "Bo's", bo)]
        try:
            assert engine.begun.acquire(timeout=20) and engine.begun.acquire(timeout=20), "both are being answered"
            assert "No engines are answering" in handlers.stop(cy) and "Stopping" in handlers.stop(ada)
        finally:
            engine.gate.set()
        for run in runs:
            run.result(30)
    with studio.store.read() as view:
        counts = {row["settings"]["title"]: len(view.items(row["id"], "rate")) for row in view.studies()}
    assert counts == {"Ada's": 1, "Bo's": 3}
    assert "No engines are answering" in handlers.stop(ada), "it is over"
    studio.close()
