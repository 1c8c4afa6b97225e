"""Whatever people send becomes sound, or an error that says why not."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from conftest import tone

from emotion_omni import audio
from emotion_omni.types import Audio, EmotionOmniError


def encoded(samples: np.ndarray, hz: int, form: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hz, format=form, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
    ],
)
@pytest.mark.parametrize("hz", [8_000, 48_000])
def test_formats_of_libsndfile(form, subtype, hz):
    decoded = audio.decode(encoded(tone(1.0, hz).samples, hz, form, subtype))
    assert decoded.hz == hz and decoded.seconds == pytest.approx(1.0, abs=0.12)
    assert audio.dbfs(decoded.samples) == pytest.approx(audio.dbfs(tone(1.0).samples), abs=1.5)


@pytest.mark.parametrize("form", ["m4a", "mp4"])
def test_formats_of_phones(form, tmp_path):
    codecpod = pytest.importorskip("codecpod")
    target = tmp_path / f"clip.{form}"
    try:
        codecpod.save(str(target), tone(1.0, 44_100).samples, 44_100)
    except (codecpod.CodecpodError, ValueError, TypeError) as error:
        pytest.skip(f"this build cannot write {form}: {error}")
    assert audio.decode(target).seconds == pytest.approx(1.0, abs=0.15)


def test_webm_as_browsers_record(tmp_path):
    """A Matroska file with Opus inside, written here byte by byte from an Ogg stream's packets."""
    decoded = audio.decode(webm_from(tone(1.0, 48_000).samples))
    assert decoded.hz == 48_000 and decoded.seconds == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"no sound at all" * 50, "not-audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(200), "not-audio"),
        (b"\0\0\0\x18ftypM4A " + bytes(200), "not-audio"),
        (b"RIFF\xff\xff\xff\xffWAVE", "not-audio"),
    ],
)
def test_what_is_not_audio_is_refused(data, code):
    with pytest.raises(EmotionOmniError) as caught:
        audio.decode(data)
    assert caught.value.code == code


def test_a_file_cut_off_is_read_as_far_as_it_goes_or_refused():
    whole = encoded(tone(2.0).samples, 16_000, "FLAC")
    for share in (0.02, 0.3, 0.9):
        try:
            assert audio.decode(whole[: int(len(whole) * share)]).seconds <= 2.0
        except EmotionOmniError as error:
            assert error.code in ("not-audio", "too-short")


def test_limits():
    for samples, code in ((tone(0.1), "too-short"), (tone(121, hz=8_000), "too-long")):
        with pytest.raises(EmotionOmniError) as caught:
            audio.decode(encoded(samples.samples, samples.hz, "WAV"))
        assert caught.value.code == code
    with pytest.raises(EmotionOmniError, match="MB"):
        audio.decode(b"RIFF" + bytes(audio.LARGEST_BYTES))


def test_a_length_that_lies_does_not_fill_the_memory():
    """A header that promises hours holds nothing: refused, or read as the little there is."""
    data = bytearray(encoded(tone(0.5).samples, 16_000, "WAV", "PCM_16"))
    data[40:44] = struct.pack("<I", 2**32 - 1)
    try:
        assert audio.decode(bytes(data)).seconds <= audio.LONGEST_SECONDS
    except EmotionOmniError as error:
        assert error.code in ("too-long", "not-audio")


def test_samples_that_are_no_numbers():
    samples = tone(1.0).samples.copy()
    samples[5] = np.nan
    with pytest.raises(EmotionOmniError, match="1 of 16000"):
        audio.decode(encoded(samples, 16_000, "WAV", "FLOAT"))


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(EmotionOmniError) as caught:
            audio.decode(path)
        assert caught.value.code == "missing"


def test_stereo_out_of_phase_is_not_lost():
    left = tone(1.0).samples
    mono = audio.decode(encoded(np.stack([left, -left], 1), 16_000, "WAV", "FLOAT"))
    assert audio.dbfs(mono.samples) == pytest.approx(audio.dbfs(left), abs=0.5)


def test_level_and_limit():
    quiet = tone(1.0, level=0.001).samples
    assert audio.dbfs(audio.set_level(quiet)) == pytest.approx(audio.SPEECH_DBFS, abs=0.01)
    loud = audio.limit(audio.set_level(quiet, 0.0))
    assert np.abs(loud).max() <= 0.97


def test_resampling_keeps_pitch_and_length():
    moved = audio.resample(tone(1.0, hz=44_100, pitch=440), 16_000)
    spectrum = np.abs(np.fft.rfft(moved.samples))
    assert moved.seconds == pytest.approx(1.0, abs=1e-3) and abs(int(spectrum.argmax()) - 440) <= 1


def test_audio_refuses_other_shapes():
    with pytest.raises(ValueError, match="mono float32"):
        Audio(np.zeros((2, 5), np.float32), 16_000)


def webm_from(samples: np.ndarray) -> bytes:
    packets = ogg_packets(encoded(samples, 48_000, "OGG", "OPUS"))

    def size(number: int) -> bytes:
        return struct.pack(">Q", number | 1 << 56)

    def element(identity: str, content: bytes) -> bytes:
        return bytes.fromhex(identity) + size(len(content)) + content

    head = element(
        "1A45DFA3",
        element("4286", b"\x01")
        + element("42F7", b"\x01")
        + element("42F2", b"\x04")
        + element("42F3", b"\x08")
        + element("4282", b"webm")
        + element("4287", b"\x04")
        + element("4285", b"\x02"),
    )
    sound = element("B5", struct.pack(">d", 48_000.0)) + element("9F", b"\x01")
    track = element(
        "AE",
        element("D7", b"\x01")
        + element("73C5", b"\x01")
        + element("83", b"\x02")
        + element("86", b"A_OPUS")
        + element("63A2", packets[0])
        + element("E1", sound),
    )
    blocks = b"".join(
        element("A3", b"\x81" + struct.pack(">h", 20 * n) + b"\x80" + packet) for n, packet in enumerate(packets[2:])
    )
    info = element("1549A966", element("2AD7B1", b"\x0f\x42\x40") + element("4D80", b"t") + element("5741", b"t"))
    return head + element(
        "18538067", info + element("1654AE6B", track) + element("1F43B675", element("E7", b"\x00") + blocks)
    )


def ogg_packets(data: bytes) -> list[bytes]:
    packets, current, at = [], b"", 0
    while at < len(data):
        count = data[at + 26]
        lacing, at = data[at + 27 : at + 27 + count], at + 27 + count
        for length in lacing:
            current += data[at : at + length]
            at += length
            if length < 255:
                packets.append(current)
                current = b""
    return packets
