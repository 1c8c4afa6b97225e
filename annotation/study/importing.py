"""Studies from files: rules from ``study.yaml``, items from a table or from recordings alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import yaml

from annotation.study.clips import Clips
from annotation.study.items import Item, in_modes, make_item
from annotation.study.progress import Progress, no_progress
from annotation.study.rules import Study
from annotation.study.scales import check_answers
from annotation.study.source import MOST_ITEMS, Source
from emotion_omni import audio, emotion
from emotion_omni.types import EmotionOmniError

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".webm", ".opus")


def read_source(
    source: Source, clips: Clips, overrides: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> tuple[Study, list[Item]]:
    """A study from a source: ``study.yaml`` (rules), ``items.jsonl`` or ``items.csv`` (a row an item), or recordings alone."""
    settings = dict(overrides or {})
    for name in source.names:
        if PurePosixPath(name).name in ("study.yaml", "study.yml"):
            settings = read_yaml(source.get(name)) | settings
    rules = Study.read(settings)
    try:
        rows = list(islice(_manifest(source, rules), MOST_ITEMS + 1))
    except csv.Error as error:
        raise EmotionOmniError(f"The table cannot be read: {error}.", "bad-manifest") from error
    if not rows:
        raise EmotionOmniError(
            f"No items were found. Give items.jsonl, items.csv, or recordings ({', '.join(AUDIO_ENDINGS)}).", "empty"
        )
    if len(rows) > MOST_ITEMS:
        raise EmotionOmniError(f"These are too many items for one study; {MOST_ITEMS} are allowed.", "too-large")
    found: list[Item] = []
    for number, row in enumerate(rows, 1):
        progress(number, len(rows), "Reading recordings")
        try:
            found += _from_row(row, rules, source, clips)
        except EmotionOmniError as error:
            raise EmotionOmniError(f"Item {number}: {error}", error.code) from error
    return rules, found


def read_yaml(data: bytes) -> dict[str, Any]:
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(data, Loader=yaml.SafeLoader)):
            raise EmotionOmniError("study.yaml may have no aliases (*name). Write the value out.", "bad-yaml")
        settings = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EmotionOmniError(f"study.yaml is no valid YAML: {error}", "bad-yaml") from error
    if not isinstance(settings, dict):
        raise EmotionOmniError("study.yaml must be a list of settings, such as 'title: My study'.", "bad-yaml")
    return settings


def _manifest(source: Source, rules: Study) -> Iterator[Mapping[str, Any]]:
    for name in source.names:
        match PurePosixPath(name).name:
            case "items.jsonl":
                yield from _json_lines(source.get(name))
                return
            case "items.csv" | "manifest.csv":
                text = source.get(name).decode("utf-8-sig", "replace")
                yield from (
                    {key: value for key, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))
                )
                return
    if rules.form.clips != ("speech",):
        raise EmotionOmniError(
            f"{rules.form.title} needs items.jsonl with {', '.join(rules.form.clips)} for each item.", "missing"
        )
    for name in source.names:
        if name.lower().endswith(AUDIO_ENDINGS):
            yield {"speech": name}


def _json_lines(data: bytes) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"items.jsonl, line {number}, is no JSON: {error}.", "bad-manifest") from error
        if not isinstance(row, dict):
            raise EmotionOmniError(f"items.jsonl, line {number}, is no object.", "bad-manifest")
        yield row


def _no_number(name: str) -> None:
    """Python reads NaN and Infinity; JSON has none, and no database keeps them."""
    raise ValueError(f"{name} is no number")


def _from_row(row: Mapping[str, Any], rules: Study, source: Source, clips: Clips) -> list[Item]:
    """A row: a path for each clip; optional text_ROLE, family, guess, guess_probability, system(_ROLE), expected.

    The rest is provenance."""
    roles = rules.form.clips
    missing = [role for role in roles if not row.get(role)]
    if missing:
        raise EmotionOmniError(f"it has no {missing[0]!r}; {rules.form.title} needs {', '.join(roles)}.", "missing")
    sounds = {role: audio.decode(source.get(str(row[role]))) for role in roles}
    texts = {role: str(row[f"text_{role}"]) for role in roles if row.get(f"text_{role}")}
    systems = {role: str(row[f"system_{role}"]) for role in roles if row.get(f"system_{role}")}
    used = {
        *roles,
        *(f"text_{role}" for role in roles),
        *(f"system_{role}" for role in roles),
        "family",
        "guess",
        "guess_probability",
        "system",
        "expected",
    }
    about = {str(key): value for key, value in row.items() if key not in used}
    if row.get("system"):
        systems["reply" if "reply" in roles else roles[0]] = str(row["system"])
    made = make_item(
        sounds,
        clips,
        texts,
        family=row.get("family") and str(row["family"])[:80],
        guess=_guess(row),
        systems=systems,
        about=about,
        expected=_expected(row, rules),
    )
    if rules.template != "words-voice":
        return [made]
    if not texts.get("speech"):
        raise EmotionOmniError("it has no 'text_speech'; words against voice needs the transcript.", "missing")
    return in_modes(made, sounds["speech"], clips)


def _guess(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row.get("guess"):
        return None
    return {"label": emotion.find(str(row["guess"])).name, "probability": _probability(row.get("guess_probability"))}


def _probability(given: Any) -> float | None:
    if given in (None, ""):
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        raise EmotionOmniError(f"guess_probability = {str(given)[:40]!r} must be a number from 0 to 1.", "bad-manifest")
    return value


def _expected(row: Mapping[str, Any], rules: Study) -> dict[str, Any] | None:
    """{scale: value}, or the value of the template's main scale."""
    given = row.get("expected")
    if not given:
        return None
    if isinstance(given, str) and given.startswith("{"):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"expected = {given[:60]!r} is no JSON: {error}.", "bad-manifest") from error
    wanted = given if isinstance(given, dict) else {rules.form.main: given}
    known = {scale.name: scale for scale in rules.form.asked(True)}
    for name, value in wanted.items():
        scale = (known[name],) if name in known else ()
        for one in _each_value(value):
            check_answers(scale, {name: one})
    return wanted


def _each_value(wanted: Any) -> list[Any]:
    """The values that an expectation names: one, a list of them, or the ends of a range."""
    if not isinstance(wanted, dict):
        return wanted if isinstance(wanted, list) else [wanted]
    if not wanted or not set(wanted) <= {"low", "high"}:
        raise EmotionOmniError(
            f"expected: {str(wanted)[:60]} must be a value, a list of values, or low and high.", "bad-manifest"
        )
    return list(wanted.values())
