"""What the containers of sound files declare, checked against what they hold.

Decoders trust headers: they stop at an estimated length, at the end of the first of several joined files, or at a
size of zero that a recorder never filled in. Here each file is walked by its own structure, repaired where the
meaning is clear, and refused where a part of it is missing. No samples are decoded here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from emotion_omni.types import EmotionOmniError

PLACEHOLDER = 0x7FFF_0000  # sizes from here on are what a recorder writes before it knows the size
SLACK_SECONDS = 0.05  # by which headers may be wrong
_PCM_CHUNKS = (b"LIST", b"fact", b"PEAK", b"bext", b"cue ", b"smpl", b"id3 ", b"ID3 ", b"inst", b"plst", b"JUNK")
_MPEG_IN_WAV = (0x50, 0x55)
_EXTENSIBLE = 0xFFFE
_WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"  # the GUID with which such a file begins
_WAV = re.compile(rb"(?:RIFF|RF64|BW64).{4}WAVE", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """One recording of a file, for one decoder."""

    data: bytes
    by_ffmpeg: bool = False
    seconds: float | None = None  # as the container tells, where libsndfile does not tell it


def parts(data: bytes) -> list[Part]:
    """The recordings that a file joins, most often one. Raises :class:`EmotionOmniError` where it is cut off."""
    if _WAV.match(data):
        return list(_wav_parts(data))
    if data[:4] == b"OggS":
        return list(_ogg_parts(data))
    if data[:4] == b"fLaC":
        return list(_flac_parts(data))
    if data[:4] == b"FORM":
        return list(_aiff_parts(data))
    if data[:4] == b".snd":
        return list(_au_parts(data))
    if data[:4] == b"caff":
        return list(_caf_parts(data))
    if data[:16] == _WAVE64:
        return list(_wave64_parts(data)) or [Part(data)]
    if data[4:8] == b"ftyp":
        return [Part(part, by_ffmpeg=True) for part in _mp4_parts(data)]
    if data[:4] == b"\x1a\x45\xdf\xa3":
        _check_matroska(data)
        return [Part(data, by_ffmpeg=True)]
    start = _after_id3(data)
    if data[start : start + 4] == b"fLaC":  # a tag before it, which FLAC does not know
        return list(_flac_parts(data[start:]))
    if _is_adts(data, start):
        return [_adts_part(data, start)]
    return list(_mpeg_parts(data, start)) or [Part(data)]


def cut_off(declared: str, found: str) -> EmotionOmniError:
    return EmotionOmniError(
        f"The recording is cut off: its header tells {declared}, the file holds {found}. Copy or export it again.",
        "not-audio",
    )


# --- RIFF and AIFF ----------------------------------------------------------------------------------------------


def _wav_parts(data: bytes) -> Iterator[Part]:
    while data:
        fmt, start, size = _wav_header(data)
        if start is None or fmt is None:  # no sound in it: the decoder says so
            yield Part(data)
            return
        if len(fmt) < 16:
            raise EmotionOmniError("The header of this WAV file is damaged. Export it again.", "not-audio")
        end = _wav_end(data, fmt, start, size)
        tag = struct.unpack("<H", fmt[:2])[0]
        if tag == _EXTENSIBLE and len(fmt) >= 26:
            tag = struct.unpack("<H", fmt[24:26])[0]
        sound, rest = data[start:end], data[end + (end - start) % 2 :]
        following = _WAV.search(rest, 0, 65_536)
        if tag in _MPEG_IN_WAV:
            yield from _mpeg_parts(sound, _after_id3(sound)) or iter((Part(data),))
        elif following is None and end - start == size and data[:4] == b"RIFF":
            yield Part(data)
        else:
            yield Part(_wav_of(fmt, sound))
        data = rest[following.start() :] if following else b""


def _wav_header(data: bytes) -> tuple[bytes | None, int | None, int]:
    """→ the format chunk, where the sound begins, and its size as declared."""
    fmt, long_size, at = None, None, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        if name == b"data":
            if size == 0xFFFF_FFFF and long_size is not None:
                size = long_size
            return fmt, at + 8, size
        if name == b"fmt ":
            fmt = data[at + 8 : at + 8 + size]
        if name == b"ds64" and size >= 16 and at + 24 <= len(data):
            long_size = struct.unpack("<Q", data[at + 16 : at + 24])[0]
        at += 8 + size + size % 2
    return fmt, None, 0


def _wav_end(data: bytes, fmt: bytes, start: int, size: int) -> int:
    """Where the sound ends. A size of zero, or one of gigabytes, is that of a header never finished."""
    rate = max(1, struct.unpack("<I", fmt[8:12])[0])  # bytes a second
    here = len(data) - start
    if size >= max(PLACEHOLDER, here + 1) or (size == 0 and here > 0 and not _are_chunks(data, start)):
        following = _WAV.search(data, start)
        return following.start() if following else len(data)
    if size - here > SLACK_SECONDS * rate:
        raise cut_off(f"{size / rate:.2f} s", f"{here / rate:.2f} s")
    end = min(start + size, len(data))
    beyond = len(data) - end
    if beyond > 0.1 * rate and not _are_chunks(data, end + size % 2):
        raise EmotionOmniError(
            f"The header of this WAV file tells {size / rate:.2f} s, but {beyond / rate:.2f} s more follow it: "
            "it was never finished. Export it again.",
            "not-audio",
        )
    return end


def _are_chunks(data: bytes, at: int) -> bool:
    """Whether named chunks (or another file, or tags) follow, and not sound."""
    name = data[at : at + 4]
    if name in _PCM_CHUNKS or _WAV.match(data, at) or name[:3] in (b"TAG", b"ID3"):
        return True
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        if not all(32 <= byte < 127 for byte in name) or at + 8 + size > len(data):
            return False
        at += 8 + size + size % 2
    return True


def _wav_of(fmt: bytes, sound: bytes) -> bytes:
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"\0" * (len(fmt) % 2)
    chunks += b"data" + struct.pack("<I", len(sound)) + sound + b"\0" * (len(sound) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _wave64_parts(data: bytes) -> Iterator[Part]:
    """Chunks with a GUID and a size of 64 bits, its 24 bytes of header included; each begins at a multiple of 8."""
    fmt, at, number = b"", 0, 0
    while at + 24 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<Q", data[at + 16 : at + 24])[0]
        if data.startswith(_WAVE64, at):
            fmt, at = b"", at + 40
            continue
        if name == b"data" and len(fmt) >= 16:
            end = _wave64_end(data, fmt, at + 24, size)
            yield Part(_wav_of(fmt, data[at + 24 : end]))
            fmt, number = b"", number + 1
        elif size < 24 or at + size > len(data):
            break
        else:
            end = at + size
            fmt = data[at + 24 : end] if name == b"fmt " else fmt
        following = data.find(_WAVE64, end, end + 24)
        at = following if following >= 0 else end + -end % 8
    if number < data.count(_WAVE64):
        raise cut_off(f"{data.count(_WAVE64)} recordings", f"{number}")


def _wave64_end(data: bytes, fmt: bytes, start: int, size: int) -> int:
    """Where the sound ends, as in :func:`_wav_end`."""
    rate, here, sound = max(1, struct.unpack("<I", fmt[8:12])[0]), len(data) - start, size - 24
    if size >= max(PLACEHOLDER, here + 25) or (sound <= 0 < here and not data.startswith(_WAVE64, start)):
        following = data.find(_WAVE64, start)
        return following if following >= 0 else len(data)
    if sound - here > SLACK_SECONDS * rate:
        raise cut_off(f"{sound / rate:.2f} s", f"{here / rate:.2f} s")
    return min(start + max(0, sound), len(data))


def _aiff_parts(data: bytes) -> Iterator[Part]:
    while data[:4] == b"FORM" and len(data) >= 12:
        size = struct.unpack(">I", data[4:8])[0]
        end = 8 + size + size % 2
        follows = data[end : end + 4] == b"FORM"
        yield Part(data[:end] if follows else _aiff_finished(data))
        data = data[end:] if follows else b""


def _aiff_finished(data: bytes) -> bytes:
    """With the sizes of a header that was never finished filled in."""
    at, comm = 12, None
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack(">I", data[at + 4 : at + 8])[0]
        if name == b"COMM" and size >= 18:
            comm = at + 8
        if name == b"SSND" and comm is not None:
            return _aiff_sized(data, comm, at, size)
        at += 8 + size + size % 2
    return data


def _aiff_sized(data: bytes, comm: int, at: int, size: int) -> bytes:
    channels, frames, bits = struct.unpack(">HIH", data[comm : comm + 8])
    block = max(1, channels) * max(1, (bits + 7) // 8)
    here = len(data) - at - 16
    is_pcm = data[8:12] == b"AIFF" or data[comm + 18 : comm + 22] in (b"NONE", b"sowt", b"twos")
    if frames and frames * block < PLACEHOLDER:
        if is_pcm and frames * block - here > 8_000 * block * SLACK_SECONDS:
            raise cut_off(f"{frames} samples", f"{max(0, here) // block}")
        return data
    if not is_pcm or here < block:
        return data
    count = here // block
    form = struct.pack(">I", len(data) - 8)
    with_frames = data[: comm + 2] + struct.pack(">I", count) + data[comm + 6 :]
    sized = with_frames[: at + 4] + struct.pack(">I", 8 + count * block) + with_frames[at + 8 : at + 16 + count * block]
    return sized[:4] + form + sized[8:]


def _au_parts(data: bytes) -> Iterator[Part]:
    while data[:4] == b".snd" and len(data) >= 24:
        offset, size = struct.unpack(">II", data[4:12])
        end = offset + size
        if size < PLACEHOLDER and end > len(data) + 4096:
            raise cut_off(f"{size} bytes of sound", f"{max(0, len(data) - offset)}")
        follows = data[end : end + 4] == b".snd"
        yield Part(data[:end] if follows else data)
        data = data[end:] if follows else b""


def _caf_parts(data: bytes) -> Iterator[Part]:
    start, at = 0, 8
    while at + 12 <= len(data):
        size = struct.unpack(">q", data[at + 4 : at + 12])[0]
        if data[at : at + 4] == b"caff":
            yield Part(data[start:at])
            start, at = at, at + 8
            continue
        if size < 0:  # to the end of the file
            break
        if at + 12 + size > len(data) + 4096:
            raise cut_off(f"{size} bytes of sound", f"{max(0, len(data) - at - 12)}")
        at += 12 + size
    yield Part(data[start:])


# --- Ogg and FLAC -----------------------------------------------------------------------------------------------


def _ogg_parts(data: bytes) -> Iterator[Part]:
    """Chained streams, one after the other."""
    start, at, granule, in_body = 0, 0, 0, False
    pages = _OggPages()
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            if data.find(b"OggS", at) < 0:
                break  # something else follows, such as a tag
            raise EmotionOmniError("This Ogg file is damaged in the middle. Copy or export it again.", "not-audio")
        table = at + 27
        count = data[at + 26] if len(data) > at + 26 else 0
        end = table + count + sum(data[table : table + count])
        if len(data) < table + count or end > len(data):
            raise cut_off("a page to its end", f"{len(data) - at} bytes of it")
        begins = bool(data[at + 5] & 2)
        if begins and in_body:
            pages.check_ended()
            yield _ogg_part(data[start:at], granule)
            start, granule = at, 0
        in_body = not begins
        position = struct.unpack("<q", data[at + 6 : at + 14])[0]
        granule = max(granule, position)
        pages.add(data[at + 5], data[at + 14 : at + 18], struct.unpack("<I", data[at + 18 : at + 22])[0])
        at = end
    pages.check_ended()
    yield _ogg_part(data[start:at], granule)


class _OggPages:
    """The pages seen so far of each stream of a file: none may be missing, the last of each is marked as such."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}  # serial number of a stream that has not ended → number of its last page
        self._seen = 0

    def add(self, flags: int, serial: bytes, number: int) -> None:
        """``flags``: 2 on the first page of a stream, 4 on its last."""
        self._seen += 1
        expected = number if flags & 2 else self._last.get(serial, -1) + 1
        if number != expected:
            raise EmotionOmniError(
                f"This Ogg file is damaged: its page {self._seen} has number {number} instead of {expected}, so "
                "others are missing. Copy or export it again.",
                "not-audio",
            )
        self._last[serial] = number
        if flags & 4:
            del self._last[serial]

    def check_ended(self) -> None:
        if self._last:
            raise EmotionOmniError(
                f"This Ogg file is cut off: it ends after {self._seen} pages, none of them marked as the last. "
                "Copy or export it again.",
                "not-audio",
            )


def _ogg_part(data: bytes, granule: int) -> Part:
    first = data[27 + data[26] :][:64]
    if first[:5] == b"\x7fFLAC" and first[9:13] == b"fLaC":
        hz = int.from_bytes(first[27:30], "big") >> 4
        return Part(data, by_ffmpeg=True, seconds=granule / hz if hz and granule > 0 else None)
    return Part(data, by_ffmpeg=first[:8] == b"Speex   ")


def _flac_parts(data: bytes) -> Iterator[Part]:
    marker = b"fLaC\x00\x00\x00\x22"
    while data:
        follows = data.find(marker, 8)
        one = data if follows < 0 else data[:follows]
        samples = int.from_bytes(one[18:26], "big") & (2**36 - 1)
        yield Part(one, by_ffmpeg=samples == 0)
        data = b"" if follows < 0 else data[follows:]


# --- MP4 and Matroska -------------------------------------------------------------------------------------------


def _mp4_parts(data: bytes) -> Iterator[bytes]:
    start = at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack(">I", data[at : at + 4])[0], data[at + 4 : at + 8]
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack(">Q", data[at + 8 : at + 16])[0]
        if name == b"ftyp" and at > start:
            yield data[start:at]
            start = at
        if size == 0:  # to the end of the file
            break
        if size < 8:
            break
        if at + size > len(data):
            raise cut_off(f"{size} bytes of {name.decode('latin-1')!r}", f"{len(data) - at}")
        at += size
    yield data[start:]


def _check_matroska(data: bytes) -> None:
    """Refuse a segment that runs past the end of the file. Live recordings declare no size."""
    head = _ebml_size(data, 4)
    if head is None:
        return
    at = head[1] + head[0]
    if data[at : at + 4] != b"\x18\x53\x80\x67":
        return
    segment = _ebml_size(data, at + 4)
    if segment and segment[1] + segment[0] > len(data):
        raise cut_off(f"{segment[0]} bytes", f"{len(data) - segment[1]}")


def _ebml_size(data: bytes, at: int) -> tuple[int, int] | None:
    """→ the size written at a place, and where its content begins. ``None``: unknown."""
    if at >= len(data) or data[at] == 0:
        return None
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else (value, at + length)


# --- MPEG -------------------------------------------------------------------------------------------------------

_RATES = {
    (3, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # kbit/s by (version: 3 is MPEG-1, 2 is MPEG-2 and 2.5; layer bits: 3 is layer I, 1 is layer III)
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@dataclass(frozen=True)
class _Frame:
    start: int
    size: int
    samples: int
    hz: int
    stereo: bool

    @property
    def kind(self) -> tuple[int, int, bool]:
        return self.hz, self.samples, self.stereo


def _after_id3(data: bytes, at: int = 0) -> int:
    """Where ID3v2 tags end that begin at a place."""
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        a, b, c, d = data[at + 6 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[at + 5] & 0x10 else 0)
    return at


def _frame(data: bytes, at: int) -> _Frame | None:
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
    bits, rate, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 0 or bits in (0, 15) or rate == 3:
        return None
    hz = _HZ[version][rate]
    kbit = _RATES[3 if version == 3 else 2, layer][bits]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    size = (12_000 * kbit // hz + padding) * 4 if layer == 3 else samples * 125 * kbit // hz + padding
    return _Frame(at, size, samples, hz, data[at + 3] >> 6 != 3)


def _frames(data: bytes, at: int) -> Iterator[_Frame]:
    """All MPEG audio frames; what lies between them (tags, remains) is skipped."""
    synchronized = True
    while at + 4 <= len(data):
        frame = _frame(data, at)
        if frame is not None and not synchronized:
            after = _frame(data, at + frame.size)
            if after is None and at + frame.size < len(data):
                frame = None
        if frame is None:
            synchronized = False
            following = data.find(b"\xff", at + 1)
            at = _after_id3(data, at) if data[at : at + 3] == b"ID3" else following
            if at < 0:
                return
            continue
        synchronized = True
        if at + frame.size <= len(data):
            yield frame
        at += frame.size


def _mpeg_parts(data: bytes, start: int) -> list[Part]:
    """MP3 files, split where another begins: libsndfile stops at the length that the first declares."""
    if _frame(data, start) is None:
        return []
    groups: list[list[_Frame]] = []
    for frame in _frames(data, start):
        declares = _declared_frames(data, frame) is not None
        if not groups or declares or frame.kind[0] != groups[-1][-1].hz or frame.stereo != groups[-1][-1].stereo:
            groups.append([])
        groups[-1].append(frame)
    parts: list[Part] = []
    for group in groups:
        parts += _mpeg_group(data, group)
    return parts


def _mpeg_group(data: bytes, group: list[_Frame]) -> list[Part]:
    first = group[0]
    declared = _declared_frames(data, first)
    if declared is None:
        return [_raw_mpeg(data, group)]
    held = len(group) - 1
    if held < declared - 2:
        seconds = first.samples / first.hz
        raise cut_off(f"{declared * seconds:.2f} s", f"{held * seconds:.2f} s")
    own, beyond = group[: declared + 1], group[declared + 1 :]
    whole = b"".join(data[frame.start : frame.start + frame.size] for frame in own)
    return [Part(whole)] + ([_raw_mpeg(data, beyond)] if len(beyond) > 2 else [])


def _raw_mpeg(data: bytes, group: list[_Frame]) -> Part:
    """Frames without a header that declares their number: libsndfile would estimate it from the first."""
    sound = b"".join(data[frame.start : frame.start + frame.size] for frame in group)
    same_size = max(frame.size for frame in group) - min(frame.size for frame in group) <= 1
    return Part(sound, by_ffmpeg=not same_size, seconds=sum(frame.samples for frame in group) / group[0].hz)


def _declared_frames(data: bytes, frame: _Frame) -> int | None:
    """The number of frames that a Xing, Info or VBRI header declares; it lies in a frame without sound."""
    inside = data[frame.start : frame.start + min(frame.size, 200)]
    for name in (b"Xing", b"Info"):
        at = inside.find(name, 4, 48)
        if at >= 0 and len(inside) >= at + 12 and inside[at + 7] & 1:
            return int.from_bytes(inside[at + 8 : at + 12], "big")
    at = inside.find(b"VBRI", 36, 44)
    return int.from_bytes(inside[at + 14 : at + 18], "big") if at >= 0 else None


# --- ADTS -------------------------------------------------------------------------------------------------------

_ADTS_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def _is_adts(data: bytes, at: int) -> bool:
    return len(data) >= at + 7 and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0


def _adts_part(data: bytes, start: int) -> Part:
    at, seconds = start, 0.0
    while _is_adts(data, at):
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        rate = data[at + 2] >> 2 & 15
        if size < 7 or rate >= len(_ADTS_HZ):
            break
        if at + size > len(data):
            raise cut_off(f"{size} bytes in its last frame", f"{len(data) - at} of them")
        seconds += 1024 * ((data[at + 6] & 3) + 1) / _ADTS_HZ[rate]
        at += size
    return Part(data[start:at], by_ffmpeg=True, seconds=seconds)
