"""People of a studio, for tests of how they come in."""

from __future__ import annotations

import time
from typing import Any

import pytest

from annotation.people.logins import COOKIE
from annotation.people.people import People
from emotion_omni.types import EmotionOmniError

PASSWORD = "correct horse"


def cookies(people: People, rater: str) -> dict[str, str]:
    return {COOKIE: people.logins.issue(rater)}


def refused(code: str, call: Any, *arguments: Any) -> str:
    """The message of the error with this code."""
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments)
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clocks."""
    now, monotonic = time.time() + seconds, time.monotonic() + seconds
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
