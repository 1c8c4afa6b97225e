"""Studies from files: rules from ``study.yaml``, items from a table (a row an item) or from recordings alone.

A table is ``items.jsonl``, ``items.csv`` or ``manifest.csv``. Its columns are the clips that the template needs (a
path each) and, optionally, ``text_ROLE``, ``system_ROLE``, ``system``, ``family``, ``guess``, ``guess_probability``
and ``expected``. All other columns are kept as provenance.
"""

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
LONGEST_FAMILY = 80  # characters

Fields = Mapping[str, Any]  # of a row of the table


def read_source(
    source: Source, clips: Clips, overrides: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> tuple[Study, list[Item]]:
    """The rules and items of a source. ``overrides``: settings that take precedence over those of study.yaml."""
    settings = dict(overrides or {})
    for name in source.names:
        if PurePosixPath(name).name in ("study.yaml", "study.yml"):
            settings = read_yaml(source.get(name)) | settings
    rules = Study.read(settings)
    rows = _read_rows(source, rules)
    items: list[Item] = []
    for number, row in enumerate(rows, 1):
        progress(number, len(rows), "Reading recordings")
        try:
            items += _items_from_row(row, rules, source, clips)
        except EmotionOmniError as error:
            raise EmotionOmniError(f"Item {number}: {error}", error.code) from error
    return rules, items


def read_yaml(data: bytes) -> dict[str, Any]:
    """Settings of a study. Aliases are refused: a few lines of them expand to gigabytes."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(data, Loader=yaml.SafeLoader)):
            raise EmotionOmniError("study.yaml may have no aliases (*name). Write the value out.", "bad-yaml")
        settings = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EmotionOmniError(f"study.yaml is not valid YAML: {error}", "bad-yaml") from error
    if not isinstance(settings, dict):
        raise EmotionOmniError("study.yaml must be a mapping of settings, such as 'title: My study'.", "bad-yaml")
    return settings


# --- tables -----------------------------------------------------------------------------------------------------


def _read_rows(source: Source, rules: Study) -> list[Fields]:
    try:
        rows = list(islice(_rows(source, rules), MOST_ITEMS + 1))
    except csv.Error as error:
        raise EmotionOmniError(f"The table cannot be read: {error}.", "bad-manifest") from error
    if not rows:
        raise EmotionOmniError(
            f"No items were found. Give items.jsonl, items.csv, or recordings ({', '.join(AUDIO_ENDINGS)}).", "empty"
        )
    if len(rows) > MOST_ITEMS:
        raise EmotionOmniError(f"These are too many items for one study; {MOST_ITEMS} are allowed.", "too-large")
    return rows


def _rows(source: Source, rules: Study) -> Iterator[Fields]:
    """The rows of the first table, or one row for each recording where there is no table."""
    for name in source.names:
        match PurePosixPath(name).name:
            case "items.jsonl":
                return _json_rows(source.get(name))
            case "items.csv" | "manifest.csv":
                return _csv_rows(source.get(name))
    if rules.form.clips != ("speech",):
        raise EmotionOmniError(
            f"{rules.form.title} needs items.jsonl with {', '.join(rules.form.clips)} for each item.", "missing"
        )
    return ({"speech": name} for name in source.names if name.lower().endswith(AUDIO_ENDINGS))


def _csv_rows(data: bytes) -> Iterator[Fields]:
    text = data.decode("utf-8-sig", "replace")
    for row in csv.DictReader(io.StringIO(text)):
        yield {key: value for key, value in row.items() if value}


def _json_rows(data: bytes) -> Iterator[Fields]:
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"items.jsonl, line {number}, is not JSON: {error}.", "bad-manifest") from error
        if not isinstance(row, dict):
            raise EmotionOmniError(f"items.jsonl, line {number}, is not an object.", "bad-manifest")
        yield row


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity; JSON does not know them, and databases do not store them."""
    raise ValueError(f"{name} is not a number")


# --- a row ------------------------------------------------------------------------------------------------------


def _items_from_row(row: Fields, rules: Study, source: Source, clips: Clips) -> list[Item]:
    roles = rules.form.clips
    missing = [role for role in roles if not row.get(role)]
    if missing:
        raise EmotionOmniError(f"it has no {missing[0]!r}; {rules.form.title} needs {', '.join(roles)}.", "missing")
    sounds = {role: audio.decode(source.get(str(row[role]))) for role in roles}
    texts = _by_role(row, "text", roles)
    item = make_item(
        sounds,
        clips,
        texts,
        family=row.get("family") and str(row["family"])[:LONGEST_FAMILY],
        guess=_guess(row),
        systems=_systems(row, roles),
        about=_provenance(row, roles),
        expected=_expected(row, rules),
    )
    if rules.template != "words-voice":
        return [item]
    if not texts.get("speech"):
        raise EmotionOmniError("it has no 'text_speech'; words against voice needs the transcript.", "missing")
    return in_modes(item, sounds["speech"], clips)


def _by_role(row: Fields, column: str, roles: tuple[str, ...]) -> dict[str, str]:
    """``column_ROLE`` of each role that has one."""
    return {role: str(row[f"{column}_{role}"]) for role in roles if row.get(f"{column}_{role}")}


def _systems(row: Fields, roles: tuple[str, ...]) -> dict[str, str]:
    """Which system spoke each clip. ``system`` alone is that of the reply, or of the only clip."""
    systems = _by_role(row, "system", roles)
    if row.get("system"):
        systems["reply" if "reply" in roles else roles[0]] = str(row["system"])
    return systems


def _provenance(row: Fields, roles: tuple[str, ...]) -> dict[str, Any]:
    used = {*roles, "family", "guess", "guess_probability", "system", "expected"}
    used |= {f"{column}_{role}" for column in ("text", "system") for role in roles}
    return {str(key): value for key, value in row.items() if key not in used}


def _guess(row: Fields) -> dict[str, Any] | None:
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


# --- expected answers -------------------------------------------------------------------------------------------


def _expected(row: Fields, rules: Study) -> dict[str, Any] | None:
    """{scale: value}, or the value of the template's main scale. Makes the item a gold item."""
    given = row.get("expected")
    if not given:
        return None
    if isinstance(given, str) and given.startswith("{"):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"expected = {given[:60]!r} is not JSON: {error}.", "bad-manifest") from error
    expected = given if isinstance(given, dict) else {rules.form.main: given}
    scales = {scale.name: scale for scale in rules.form.asked(True)}
    for name, values in expected.items():
        asked = (scales[name],) if name in scales else ()
        for value in _each_value(values):
            check_answers(asked, {name: value})
    return expected


def _each_value(expected: Any) -> list[Any]:
    """The values that an expectation names: one, a list of them, or the ends of a range."""
    if not isinstance(expected, dict):
        return expected if isinstance(expected, list) else [expected]
    if not expected or not set(expected) <= {"low", "high"}:
        raise EmotionOmniError(
            f"expected: {str(expected)[:60]} must be a value, a list of values, or low and high.", "bad-manifest"
        )
    return list(expected.values())
