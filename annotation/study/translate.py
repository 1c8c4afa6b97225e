"""Texts in other languages, looked up by their English form.

One file for each language in ``translations/``: {"English": "translation"}. A text that a file does not have stays
English. A translated scale has a version of its own ("1-de"): other words may be answered differently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("translations")
ENGLISH = "en"
_NOT_TRANSLATED = ("name", "kind", "value", "key", "id", "url", "receipt", "assignment", "code", "prefill")


@cache
def languages() -> tuple[str, ...]:
    """The languages that a study can have, as BCP 47 codes."""
    return (ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.json")))


@cache
def words(language: str) -> Mapping[str, str]:
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8")) if language in languages()[1:] else {}


def translated(value: Any, language: str) -> Any:
    """A screen or other JSON with its English texts translated; names and codes stay."""
    if language == ENGLISH:
        return value
    if isinstance(value, str):
        return words(language).get(value, value)
    if isinstance(value, Mapping):
        return {key: one if key in _NOT_TRANSLATED else translated(one, language) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [translated(one, language) for one in value]
    return value


def version(scale_version: str, language: str) -> str:
    return scale_version if language == ENGLISH else f"{scale_version}-{language}"


def preferred(accepted: str) -> str:
    """The first language of an Accept-Language header that there is a file for."""
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower()
        for language in languages():
            if code == language or code.startswith(f"{language}-"):
                return language
    return ENGLISH
