"""A corpus on disk: finished dialogues, then whole shards of Parquet with sounds that the Hugging Face hub plays.

```
plan.json                 the plan; another one is refused
work/00003/00000312.zip   a finished dialogue of a shard that is not
data/train-00003.parquet  the kept turns of a shard, one a row; dev- and test- likewise
rejected/00003.jsonl      the rejected dialogues of a shard, with reasons and all that was measured
ledger/00003.json         counts and hashes of a shard's files; written last, so where it is the shard is
manifest.json README.md   of the whole, when all shards are
```
The same dialogues give the same bytes. Nothing depends on the clock, and no lock is needed: every file is renamed into
place, and two builds of one plan would write the same ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emotion_omni.data.files import remove_parts, whole, write_whole
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.data.scenarios import SPLITS
from emotion_omni.data.worker import Finished
from emotion_omni.types import EmotionOmniError

_SOUND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_MESSAGE = pa.struct([("role", pa.string()), ("text", pa.string()), ("emotion", pa.string())])
_MEASURED = pa.struct(
    [
        ("seconds", pa.float64()),
        ("silence", pa.float64()),
        ("clipped", pa.float64()),
        ("heard", pa.string()),
        ("wer", pa.float64()),
        ("emotion", pa.float64()),
        ("heard_as", pa.string()),
        ("quality", pa.float64()),
    ]
)
_TEXTS = (
    *("group", "kind", "domain", "situation", "style", "cue", "transcript", "emotion"),
    *("reply", "reply_emotion", "news", "speaker", "reply_speaker", "channel", "source"),
)
COLUMNS: dict[str, pa.DataType] = (
    {"id": pa.string(), "dialogue": pa.string(), "turn": pa.int32(), "split": pa.string()}
    | {name: pa.string() for name in _TEXTS}
    | {"intensity": pa.float64(), "strategy": pa.list_(pa.string()), "history": pa.list_(_MESSAGE)}
    | {"query": _SOUND, "reply_audio": _SOUND, "query_measured": _MEASURED, "reply_measured": _MEASURED}
)
_AUDIO = {"_type": "Audio"}
ROW_GROUP = 64  # rows; bounds what a streaming reader holds
PACKAGE = "emotion-omni-data"


class Corpus:
    """A folder that one plan fills. Raises :class:`EmotionOmniError` (code ``corpus``) for another plan's folder."""

    def __init__(self, folder: Path, plan: CorpusPlan) -> None:
        self.folder, self.plan = folder, plan
        self._count = -(-plan.dialogues // plan.shard)

    @classmethod
    def open(cls, folder: Path, plan: CorpusPlan) -> Corpus:
        """New, or begun by the same plan."""
        saved = folder / "plan.json"
        if saved.exists():
            if saved.read_text(encoding="utf-8") != plan.to_json():
                raise EmotionOmniError(
                    f"{str(folder)!r} holds a corpus of another plan. Choose an empty folder, or give the plan it was "
                    f"begun with: {saved}.",
                    "corpus",
                )
        elif folder.exists() and any(folder.iterdir()):
            raise EmotionOmniError(f"{str(folder)!r} holds other files. Choose an empty folder.", "corpus")
        for name in ("work", "data", "rejected", "ledger"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        if not saved.exists():
            write_whole(saved, plan.to_json().encode())
        return cls(folder, plan)

    # --- dialogues of shards that are not finished ----------------------------------------------------------------

    def shard_of(self, index: int) -> int:
        return index // self.plan.shard

    def indices(self, shard: int) -> range:
        return range(shard * self.plan.shard, min((shard + 1) * self.plan.shard, self.plan.dialogues))

    @property
    def shards(self) -> range:
        return range(self._count)

    def is_done(self, shard: int) -> bool:
        """Whether a shard's ledger is there, and all files it lists."""
        try:
            ledger = self.ledger(shard)
        except (OSError, ValueError):
            return False
        return all((self.folder / name).is_file() for name in ledger["files"])

    def ledger(self, shard: int) -> dict[str, Any]:
        return json.loads((self.folder / "ledger" / f"{shard:05d}.json").read_bytes())

    def has(self, index: int) -> bool:
        """A power cut may leave an empty or cut file, which counts as none."""
        return zipfile.is_zipfile(self._item(index))

    def put(self, finished: Finished) -> None:
        path = self._item(finished.index)
        path.parent.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            head = {"rows": finished.rows, "reasons": finished.reasons, "timings": finished.timings}
            archive.writestr("dialogue.json", json.dumps(head, ensure_ascii=False))
            for name, data in finished.sounds.items():
                archive.writestr(f"{name}.flac", data)
        write_whole(path, buffer.getvalue(), durable=False)

    def get(self, index: int) -> Finished:
        with zipfile.ZipFile(self._item(index)) as archive:
            head = json.loads(archive.read("dialogue.json"))
            names = [name for name in archive.namelist() if name.endswith(".flac")]
            sounds = {name.removesuffix(".flac"): archive.read(name) for name in names}
        return Finished(index, head["rows"], sounds, head["reasons"], head["timings"])

    def _item(self, index: int) -> Path:
        return self.folder / "work" / f"{self.shard_of(index):05d}" / f"{index:08d}.zip"

    # --- shards ---------------------------------------------------------------------------------------------------

    def is_complete(self, shard: int) -> bool:
        return all(map(self.has, self.indices(shard)))

    def write_shard(self, shard: int) -> dict[str, Any]:
        """All dialogues of a shard → its files; the ledger is the last → the ledger."""
        files, kept, rejected, seconds = {}, 0, [], 0.0
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for index in self.indices(shard):
            found = self.get(index)
            if found.reasons:
                rejected.append({"index": index, "reasons": found.reasons, "rows": found.rows})
                continue
            kept += 1
            for row in found.rows:
                number = row["turn"]
                sounds = {
                    "query": found.sounds[f"query-{number}"],
                    "reply_audio": found.sounds.get(f"reply-{number}"),
                }
                rows[row["split"]].append(with_sounds(row, sounds))
                seconds += sum((row.get(f"{one}_measured") or {}).get("seconds", 0.0) for one in ("query", "reply"))
        for split, some in rows.items():
            name = f"data/{split}-{shard:05d}.parquet"
            if some:
                write_parquet(self.folder / name, some)
                files[name] = sha256_of(self.folder / name)
        name = f"rejected/{shard:05d}.jsonl"
        lines = "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in rejected)
        write_whole(self.folder / name, lines.encode())
        files[name] = sha256_of(self.folder / name)
        ledger = {
            "shard": shard,
            "tried": len(self.indices(shard)),
            "kept": kept,
            "rejected": len(rejected),
            "turns": {split: len(some) for split, some in rows.items()},
            "seconds": round(seconds, 3),
            "files": files,
        }
        write_whole(self.folder / "ledger" / f"{shard:05d}.json", json.dumps(ledger, indent=1, sort_keys=True).encode())
        shutil.rmtree(self.folder / "work" / f"{shard:05d}", ignore_errors=True)
        return ledger

    # --- reading --------------------------------------------------------------------------------------------------

    def kept_rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows of all finished shards in order, only these columns."""
        for shard in self.shards:
            for name in sorted(self.ledger(shard)["files"]) if self.is_done(shard) else []:
                if name.endswith(".parquet"):
                    for batch in pq.ParquetFile(self.folder / name).iter_batches(ROW_GROUP, columns=list(columns)):
                        yield from batch.to_pylist()

    def rejected(self) -> Iterator[dict[str, Any]]:
        for shard in self.shards:
            if self.is_done(shard):
                with (self.folder / "rejected" / f"{shard:05d}.jsonl").open(encoding="utf-8") as file:
                    yield from map(json.loads, file)


def with_sounds(row: dict[str, Any], sounds: dict[str, bytes | None]) -> dict[str, Any]:
    played = {
        name: {"bytes": data, "path": f"{row['id']}-{name}.flac"} if data is not None else None
        for name, data in sounds.items()
    }
    return {name: (row | played).get(name) for name in COLUMNS}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    features = {"query": _AUDIO, "reply_audio": _AUDIO}
    about = {"huggingface": json.dumps({"info": {"features": features_of(features)}})}
    schema = pa.schema(list(COLUMNS.items()), about)
    with whole(path) as part:
        # sounds are compressed already; dictionaries of them would only cost
        pq.write_table(
            pa.Table.from_pylist(rows, schema), part, row_group_size=ROW_GROUP, compression="zstd", use_dictionary=False
        )


def features_of(sounds: dict[str, Any]) -> dict[str, Any]:
    """The hub's description of all columns; it must name each, or ``datasets`` refuses the file."""
    return {name: sounds.get(name) or _feature(kind) for name, kind in COLUMNS.items()}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"_type": "List", "feature": _feature(kind.value_type)}
    names = {pa.float64(): "float64", pa.int32(): "int32", pa.string(): "string"}
    return {"_type": "Value", "dtype": names[kind]}


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
