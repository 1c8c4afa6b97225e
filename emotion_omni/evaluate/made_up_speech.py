"""Queries for counterfactuals: real recordings where there are some, else the project's own voice, kept on disk.

A folder of real recordings has a ``counterfactuals.csv`` with the columns path, item (recordings of one item say the
same words), tone, speaker and text.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from emotion_omni import audio, emotion
from emotion_omni.types import Audio, Delivery, EmotionOmniError

TABLE = "counterfactuals.csv"
COLUMNS = ("path", "item", "tone", "speaker", "text")
VOICES = ("af_heart", "am_liam", "af_kore", "am_echo")  # of our own voice; the engine's replies have none of their own


@dataclass(frozen=True)
class Query:
    """Something said. ``item``: recordings of one item say the same words. ``source``: a file, or our own voice."""

    item: str
    text: str
    tone: str
    speaker: str
    file: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.item} {self.tone} {self.speaker}"


class MadeUpSpeech:
    """Our own voice as a speaker of queries, whatever engine is judged. ``folder``: keeps what was spoken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def _voice(self):  # type: ignore[no-untyped-def]
        from emotion_omni.synthesis.kokoro import KokoroSynthesizer

        return KokoroSynthesizer.load()

    def sound(self, query: Query) -> Audio:
        if query.file is not None:
            return audio.decode(query.file)
        file = self._folder / f"{_key(query)}.flac"
        if not file.exists():
            pieces = list(self._voice.synthesize(query.text, Delivery(query.tone, 1.0, query.speaker)))
            _write(file, audio.resample(audio.join(pieces), 16_000))
        return audio.decode(file)


@functools.cache
def _voice_identity() -> str:
    from emotion_omni.evaluate.subject import Subject

    return Subject("embedded", Path()).identities["synthesizer"]


def _key(query: Query) -> str:
    text = f"{_voice_identity()} {query.text} {query.tone} {query.speaker}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _write(file: Path, sound: Audio) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.hz, format="FLAC")
    part = file.with_suffix(".part")
    part.write_bytes(buffer.getvalue())
    part.replace(file)


def read_recordings(folder: Path) -> list[Query]:
    """Raises :class:`EmotionOmniError` (codes ``missing``, ``bad-line``, ``unknown-emotion``)."""
    path = folder / TABLE
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return list(_queries(folder, csv.DictReader(file)))
    except OSError as error:
        raise EmotionOmniError(
            f"{str(path)!r} cannot be read: {error.strerror}. Name a folder with recordings and a {TABLE} with the "
            f"columns "
            f"{', '.join(COLUMNS)}.",
            "missing",
        ) from error


def _queries(folder: Path, rows: csv.DictReader) -> Iterator[Query]:
    for number, row in enumerate(rows, 2):
        lacking = [name for name in COLUMNS if not (row.get(name) or "").strip()]
        if lacking:
            raise EmotionOmniError(f"{TABLE} line {number} has nothing under {lacking[0]}. Fill it in.", "bad-line")
        file = folder / row["path"]
        if not file.is_file():
            raise EmotionOmniError(f"{TABLE} line {number}: there is no file {row['path']!r}.", "missing")
        yield Query(row["item"], row["text"], emotion.find(row["tone"]).name, row["speaker"], file)
