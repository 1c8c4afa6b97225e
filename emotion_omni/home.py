"""The home folder: all that people give and all that is trained lies below it."""

from __future__ import annotations

import os
from pathlib import Path

from emotion_omni.types import EmotionOmniError

DEFAULT = "studio-data"


def home_folder() -> Path:
    """``EMOTION_OMNI_HOME``, by default ``./studio-data``, as an absolute path. It need not exist yet.

    Raises :class:`EmotionOmniError` (``bad-setting``) for the ``~name`` of somebody unknown.
    """
    given = os.environ.get("EMOTION_OMNI_HOME") or DEFAULT
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise EmotionOmniError(f"EMOTION_OMNI_HOME is {given!r}: {error}", "bad-setting") from error
