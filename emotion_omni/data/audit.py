"""A random sample of a corpus as a listening study that ``annotation`` imports: do people hear the meant emotion?

Writes ``study.yaml``, ``items.jsonl`` and the sounds. Knows the studio only by these files.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

from emotion_omni.data import reader
from emotion_omni.data.files import write_whole
from emotion_omni.types import EmotionOmniError


def audit(corpus: Path, out: Path, clips: int, seed: int = 0) -> dict[str, Any]:
    """Raises :class:`EmotionOmniError` (codes ``data``, ``not-empty``)."""
    if out.exists() and any(out.iterdir()):
        raise EmotionOmniError(f"{str(out)!r} is not empty. Choose a new folder for the study.", "not-empty")
    if not reader.is_corpus(corpus):
        raise EmotionOmniError(f"{str(corpus)!r} is no corpus of data build. Name the folder of its --out.", "data")
    ids = sorted(row["id"] for row, _ in reader.rows(corpus))
    chosen = set(random.Random(seed).sample(ids, min(clips, len(ids))))
    (out / "audio").mkdir(parents=True)
    items = []
    for row, sounds in reader.rows(corpus):
        if row["id"] in chosen:
            name, _, read = sounds["query"]
            write_whole(out / "audio" / Path(name).name, read())
            items.append(_item(row, f"audio/{Path(name).name}"))
    random.Random(seed).shuffle(items)  # the order of a corpus tells the domain
    lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    write_whole(out / "items.jsonl", lines.encode())
    settings = {"title": f"Audit of {corpus.name}", "template": "emotion-recognition"}
    write_whole(out / "study.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
    return {"clips": len(items), "of": len(ids), "study": str(out)}


def _item(row: dict[str, Any], file: str) -> dict[str, Any]:
    """``family``: raters hear few of one set. What was meant and what the filter heard is kept, but never shown."""
    heard = row["query_measured"] or {}
    return {
        "speech": file,
        "text_speech": row["transcript"],
        "system": "corpus",
        "family": row["group"][:80],
        "corpus_id": row["id"],
        "meant": row["emotion"],
        "filter_heard": heard.get("heard_as"),
        "filter_probability": heard.get("emotion"),
    }
