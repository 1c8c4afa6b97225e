"""What a client may set for its session: the ``session`` object of the OpenAI Realtime protocol, the part we keep.

``model`` is the engine; what the protocol has no word for stands under ``emotion_omni``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from annotation.realtime.input_audio import RATES
from emotion_omni.types import EmotionOmniError, VoiceSettings

OUTPUT_HZ = 24_000  # the protocol's own rate
DETECTIONS = ("semantic_vad", "server_vad")


@dataclass(frozen=True)
class TurnDetection:
    """``kind``: "semantic_vad", Smart Turn ends a turn, or "server_vad", a pause of ``silence_ms`` does."""

    kind: str = "semantic_vad"
    silence_ms: int = 500
    threshold: float = 0.5
    interrupts: bool = True
    responds: bool = True


@dataclass(frozen=True)
class SessionSettings:
    """``turn_detection``: None for push-to-talk, where the client commits."""

    model: str
    input_hz: int = OUTPUT_HZ
    turn_detection: TurnDetection | None = TurnDetection()
    voice: VoiceSettings = VoiceSettings()
    seed: int = 0
    speaks: bool = True

    def as_json(self) -> dict[str, Any]:
        detection = self.turn_detection
        return {
            "type": "realtime",
            "object": "realtime.session",
            "model": self.model,
            "output_modalities": ["audio"] if self.speaks else ["text"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": self.input_hz},
                    "turn_detection": detection
                    and {
                        "type": detection.kind,
                        "create_response": detection.responds,
                        "interrupt_response": detection.interrupts,
                    },
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": OUTPUT_HZ},
                    "voice": self.voice.name,
                    "speed": self.voice.rate,
                },
            },
            "emotion_omni": {"seed": self.seed, "intensity": self.voice.intensity},
        }


def updated(settings: SessionSettings, given: Any) -> SessionSettings:
    """With what ``session.update`` names; the rest stays. Raises :class:`EmotionOmniError` (code ``bad-request``)."""
    session = _object(given, "session")
    sound = _object(session.get("audio"), "session.audio")
    heard, said = _object(sound.get("input"), "audio.input"), _object(sound.get("output"), "audio.output")
    ours = _object(session.get("emotion_omni"), "session.emotion_omni")
    if "model" in session:
        settings = replace(settings, model=_text(session["model"], "model"))
    if "output_modalities" in session:
        settings = replace(settings, speaks="audio" in (session["output_modalities"] or ()))
    if "format" in heard:
        settings = replace(settings, input_hz=_rate(heard["format"]))
    if "format" in said and _rate(said["format"]) != OUTPUT_HZ:
        raise _bad(f"audio.output.format.rate is {OUTPUT_HZ}.")
    if "turn_detection" in heard:
        settings = replace(settings, turn_detection=_detection(heard["turn_detection"]))
    if "seed" in ours:
        settings = replace(settings, seed=int(_number(ours["seed"], "seed", 0, 2**31 - 1)))
    voice = settings.voice
    if "voice" in said:
        voice = replace(voice, name=_text(said["voice"] or "", "voice"))
    if "speed" in said:
        voice = replace(voice, rate=_number(said["speed"], "speed", 0.5, 2))
    if "intensity" in ours:
        voice = replace(voice, intensity=_number(ours["intensity"], "intensity", 0, 2))
    return replace(settings, voice=voice)


def _detection(given: Any) -> TurnDetection | None:
    if given is None:
        return None
    given = _object(given, "turn_detection")
    if (kind := given.get("type")) not in DETECTIONS:
        raise _bad(f"turn_detection.type is one of {', '.join(DETECTIONS)}, or turn_detection is null, not {kind!r}.")
    return TurnDetection(
        kind,
        int(_number(given.get("silence_duration_ms", 500), "silence_duration_ms", 200, 3000)),
        _number(given.get("threshold", 0.5), "threshold", 0.1, 0.95),
        given.get("interrupt_response") is not False,
        given.get("create_response") is not False,
    )


def _rate(given: Any) -> int:
    given = _object(given, "format")
    if given.get("type") != "audio/pcm":
        raise _bad(f"format.type is 'audio/pcm' (16-bit, mono, little-endian), not {given.get('type')!r}.")
    return int(_number(given.get("rate", OUTPUT_HZ), "rate", RATES.start, RATES.stop - 1))


def _object(given: Any, name: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _bad(f"{name} is an object, not {str(given)[:40]!r}.")
    return given


def _text(given: Any, name: str) -> str:
    if not isinstance(given, str) or len(given) > 200:
        raise _bad(f"{name} is a text of at most 200 letters.")
    return given


def _number(given: Any, name: str, least: float, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise _bad(f"{name} is a number from {least:g} to {most:g}, not {str(given)[:40]!r}.")
    return given


def _bad(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "bad-request")
