"""The columns of a table that an import knows, under the names that people give them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from annotation.study.rules import Study
from annotation.study.source import key_of

_FILE = ("file_name", "filename", "file", "path", "audio", "audio_file", "audio_path", "recording")
_TEXT = ("text", "transcript", "transcription", "sentence")
NEAR = 0.83  # similarity from which an unknown name counts as a slip of the pen


class Columns:
    """Which column is which, for a template."""

    def __init__(self, rules: Study) -> None:
        roles = rules.form.clips
        self.roles = roles
        self.known = [
            *roles,
            *(f"text_{role}" for role in roles),
            *(f"system_{role}" for role in roles),
            *("system", "family", "guess", "guess_probability", "expected"),
        ]
        self.aliases = {f"{role}_{name}": role for role in roles for name in _FILE}
        self.aliases |= {f"{role}_{name}": f"text_{role}" for role in roles for name in _TEXT}
        self.aliases |= {f"{role}_system": f"system_{role}" for role in roles}
        if len(roles) == 1:
            self.aliases |= dict.fromkeys((*_FILE, "query"), roles[0]) | dict.fromkeys(_TEXT, f"text_{roles[0]}")

    def recognize(self, names: Sequence[str]) -> dict[str, str]:
        """A table's own name of a column → the name by which the import knows it. Others are kept as they are."""
        plain = {name: plain_name(name) for name in names}
        found = {name: form for name, form in plain.items() if form in self.known}
        for alias, meant in self.aliases.items():
            for name, form in plain.items():
                if form == alias and meant not in found.values():
                    found[name] = meant
        return found

    def near_miss(self, name: str, found: dict[str, str]) -> str | None:
        """The known column that an unknown one is almost called."""
        form = plain_name(name)
        if name in found or form in self.aliases:
            return None
        if any(form.startswith(f"{known}_") for known in (*found.values(), *map(plain_name, found))):
            return None
        near = difflib.get_close_matches(form, [*self.known, *self.aliases], 1, NEAR)
        return self.aliases.get(near[0], near[0]) if near else None


def plain_name(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", key_of(name).replace("\u00a0", " ").strip().casefold())
