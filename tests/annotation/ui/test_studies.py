"""The Studies tab's handlers, without a page."""

from __future__ import annotations

import threading

import pytest

from annotation.realtime.engine_pool import EnginePool
from annotation.study.progress import no_progress
from annotation.ui.studies import Handlers
from emotion_omni.types import EmotionOmniError


def test_one_engine_is_not_compared_with_itself():
    handlers = Handlers.__new__(Handlers)
    handlers.engines = EnginePool()
    with pytest.raises(EmotionOmniError, match="needs two engines"):
        handlers._produced({"title": "A", "template": "compare"}, [], ["fake"], 0, no_progress, threading.Event())
