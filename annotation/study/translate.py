"""Words in other languages, looked up by their English form.

One file a language in ``translations/``: {"English": "translation"}. What a file does not hold stays English.
A translated scale is another version of it ("1-de"), since other words may well be answered otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("translations")
ENGLISH = "en"
_KEPT = ("name", "kind", "value", "key", "id", "url", "receipt", "assignment", "code", "prefill")  # never words


@cache
def languages() -> tuple[str, ...]:
    """All that can be chosen, by their BCP 47 codes."""
    return (ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.json")))


@cache
def words(language: str) -> Mapping[str, str]:
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8")) if language in languages()[1:] else {}


def translated(told: Any, language: str) -> Any:
    """A screen or any other JSON, its English sentences replaced; names and codes stay."""
    if language == ENGLISH:
        return told
    if isinstance(told, str):
        return words(language).get(told, told)
    if isinstance(told, Mapping):
        return {key: value if key in _KEPT else translated(value, language) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [translated(value, language) for value in told]
    return told


def version(of: str, language: str) -> str:
    return of if language == ENGLISH else f"{of}-{language}"


def preferred(accepted: str) -> str:
    """The first language of an Accept-Language header that there is a file for."""
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower()
        for language in languages():
            if code == language or code.startswith(f"{language}-"):
                return language
    return ENGLISH
