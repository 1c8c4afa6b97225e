"""Turn detectors on networks that are loaded once per process and shared."""

from __future__ import annotations

from functools import cache

from emotion_omni import weights
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.turn_detection.smart_turn import SmartTurn
from emotion_omni.turn_detection.turn_detector import LONGEST_PAUSE, TurnDetector


def semantic_detector() -> TurnDetector:
    """Smart Turn ends a turn. Raises :class:`EmotionOmniError` (code ``weights``)."""
    return TurnDetector(_voice_activity().stream(), _smart_turn(), LONGEST_PAUSE)


def pause_detector(silence: float, threshold: float) -> TurnDetector:
    """A pause of ``silence`` seconds ends a turn. Raises :class:`EmotionOmniError` (code ``weights``)."""
    return TurnDetector(_voice_activity().stream(), None, silence, threshold)


@cache
def _voice_activity() -> VoiceActivity:
    return VoiceActivity(weights.fetch("silero/vad.onnx"))


@cache
def _smart_turn() -> SmartTurn:
    return SmartTurn.load()
