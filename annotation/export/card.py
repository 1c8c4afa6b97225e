"""The data set card: what a reader must know before using the files, and nothing that is not known.

The prose is the template ``card.md.jinja``; this module computes what it prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from annotation.export.columns import TRAINING
from annotation.export.manifest import Manifest
from annotation.export.source import Source
from annotation.export.split_lock import NEAR_DUPLICATE
from annotation.export.split_lock import REASONS as LOCK_REASONS
from annotation.export.training_items import REASONS
from annotation.study import clips
from annotation.study.rules import Study
from annotation.study.scales import SURVEY, Scale
from annotation.study.templates import CONSENT, STATEMENTS
from annotation.study.translate import translated, version
from emotion_omni import emotion

TEMPLATE = Path(__file__).with_name("card.md.jinja")
_LICENCES = (  # identifiers of the Hugging Face Hub
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0",
    "odbl",
    "odc-by",
    "pddl",
)
_ANSWERS = ["text-generation", "audio-to-audio"]
_TASKS = {"emotion": ["audio-classification"], "empathy": _ANSWERS, "compare": _ANSWERS}


def render_card(source: Source, manifest: Manifest) -> str:
    # Markdown is not HTML, so nothing is escaped; a name the template misspells is an error, not an empty string.
    environment = jinja2.Environment(  # noqa: S701
        autoescape=False, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    rules = source.results.rules
    return template.render(
        front_matter=_front_matter(rules, manifest),
        rules=rules,
        manifest=manifest,
        emotions=emotion.NAMES,
        training=[name for name in TRAINING if f"{name}.parquet" in manifest.rows],
        reasons=REASONS,
        lock_reasons=LOCK_REASONS,
        **_rater_figures(source),
        survey=_survey(list(source.reports.surveys.values()), rules.language),
        surveys=len(source.reports.surveys),
        comments=len(source.reports.comments()),
        skip_reasons=sorted(Counter(skip["reason"] for skip in source.reports.skips).items()),
        agreement=source.agreement,
        instructions=translated(rules.instructions or rules.form.instructions, rules.language),
        questions=[_question(scale, rules.language) for scale in rules.form.asked(True)],
        consents=len(source.consents),
        consent_text=translated((*(rules.consent or CONSENT), *STATEMENTS), rules.language),
        contributed=sum(bool(item["contributor"]) for item in source.items),
        hz=clips.HZ,
        lufs=clips.LUFS,
        near_duplicate=float(NEAR_DUPLICATE),
    )


def _front_matter(rules: Study, manifest: Manifest) -> str:
    """The metadata block, as YAML."""
    split = "train" if rules.split == "training" else "test"
    # A repository has one reader, so every configuration is Parquet; JSON lines stand beside.
    names = [name for name, rows in manifest.rows.items() if rows and name.endswith(".parquet")]
    metadata = {
        "pretty_name": rules.title,
        "language": [rules.language],
        **_licence(rules.licence),
        "task_categories": _TASKS[rules.form.tab],
        "tags": ["audio", "speech", "emotion", "human-feedback"],
        "configs": [{"config_name": Path(name).stem, "data_files": [{"split": split, "path": name}]} for name in names],
    }
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)


def _licence(stated: str) -> dict[str, str]:
    identifier = stated.strip().lower()
    if identifier in _LICENCES:
        return {"license": identifier}
    if identifier == "not stated":
        return {"license": "unknown"}
    return {"license": "other", "license_name": stated}


def _rater_figures(source: Source) -> dict[str, Any]:
    """How many raters and ratings of each kind, and why raters were flagged."""
    results = source.results
    flagged = {rater for rater, verdict in results.verdicts.items() if verdict.outcome == "flagged"}
    reasons = Counter(
        "researcher's decision" if reason.startswith("researcher:") else reason
        for rater in flagged
        for reason in results.verdicts[rater].reasons
    )
    return {
        "raters": len(results.verdicts),
        "outcomes": Counter(verdict.outcome for verdict in results.verdicts.values()),
        "flag_reasons": sorted(reasons.items()),
        "kinds": Counter(results.ratings["kind"]),
        "flagged_ratings": sum(row["kind"] == "rate" and row["rater"] in flagged for row in results.rows),
    }


def _survey(surveys: Sequence[Mapping[str, Any]], language: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """Each question with a choice of answers → how often each was given."""
    found = []
    for scale in SURVEY:
        if scale.values:
            counts = Counter(str(survey[scale.name]) for survey in surveys if scale.name in survey)
            found.append((translated(scale.question, language), sorted(counts.items())))
    return found


def _question(scale: Scale, language: str) -> dict[str, Any]:
    return translated(scale.form(), language) | {
        "kind": scale.kind,
        "level": scale.level,
        "version": version(scale.version, language),
        "condition": scale.show_if,
    }
