"""The model card of a checkpoint: ``README.md``, from what the checkpoint records and nothing else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from string import Template
from typing import Any

from emotion_omni.checkpoint.about import About
from emotion_omni.checkpoint.hub import repo_of

TEMPLATE = Path(__file__).with_name("model_card.md")
LICENCES = {
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0",
}
STAGES = {
    "understand": "hears words and tone through two frozen encoders, writes an answer and plans the emotion of each of "
    "its tokens",
    "speak": "speaks the answer in that emotion, as speech tokens that a vocoder turns into sound",
}


def card(about: About, source: str = "") -> str:
    """``source``: what ``load()`` takes to get the checkpoint."""
    import yaml

    data = [f"| {_escape(each.name)} | {each.rows} | `{each.sha256}` |" for each in about.data]
    metrics = [f"| {_escape(name)} | {value:.4g} |" for name, value in about.metrics.items()]
    speaks = "speak" in about.stages
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        front_matter=yaml.safe_dump(_front_matter(about), sort_keys=False, allow_unicode=True, width=1000),
        title=_escape(about.name) or "An Emotion Omni checkpoint",
        licence=_escape(about.licence),
        stages="\n".join(f"- **{stage}**: {STAGES[stage]}" for stage in about.stages),
        no_speech="" if speaks else "- It has not learned to speak: it answers with text only.\n",
        source=shlex.quote(source or about.name or "FOLDER"),
        data="\n".join(data or ["| none stated | 0 | |"]),
        metrics="\n".join(metrics or ["| none stated | |"]),
        base_models="\n".join(f"| {_escape(role)} | {_escape(name)} |" for role, name in about.base_models.items()),
        steps=about.steps,
        seed=about.seed,
        created=about.created,
        version=_escape(about.version),
        parent=f"the checkpoint `{about.parent}`" if about.parent else "the base models",
    )


def _front_matter(about: About) -> dict[str, Any]:
    bases = sorted({repo for name in about.base_models.values() if (repo := repo_of(name))})
    return {
        **_license_fields(about.licence),
        "language": ["en"],
        **({"base_model": bases, "base_model_relation": "adapter"} if bases else {}),
        "pipeline_tag": "audio-to-audio" if "speak" in about.stages else "audio-text-to-text",
        "tags": ["speech", "emotion", "empathetic-dialogue", "lora"],
    }


def _license_fields(licence: str) -> dict[str, str]:
    identifier = licence.strip().lower()
    if identifier in LICENCES:
        return {"license": identifier}
    if identifier == "not stated":
        return {"license": "unknown"}
    return {"license": "other", "license_name": licence}


def _escape(text: str) -> str:
    """Without effect as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)
