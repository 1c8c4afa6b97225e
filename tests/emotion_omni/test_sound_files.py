"""Sound files in the format that their name ends with."""

from __future__ import annotations

import os

import pytest
import soundfile
from conftest import tone

from emotion_omni import audio, sound_files
from emotion_omni.types import EmotionOmniError


@pytest.mark.parametrize("ending", sound_files.FORMATS)
@pytest.mark.parametrize("hz", [16_000, 22_050, 24_000, 12_345])
def test_the_file_is_what_its_name_says(tmp_path, ending, hz):
    target = tmp_path / f"sound{ending}"
    sound_files.check_target(target)
    sound_files.write(target, tone(1.5, hz))
    about = soundfile.info(str(target))
    assert (about.format, about.subtype) == (sound_files.FORMATS[ending].name, sound_files.FORMATS[ending].subtype)
    read = audio.decode(target)
    assert read.seconds == pytest.approx(1.5, abs=0.06) and audio.dbfs(read.samples) == pytest.approx(-17, abs=1.5)


def test_mp3_ogg_flac_and_wav_can_be_written_here():
    assert {".wav", ".flac", ".ogg", ".mp3"} <= set(sound_files.FORMATS)


def test_a_long_sound_is_written_whole(tmp_path):
    sound_files.write(tmp_path / "long.ogg", tone(400, 24_000))
    assert soundfile.info(str(tmp_path / "long.ogg")).duration == pytest.approx(400, abs=0.1)


@pytest.mark.parametrize("name", ["sound", "sound.", ".wav", "sound.xyz", "sound.m4a", "sound.wav.txt", "sound.mp4"])
def test_an_unknown_ending_is_refused_with_those_that_work(tmp_path, name):
    for refuse in (sound_files.check_target, lambda target: sound_files.write(target, tone(1))):
        with pytest.raises(EmotionOmniError, match=r"\.wav, \.flac, \.ogg.* \.mp3") as caught:
            refuse(tmp_path / name)
        assert caught.value.code == "unknown-format" and not list(tmp_path.iterdir())


def test_places_where_nothing_can_be_written_are_refused(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "query.wav").write_bytes(b"a recording")
    (tmp_path / "other.wav").symlink_to(tmp_path / "query.wav")
    (tmp_path / "file").write_bytes(b"")
    wrong = {
        "folder.wav": "a folder",
        "no/where.wav": "no folder",
        "file/sound.wav": "no folder",
        "query.wav": "one of the recordings",
        "other.wav": "one of the recordings",
        f"{'x' * 300}.wav": "too long",
    }
    for name, reason in wrong.items():
        with pytest.raises(EmotionOmniError, match=reason) as caught:
            sound_files.check_target(tmp_path / name, [tmp_path / "query.wav", tmp_path / "missing.wav"])
        assert caught.value.code == "cannot-write"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EmotionOmniError, match="permission"):
        sound_files.check_target(tmp_path / "sound.wav")
