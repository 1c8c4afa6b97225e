"""Settings that refuse what they do not know: frozen dataclasses to JSON and back, strictly.

An unknown key, a wrong type or a value out of range is refused by name, with what is allowed. Pure
Python: knows no model and no files.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self

from emotion_omni.types import EmotionOmniError


def refuse(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "config")


@dataclass(frozen=True)
class Strict:
    """Refuses a value of the wrong type; the subclasses add what must hold between their fields."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, wanted = getattr(self, field.name), hints[field.name]
            if not _fits(value, wanted):
                raise refuse(f"{type(self).__name__}.{field.name} is {value!r}; it must be {_in_words(wanted)}.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of :meth:`to_json`; keys with a default may be left out. Refuses (code ``config``) the rest."""
        try:
            mapping = json.loads(text)
        except json.JSONDecodeError as error:
            raise refuse(f"The configuration is not JSON ({error}). Save it with {cls.__name__}.to_json().") from error
        return _read(cls, mapping, "")

    def _require(self, holds: bool, name: str, wanted: str) -> None:
        if not holds:
            raise refuse(f"{type(self).__name__}.{name} is {getattr(self, name)!r}; it must be {wanted}.")

    def _positive(self, *names: str) -> None:
        for name in names:
            self._require(getattr(self, name) > 0, name, "greater than 0")

    def _share(self, *names: str) -> None:
        for name in names:
            self._require(0 <= getattr(self, name) <= 1, name, "from 0 to 1")


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A hint for the end of a message: the known name that a mistyped one is closest to, if any is close."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _fits(value: Any, wanted: Any) -> bool:
    if typing.get_origin(wanted) is Literal:
        return value in typing.get_args(wanted)
    if typing.get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is wanted  # exact: True is no size


def _in_words(wanted: Any) -> str:
    if typing.get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(wanted)))}"
    if typing.get_origin(wanted) is tuple:
        return "a tuple of strings"
    return {int: "a whole number", float: "a finite number", str: "a string", bool: "true or false"}.get(
        wanted, f"a {wanted.__name__}"
    )


def _read(kind: Any, mapping: Any, at: str) -> Any:
    """A decoded JSON object → ``kind``. ``at``: where in the file it stands, with a dot at its end."""
    if not isinstance(mapping, dict):
        raise refuse(
            f"{at.rstrip('.') or 'The configuration'} is {mapping!r}; it must be an object with named settings."
        )
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in mapping:
        if key not in fields:
            raise refuse(f"Unknown setting {at + key!r}. Allowed here: {', '.join(fields)}.{nearest(key, fields)}")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in mapping]
    if missing:
        raise refuse(
            f"The setting {at + missing[0]!r} is missing. Add it, or start from what a preset's to_json() writes."
        )
    hints = typing.get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, f"{at}{key}.") for key, value in mapping.items()})


def _value(wanted: Any, value: Any, at: str) -> Any:
    if dataclasses.is_dataclass(wanted):
        return _read(wanted, value, at)
    return tuple(value) if isinstance(value, list) else value
