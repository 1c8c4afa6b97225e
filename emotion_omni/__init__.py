"""Emotion Omni: hears what is said and how, and answers with words and a voice that fit."""

from emotion_omni.engine import Engine, load
from emotion_omni.types import Audio, Done, Emotion, EmotionOmniError, Event, Exchange, Heard, Plan, Speech, Text, Turn

__version__ = "0.2.0"

__all__ = [
    "Audio",
    "Done",
    "Emotion",
    "EmotionOmniError",
    "Engine",
    "Event",
    "Exchange",
    "Heard",
    "Plan",
    "Speech",
    "Text",
    "Turn",
    "load",
]
