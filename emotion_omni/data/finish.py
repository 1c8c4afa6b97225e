"""The end of a build: the manifest and the card, which are the same for the same shards, and times, which are not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import yaml

from emotion_omni import weights
from emotion_omni.data.files import write_whole
from emotion_omni.data.plan import CorpusPlan, ServerWriter
from emotion_omni.data.shards import PACKAGE, Corpus
from emotion_omni.data.statistics import statistics

TEMPLATE = Path(__file__).with_name("card.md.jinja")


def finish(corpus: Corpus, times: dict[str, Any]) -> dict[str, Any]:
    """Writes ``manifest.json``, ``README.md`` and ``times.json`` → what the command reports."""
    found = statistics(corpus)
    ledgers = [corpus.ledger(shard) for shard in corpus.shards if corpus.is_done(shard)]
    files = {name: sha for ledger in ledgers for name, sha in ledger["files"].items()}
    manifest = {
        "format": PACKAGE,
        "plan_sha256": corpus.plan.sha256,
        "complete": len(ledgers) == len(corpus.shards),
        "generators": generators(corpus.plan),
        "libraries": {name: metadata.version(name) for name in ("onnxruntime", "ctranslate2", "torch", "pyarrow")},
        "statistics": found,
        "files": files,
    }
    card = render(corpus.plan, manifest, len(ledgers))
    write_whole(corpus.folder / "README.md", card.encode())
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    write_whole(corpus.folder / "manifest.json", text.encode())
    history = _times(corpus.folder)
    if times:
        write_whole(corpus.folder / "times.json", json.dumps([*history, times], indent=1).encode())
    brief = ("tried", "kept", "rejected", "keep_rate", "reasons", "hours", "leaks")
    return {name: found[name] for name in brief} | {"complete": manifest["complete"], "times": times}


def _times(folder: Path) -> list[Any]:
    """Of earlier runs on this folder."""
    try:
        found = json.loads((folder / "times.json").read_bytes())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def generators(plan: CorpusPlan) -> dict[str, Any]:
    """What made the words and the sound, with hashes."""
    speech = "short tones, no speech: a rehearsal"
    if plan.speech.synthesizer == "kokoro":
        speech = (
            f"Kokoro-82M (Apache-2.0), SHA-256 {_weight('kokoro/kokoro-82m-int8.onnx')}, with the project's prosody"
        )
    judge = "nobody"
    if plan.filters.recognizer == "embedded":
        judge = f"Whisper base (MIT), SHA-256 {_weight('whisper-base/model.bin')}, and the project's emotion head"
    if plan.filters.min_quality:
        judge += f"; DistillMOS (MIT), SHA-256 {_weight('distillmos/distill_mos_v7.pt')}"
    found: dict[str, Any] = {
        "writer": asdict(plan.writer),
        "synthesizer": speech,
        "recognizer": judge,
        "code_sha256": code_sha256(),
    }
    if isinstance(plan.writer, ServerWriter):
        from emotion_omni.data import server_writer

        found |= {"prompt_sha256": server_writer.prompt_sha256(), "varies": plan.writer.varies}
    return found | {"varies": found.get("varies", False)}


def _weight(name: str) -> str:
    return next(one.sha256 for one in weights.FILES if one.name == name)


def code_sha256() -> str:
    """Of this package's Python files: which code made a corpus."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def render(plan: CorpusPlan, manifest: dict[str, Any], shards: int) -> str:
    environment = jinja2.Environment(  # noqa: S701 (Markdown is not HTML)
        autoescape=False, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        front_matter=_front_matter(plan, manifest),
        plan=plan,
        s=manifest["statistics"],
        complete=manifest["complete"],
        generators=manifest["generators"],
        writer=_writer(plan),
        plan_sha256=manifest["plan_sha256"],
        files=shards,
        percent=lambda share: "–" if share is None else f"{share:.1%}",
        counts=lambda found: ", ".join(f"{name} {count}" for name, count in found.items()),
    )


def _writer(plan: CorpusPlan) -> str:
    if isinstance(plan.writer, ServerWriter):
        return f"{plan.writer.model} behind an OpenAI-compatible server"
    what = "the written exchanges of Emotion Omni Studio (a large language model's, Apache-2.0)"
    return (
        what if plan.writer.kind == "exchanges" else f"queries: {what}; replies: the responder {plan.writer.responder}"
    )


def _front_matter(plan: CorpusPlan, manifest: dict[str, Any]) -> str:
    splits = sorted({Path(name).name.split("-")[0] for name in manifest["files"] if name.endswith(".parquet")})
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in reversed(splits)]
    return yaml.safe_dump(
        {
            "license": plan.licence,
            "language": [plan.language],
            "task_categories": ["audio-to-audio", "audio-classification", "text-generation"],
            "tags": ["emotion", "dialogue", "synthetic", "speech"],
            "configs": [{"config_name": "default", "data_files": files}],
        },
        sort_keys=False,
    )
