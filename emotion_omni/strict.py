"""Strict settings: frozen dataclasses to JSON and back.

An unknown key, a wrong type or a value out of range is refused by name, with what is allowed. A field may be a union of
settings, of which a file chooses one by the key ``kind``. Pure Python: knows no model and no files.
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

UnionType = type(int | str)  # as types.UnionType; the module emotion_omni.types is another one
Precision = Literal["float32", "float16", "bfloat16"]


def refuse(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "config")


@dataclass(frozen=True)
class Strict:
    """Refuses a value of the wrong type; subclasses add constraints on values and between fields."""

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
        return cls.from_mapping(mapping)

    @classmethod
    def from_mapping(cls, mapping: Any) -> Self:
        """A decoded JSON object, or what a YAML file holds. Refuses (code ``config``) as :meth:`from_json`."""
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


@dataclass(frozen=True)
class Pinned(Strict):
    """A model at a commit. ``name``: a hub id or a folder; ``revision``: a commit, tag or branch, empty for the newest.

    Subclasses give both a default. Another name with the default's commit beside it means the newest revision, because
    no other repository has that commit.
    """

    name: str
    revision: str

    def __post_init__(self) -> None:
        super().__post_init__()
        default = {field.name: field.default for field in dataclasses.fields(self)}
        if self.name != default["name"] and self.revision == default["revision"]:
            object.__setattr__(self, "revision", "")


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A hint for the end of a message: the known name that a mistyped one is closest to, if any is close."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, UnionType):
        return any(_fits(value, one) for one in typing.get_args(wanted))
    if typing.get_origin(wanted) is Literal:
        return value in typing.get_args(wanted)
    if typing.get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is wanted  # exact: True is no size


def _in_words(wanted: Any) -> str:
    if isinstance(wanted, UnionType):
        return " or ".join(_in_words(one) for one in typing.get_args(wanted))
    if typing.get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(wanted)))}"
    if typing.get_origin(wanted) is tuple:
        return "a tuple of strings"
    return {int: "a whole number", float: "a finite number", str: "a string", bool: "true or false"}.get(
        wanted, f"a {wanted.__name__}"
    )


def _read(kind: Any, mapping: Any, at: str) -> Any:
    """A decoded JSON object → ``kind``. ``at``: its place in the file, with a dot at the end."""
    _check_object(mapping, at)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in mapping:
        if key not in fields:
            raise refuse(f"Unknown setting {at + key!r}. Allowed here: {', '.join(fields)}.{nearest(key, fields)}")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in mapping]
    if missing:
        raise refuse(
            f"The setting {at + missing[0]!r} is missing. Add it, or start from what to_json() of a preset writes."
        )
    hints = typing.get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, f"{at}{key}.") for key, value in mapping.items()})


def _value(wanted: Any, value: Any, at: str) -> Any:
    if isinstance(wanted, UnionType) and all(map(dataclasses.is_dataclass, typing.get_args(wanted))):
        return _read(_chosen(wanted, value, at), value, at)
    if dataclasses.is_dataclass(wanted):
        return _read(wanted, value, at)
    return tuple(value) if isinstance(value, list) else value


def _chosen(union: Any, mapping: Any, at: str) -> Any:
    """The settings class of a union that the key ``kind`` of the mapping names."""
    _check_object(mapping, at)
    kinds = {kind_of(one): one for one in typing.get_args(union)}
    if "kind" not in mapping:
        raise refuse(f"The setting {at + 'kind'!r} is missing. Use one of: {', '.join(kinds)}.")
    if mapping["kind"] not in list(kinds):
        hint = nearest(str(mapping["kind"]), kinds)
        raise refuse(f"{at}kind is {mapping['kind']!r}; it must be one of {', '.join(map(repr, kinds))}.{hint}")
    return kinds[mapping["kind"]]


def kind_of(settings: Any) -> str:
    """The one value of the field ``kind`` of a settings class."""
    (kind,) = typing.get_args(typing.get_type_hints(settings)["kind"])
    return kind


def _check_object(mapping: Any, at: str) -> None:
    if not isinstance(mapping, dict):
        raise refuse(
            f"{at.rstrip('.') or 'The configuration'} is {mapping!r}; it must be an object with named settings."
        )
