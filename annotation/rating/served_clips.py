"""Which sounds belong to an assignment, kept in memory so that most clips are served without asking the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from emotion_omni.types import EmotionOmniError

MOST_ASSIGNMENTS = 5000


class ServedClips:
    def __init__(self) -> None:
        self._sounds: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()  # assignment → its rater, its sounds

    def add(self, assignment: Mapping[str, Any], clips: Sequence[Mapping[str, Any]]) -> None:
        """``clips`` in the order of the page."""
        self._sounds[assignment["id"]] = (assignment["rater"], [clip["played"] for clip in clips])
        while len(self._sounds) > MOST_ASSIGNMENTS:
            self._sounds.popitem(last=False)

    def get(self, rater: str, assignment: str, number: int) -> str | None:
        """The SHA-256 of a clip's sound; None if the assignment is not in memory; refused if it is another rater's."""
        found = self._sounds.get(assignment)  # one look: another thread may remove it at any moment
        if found is None:
            return None
        owner, sounds = found
        if owner != rater or not 0 <= number < len(sounds):
            raise EmotionOmniError("This clip was not handed to you. Ask for the next item.", "not-yours")
        return sounds[number]

    def forget(self, rater: str) -> None:
        """A rater who withdrew is served nothing from memory."""
        for assignment in [name for name, (owner, _) in list(self._sounds.items()) if owner == rater]:
            self._sounds.pop(assignment, None)
