"""Writes a study as files: ratings, items, sounds, training tables, a card and a manifest.

The same event log gives the same bytes: rows are sorted, and nothing depends on the clock or on chance. An export is
written whole or not at all. Knows nothing of screens or accounts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from annotation.export.card import render_card
from annotation.export.columns import RATINGS, SKIPS, SURVEYS, TRAINING, Columns, item_columns
from annotation.export.labels import UNANCHORED, check_labels, count_labels, missing_labels
from annotation.export.manifest import Manifest, code_sha256, log_sha256, refuse_withdrawals, scale_versions
from annotation.export.preferences import kto_weights, mean_flip_rate
from annotation.export.source import Source
from annotation.export.tables import item_rows, own_columns, rating_rows, skip_rows, survey_rows
from annotation.export.training import training_tables
from annotation.export.training_items import TrainingItems
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study.clips import Clips
from emotion_omni.types import EmotionOmniError

ROWS_AT_ONCE = 256  # of a file with sounds in it, to bound memory


def export_study(studio: Studio, study: str, out: Path, labels: str = UNANCHORED) -> Manifest:
    """Write a study to the folder ``out``, new or in place of an earlier export.

    ``labels``: ratings without the model's guess, those with it (``anchored``), or ``both``.

    Raises :class:`EmotionOmniError`: ``not-found``, ``not-empty`` (the folder holds other files), ``changed-meanwhile``
    (somebody withdrew), ``bad-value``, ``clip-missing``, ``clip-damaged``, ``disk``.
    """
    out = out.resolve()
    _refuse_other_files(out)
    unfinished = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        unfinished.mkdir(parents=True)
        manifest = _write(studio, study, unfinished, check_labels(labels))
        _move(unfinished, out)
    except OSError as error:
        raise EmotionOmniError(
            f"The export cannot be written ({error.strerror or error}). Free some space, or choose another folder.",
            "disk",
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def export_zip(studio: Studio, study: str, labels: str = UNANCHORED) -> Path:
    """The same as one zip file, equal bytes for equal exports → its path. The caller deletes it."""
    handle, name = tempfile.mkstemp(suffix=".zip")
    os.close(handle)
    path, complete = Path(name), False
    try:
        with tempfile.TemporaryDirectory() as folder:
            export_study(studio, study, Path(folder) / "export", labels)
            _pack(Path(folder) / "export", path)
        complete = True
    finally:
        if not complete:
            path.unlink()
    return path


# --- folders -----------------------------------------------------------------------------------------------------


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in _files(folder):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, whatever the machine
            entry.compress_type = zipfile.ZIP_STORED if name.endswith((".flac", ".parquet")) else zipfile.ZIP_DEFLATED
            entry.file_size = (folder / name).stat().st_size  # set beforehand, so that files over 2 GiB fit
            with (folder / name).open("rb") as file, archive.open(entry, "w") as packed:
                shutil.copyfileobj(file, packed)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _refuse_other_files(out: Path) -> None:
    """Replacing a folder deletes all that is in it: only an export without added files is replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise EmotionOmniError(f"{out.name!r} is a file; an export needs a folder. Choose another name.", "not-empty")
    written = _written_before(out)
    other = [name for name in _files(out) if name not in written]
    if other:
        raise EmotionOmniError(
            f"The folder {out.name!r} holds {other[0]!r}, which no export wrote. "
            "Choose an empty folder, or one with an earlier export.",
            "not-empty",
        )


def _written_before(out: Path) -> set[str]:
    """The files in the manifest of an earlier export; empty if there is none."""
    try:
        manifest = json.loads((out / "manifest.json").read_bytes())
        ours = manifest["exporter"].startswith("emotion-omni-studio")
        return {"manifest.json", *manifest["files"]} if ours else set()
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _move(finished: Path, out: Path) -> None:
    old = finished.with_name(finished.name + ".old")
    if out.exists():
        os.rename(out, old)
    os.rename(finished, out)
    shutil.rmtree(old, ignore_errors=True)


# --- files -------------------------------------------------------------------------------------------------------


def _write(studio: Studio, study: str, folder: Path, labels_asked: str) -> Manifest:
    source = Source.read(studio, study, labels_asked)
    rates = _write_sounds(source, studio.clips, folder / "audio")
    items = TrainingItems(source)
    raw = {
        "ratings": rating_rows(source),
        "items": item_rows(source),
        "skips": skip_rows(source),
        "survey": survey_rows(source),
    }
    tables = raw | training_tables(items)
    items_columns = item_columns(source.results.rules, own_columns(source))
    columns = {"ratings": RATINGS, "items": items_columns, "skips": SKIPS, "survey": SURVEYS} | TRAINING
    counts = {"audio": len(rates)}
    for table, rows in tables.items():
        for name in _names(table):
            _write_table(folder / name, columns[table], rows, rates, studio.clips.read)
            counts[name] = len(rows)
    good = Counter(row["label"] for row in tables.get("kto", ()))
    label_counts = count_labels(source.results.ratings)
    manifest = Manifest(
        study,
        rows=counts,
        excluded={reason: len(left_out) for reason, left_out in sorted(items.left_out.items())},
        kto_weights=kto_weights(good[True], good[False]),
        label_smoothing=mean_flip_rate(tables.get("dpo", ())),
        files={},
        log_sha256=log_sha256(studio.store.log, source.sequence),
        log_sequence=source.sequence,
        scales=scale_versions(source.results.rules),
        held_out={reason: len(held) for reason, held in sorted(items.held_out.items())},
        labels=labels_asked,
        label_counts=label_counts,
        notes=_notes(source, label_counts),
        code_sha256=code_sha256(),
        split=source.results.rules.split,
    )
    (folder / "README.md").write_text(render_card(source, manifest), encoding="utf-8")
    manifest = replace(manifest, files={name: _file_sha256(folder / name) for name in _files(folder)})
    text = json.dumps(asdict(manifest), ensure_ascii=False, sort_keys=True, indent=1)
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    refuse_withdrawals(studio.store.log, source.sequence, source.holds)
    return manifest


def _notes(source: Source, label_counts: Mapping[str, int]) -> list[str]:
    found = [missing_labels(source.labels, label_counts)]
    if source.lock.has_other_keys:
        found.append(
            "Some evaluation studies were made under another signing key (STUDIO_SECRET). Of those that were deleted "
            "since, recordings are still recognized, but not their families, words and speakers."
        )
    return [note for note in found if note]


def _names(table: str) -> list[str]:
    """Files of a table: Parquet, which keeps the type of every column, and JSON lines where it holds no sounds."""
    return [f"{table}.parquet"] if table == "emotion" else [f"{table}.parquet", f"{table}.jsonl"]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_sounds(source: Source, clips: Clips, folder: Path) -> dict[str, int]:
    """The original sounds, each checked against its name → SHA-256 and sample rate in hertz."""
    folder.mkdir()
    rates = {}
    for sha in sorted({clip["sha"] for item in source.items for clip in item["content"].get("clips", {}).values()}):
        data = clips.read(sha)
        if hashlib.sha256(data).hexdigest() != sha:
            raise EmotionOmniError(
                f"The sound {sha[:12]}… has changed on disk. Restore the folder 'audio' from a backup.", "clip-damaged"
            )
        (folder / f"{sha}.flac").write_bytes(data)
        rates[sha] = soundfile.info(io.BytesIO(data)).samplerate
    return rates


def _write_table(
    path: Path, columns: Columns, rows: list[Row], rates: Mapping[str, int], read_sound: Callable[[str], bytes]
) -> None:
    """JSON lines or Parquet, by the name. In ``rows`` a column ``audio`` holds hashes; the file holds the sounds."""
    if path.suffix == ".jsonl":
        lines = [
            json.dumps({name: row[name] for name in columns}, ensure_ascii=False, sort_keys=True, allow_nan=False)
            for row in rows
        ]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return
    has_audio = "audio" in columns
    schema = pa.schema(list(columns.items()), _features([rates[row["audio"]] for row in rows]) if has_audio else None)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
            batch = [{name: row[name] for name in columns} for row in rows[start : start + ROWS_AT_ONCE]]
            if has_audio:
                batch = [_with_sound(row, read_sound) for row in batch]
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _with_sound(row: Row, read_sound: Callable[[str], bytes]) -> Row:
    sha = row["audio"]
    return row | {"audio": {"bytes": read_sound(sha), "path": f"{sha}.flac"}}


def _features(rates: Sequence[int]) -> dict[str, str]:
    """Metadata with which ``datasets`` reads the column as audio. Without a common rate, each sound keeps its own."""
    hz = rates[0] if len(set(rates)) == 1 else None
    return {"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Audio", "sampling_rate": hz}}}})}
