"""The published CosyVoice2 → a folder that speaks, with tiny random weights in place of the published ones."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import pytest
from conftest import noise
from tiny_cosyvoice2 import CPU
from tiny_onnx import write_speaker_encoder, write_tokenizer

from emotion_omni.synthesis import cosyvoice2_convert, token2wav
from emotion_omni.synthesis.config import CosyVoice2Config
from emotion_omni.synthesis.cosyvoice2 import CosyVoice2Synthesizer
from emotion_omni.synthesis.cosyvoice2_convert import convert
from emotion_omni.synthesis.cosyvoice2_folder import MARKER
from emotion_omni.synthesis.cosyvoice2_networks import CODES, SMALL
from emotion_omni.synthesis.token2wav import Token2Wav
from emotion_omni.synthesis.vocoder import load_tokenizer, load_vocoder
from emotion_omni.types import Delivery, EmotionOmniError


@pytest.fixture
def source(published, tmp_path, monkeypatch):
    """Tiny published files in place of those that are fetched, and an empty cache, where CosyVoice2 is looked for."""
    for file in published.iterdir():
        (tmp_path / file.name).symlink_to(file)
    write_tokenizer(tmp_path)
    write_speaker_encoder(tmp_path)
    kokoro = SimpleNamespace(synthesize=lambda text, delivery: iter([noise(3.0, level=0.2)]))
    monkeypatch.setattr(cosyvoice2_convert, "SOURCE", str(tmp_path))
    monkeypatch.setattr(cosyvoice2_convert, "PUBLISHED", SMALL)
    monkeypatch.setattr(cosyvoice2_convert.KokoroSynthesizer, "load", lambda: kokoro)
    monkeypatch.delenv("EMOTION_OMNI_COSYVOICE", raising=False)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path / "cache"))
    return tmp_path


def load(folder: str = "") -> CosyVoice2Synthesizer:
    return CosyVoice2Synthesizer.load(CosyVoice2Config(folder=folder), CPU)


def test_published_files_and_a_recording_become_a_folder_that_speaks(source):
    assert convert(source / "ours", str(source), noise(3.0, level=0.2), SMALL) == source / "ours"
    assert not list((source / "ours").rglob("*.pt"))
    assert list(load(str(source / "ours")).synthesize("hi", Delivery("happy")))


def test_without_a_folder_it_is_put_where_all_engines_look(source):
    folder = convert(None, str(source), noise(3.0, level=0.2), SMALL)
    assert folder == source / "cache" / "cosyvoice2"
    assert list(load().synthesize("hi", Delivery("happy")))
    assert isinstance(load_vocoder("cosyvoice2", CODES), Token2Wav)
    assert len(load_tokenizer("cosyvoice2", CODES)(noise(1.0))) == 25


def test_another_voice_replaces_the_first_and_other_files_stay(source):
    folder = convert(None, str(source), noise(3.0, level=0.2, seed=1), SMALL)
    (folder / "mine.txt").write_text("keep me")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    convert(folder, str(source), noise(3.0, level=0.2, seed=2), SMALL)
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert after.keys() == before.keys() and {file.name for file in before if before[file] != after[file]} == {
        "voice.safetensors"
    }


def test_an_interrupted_conversion_leaves_no_folder(source, monkeypatch):
    monkeypatch.setattr(token2wav, "convert", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        convert(None, str(source), noise(3.0, level=0.2), SMALL)
    assert [file.name for file in (source / "cache").iterdir()] == ["cosyvoice2.lock"]


def test_a_space_converts_by_itself_once(source, monkeypatch, caplog):
    with pytest.raises(EmotionOmniError, match="Run once"):
        load()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    with caplog.at_level("INFO"):
        assert isinstance(load(), CosyVoice2Synthesizer)
    assert "Converting CosyVoice2" in caplog.text
    monkeypatch.setattr(cosyvoice2_convert, "_convert", lambda *arguments: pytest.fail("converted again"))
    assert isinstance(load(), CosyVoice2Synthesizer)


def test_two_at_once_convert_once(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path))
    converted = []

    def slowly(folder, *arguments):
        converted.append(folder)
        time.sleep(0.2)
        folder.mkdir()
        (folder / MARKER).touch()

    monkeypatch.setattr(cosyvoice2_convert, "_convert", slowly)
    both = [threading.Thread(target=cosyvoice2_convert.convert_once, args=(tmp_path / "ours",)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    assert converted == [tmp_path / "ours"]


def test_a_missing_package_is_noticed_before_anything_is_fetched(monkeypatch, tmp_path):
    for name in ["cosyvoice", "cosyvoice.utils", *(name for name in sys.modules if name.startswith("cosyvoice."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path))
    monkeypatch.setattr(cosyvoice2_convert, "_fetch", lambda name: pytest.fail("fetched"))
    with pytest.raises(EmotionOmniError, match="requirements-gpu") as caught:
        convert(tmp_path / "ours")
    assert caught.value.code == "missing-package"
