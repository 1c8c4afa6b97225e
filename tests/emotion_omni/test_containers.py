"""The whole recording is read, or refused with what was found."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone

from emotion_omni import audio, containers
from emotion_omni.types import EmotionOmniError

HZ = 24_000
REPORTS = Path(os.environ.get("EMOTION_OMNI_REPORTS", "none")) / "audio"


def encoded(samples: np.ndarray, form: str, subtype: str | None = None, hz: int = HZ, **more) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hz, format=form, subtype=subtype, **more)
    return buffer.getvalue()


def wave(seconds: float = 2.0, hz: int = HZ) -> np.ndarray:
    return tone(seconds, hz).samples


def with_size(data: bytes, riff: int | None, size: int) -> bytes:
    at = data.index(b"data") + 4
    data = data[:at] + struct.pack("<I", size) + data[at + 4 :]
    return data if riff is None else data[:4] + struct.pack("<I", riff) + data[8:]


def code_of(data: bytes) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        audio.decode(data)
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("02_size_zero.wav", 3.0),
        ("12_float_int_scale.wav", 3.0),
        ("37_all_zero.wav", 3.0),
        ("51_vbr_noxing.mp3", 3.05),
        ("58_mp3_in_wav.wav", 3.05),
        ("82_flac_in_ogg.ogg", 3.0),
        ("85b_piped.flac", 3.0),
        ("98_dc_0.1_realistic.wav", 5.0),
    ],
)
def test_recordings_that_users_reported_are_read_whole(name: str, seconds: float) -> None:
    if not (REPORTS / name).exists():
        pytest.skip("EMOTION_OMNI_REPORTS names no folder with the reported recordings")
    decoded = audio.decode(REPORTS / name)
    assert decoded.seconds == pytest.approx(seconds, abs=0.02)
    assert audio.clipped_share(decoded.samples) == 0


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("riff", "size"), [(0, 0), (None, 0), (2**32 - 1, 2**32 - 1), (0, 0x7FFFFFFF - 36)])
def test_a_wav_header_that_was_never_finished(subtype: str, riff: int | None, size: int) -> None:
    data = encoded(wave(), "WAV", subtype)
    decoded = audio.decode(with_size(data, riff, size))
    assert np.array_equal(decoded.samples, audio.decode(data).samples)


def test_a_wav_that_holds_more_or_less_than_it_tells_is_refused() -> None:
    data = encoded(wave(), "WAV", "PCM_16")
    assert code_of(with_size(data, None, 8_000)) == "not-audio"
    with pytest.raises(EmotionOmniError, match=r"tells 2\.00 s, the file holds 1\.00 s"):
        audio.decode(data[: 44 + HZ * 2])


def test_tags_after_the_sound_of_a_wav_are_no_sound() -> None:
    data = encoded(wave(), "WAV", "PCM_16")
    tagged = data + b"LIST" + struct.pack("<I", 40_000) + bytes(40_000)
    assert audio.decode(tagged).seconds == 2.0
    assert audio.decode(data + b"TAG" + bytes(125)).seconds == 2.0


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_frames_without_a_header_that_counts_them(mode: str) -> None:
    samples = np.concatenate([0.001 * wave(), np.random.default_rng(0).normal(0, 0.1, 2 * HZ).astype(np.float32)])
    data = encoded(samples, "MP3", bitrate_mode=mode)
    frames = list(containers._frames(data, 0))
    bare = b"".join(data[frame.start : frame.start + frame.size] for frame in frames[1:])
    assert audio.decode(bare).seconds == pytest.approx(4.0, abs=0.12)
    tagged = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + bare + b"TAG" + bytes(125)
    assert audio.decode(tagged).seconds == pytest.approx(4.0, abs=0.12)


def test_an_mp3_inside_a_wav() -> None:
    data = encoded(wave(), "MP3", bitrate_mode="VARIABLE")
    fmt = struct.pack("<HHIIHH", 0x55, 1, HZ, 4000, 1, 0) + struct.pack("<HHIHHH", 12, 1, 2, 576, 1, 1393)
    for size in (len(data), 0):
        body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + data
        wav = b"RIFF" + struct.pack("<I", len(body)) + body
        assert audio.decode(wav).seconds == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("MP3", None),
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("AIFF", "PCM_16"),
        ("CAF", "PCM_16"),
        ("AU", "PCM_16"),
        ("W64", "PCM_16"),
        ("W64", "FLOAT"),
        ("RF64", "PCM_16"),
        ("RF64", "PCM_24"),
    ],
)
def test_joined_recordings_are_all_read_and_cut_ones_refused(form: str, subtype: str | None) -> None:
    one = encoded(wave(), form, subtype)
    other = encoded(wave(1.0), form, subtype)
    assert audio.decode(one + other).seconds == pytest.approx(3.0, abs=0.01)
    assert audio.decode(one + other + one).seconds == pytest.approx(5.0, abs=0.01)
    assert code_of(one[: len(one) * 6 // 10]) == "not-audio"


def test_a_short_recording_after_another_is_read_too() -> None:
    for form in ("WAV", "W64", "RF64"):
        data = encoded(wave(), form, "PCM_16") + encoded(wave(0.07), form, "PCM_16")
        assert audio.decode(data).seconds == pytest.approx(2.07, abs=0.001), form


def test_joined_files_of_several_kinds_of_wav() -> None:
    plain, long = encoded(wave(), "WAV", "PCM_16"), encoded(wave(1.0), "RF64", "PCM_16")
    for data in (plain + long, long + plain, b"BW64" + long[4:] + plain):
        assert audio.decode(data).seconds == pytest.approx(3.0, abs=0.001)
    assert audio.decode(b"BW64" + long[4:]).seconds == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("size", [0, 24, 2**63 - 1, 2**64 - 1])
def test_a_wave64_header_that_was_never_finished(size: int) -> None:
    data = encoded(wave(), "W64", "PCM_16")
    at = data.index(b"data") + 16
    unfinished = data[:at] + struct.pack("<Q", size) + data[at + 8 :]
    for whole, seconds in ((unfinished, 2.0), (unfinished + unfinished, 4.0), (data + unfinished + data, 6.0)):
        assert audio.decode(whole).seconds == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("long_size", [0, 2**64 - 1])
def test_an_rf64_header_that_was_never_finished(long_size: int) -> None:
    data = encoded(wave(), "RF64", "PCM_16")
    at = data.index(b"ds64") + 16
    unfinished = with_size(data[:at] + struct.pack("<Q", long_size) + data[at + 8 :], None, 2**32 - 1)
    assert audio.decode(unfinished).seconds == pytest.approx(2.0, abs=0.001)
    assert audio.decode(unfinished + unfinished).seconds == pytest.approx(4.0, abs=0.001)


def test_piped_wavs_that_were_joined_have_no_header_in_their_sound() -> None:
    piped = with_size(encoded(wave(), "WAV", "PCM_16"), 2**32 - 1, 2**32 - 1)
    decoded = audio.decode(piped + piped)
    assert len(decoded.samples) == 2 * len(wave())


@pytest.mark.parametrize("form", ["W64", "RF64", "WAV"])
def test_a_second_recording_that_is_cut_off(form: str) -> None:
    one = encoded(wave(), form, "PCM_16")
    for left in (20, 60, len(one) // 2):
        assert code_of(one + one[:left]) == "not-audio", left


def pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    starts = [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"]
    return [data[at:end] for at, end in zip(starts, [*starts[1:], len(data)], strict=True)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_is_cut_between_pages(subtype: str) -> None:
    rng = np.random.default_rng(0)
    whole = pages(encoded(rng.normal(0, 0.1, 12 * HZ).astype(np.float32), "OGG", subtype))
    assert len(whole) > 6 and audio.decode(b"".join(whole)).seconds == pytest.approx(12.0, abs=0.02)
    for kept in range(3, len(whole)):
        with pytest.raises(EmotionOmniError, match=f"ends after {kept} pages"):
            audio.decode(b"".join(whole[:kept]))
    for without in ([*whole[:4], *whole[5:]], [*whole[:3], whole[4], whole[3], *whole[5:]], whole[1:]):
        with pytest.raises(EmotionOmniError, match="instead of"):
            audio.decode(b"".join(without))
    with pytest.raises(EmotionOmniError, match="cut off"):
        audio.decode(b"".join(whole[:-1] + whole))


def test_joined_recordings_of_two_rates_are_refused() -> None:
    data = encoded(wave(), "WAV", "PCM_16") + encoded(wave(hz=16_000), "WAV", "PCM_16", 16_000)
    with pytest.raises(EmotionOmniError, match="16000 Hz with 1 channels and 24000 Hz"):
        audio.decode(data)


def test_a_flac_of_unknown_length() -> None:
    data = bytearray(encoded(wave(), "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert audio.decode(bytes(data)).seconds == 2.0


def test_an_aiff_that_was_never_finished() -> None:
    data = bytearray(encoded(wave(), "AIFF", "PCM_16"))
    comm, sound = data.index(b"COMM"), data.index(b"SSND")
    data[comm + 10 : comm + 14] = bytes(4)
    data[sound + 4 : sound + 8] = bytes(4)
    data[4:8] = bytes(4)
    assert audio.decode(bytes(data)).seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("scale", [2.0**15, 2.0**23, 2.0**31])
@pytest.mark.parametrize("is_whole", [True, False])
def test_floats_at_the_scale_of_integers(scale: float, is_whole: bool) -> None:
    samples = wave().astype(np.float64) * scale
    data = encoded(np.round(samples) if is_whole else samples, "WAV", "FLOAT")
    assert np.abs(audio.decode(data).samples - wave()).max() < 1e-3


def test_floats_a_little_too_loud_keep_their_form() -> None:
    decoded = audio.decode(encoded(wave() * 10, "WAV", "FLOAT")).samples
    assert np.corrcoef(decoded, wave())[0, 1] > 0.9999 and np.abs(decoded).max() == pytest.approx(1.0)
    with pytest.raises(EmotionOmniError, match="between -1 and 1"):
        audio.decode(encoded(wave().astype(np.float64) * 1e15, "WAV", "DOUBLE"))


def test_what_is_silent_or_clipped_is_not_for_raters() -> None:
    for samples, code in (
        (np.zeros(HZ), "silent"),
        (np.full(HZ, 0.1), "silent"),
        (1e-5 * wave(), "silent"),
        (np.clip(8 * wave(), -1, 1), "clipped"),
        (np.clip(8 * wave(), -0.5, 0.5), "clipped"),
    ):
        with pytest.raises(EmotionOmniError) as caught:
            audio.check_usable(audio.check(samples.astype(np.float32), HZ))
        assert caught.value.code == code
    for samples in (wave(), 0.002 * wave(), wave() + 0.1, 5 * wave() / np.abs(5 * wave()).max()):
        audio.check_usable(audio.check(samples.astype(np.float32), HZ))


def test_an_offset_is_removed_without_moving_anything_else() -> None:
    lead = np.zeros(HZ // 2, np.float32)
    speech = np.concatenate([lead, wave(), lead])
    assert np.abs(audio.without_dc(speech + np.float32(0.1), HZ) - speech).max() < 1e-3
