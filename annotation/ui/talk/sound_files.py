"""Sounds that Gradio serves to programs: in its upload folder, under names that say nothing."""

from __future__ import annotations

import uuid
from pathlib import Path

from gradio.utils import get_upload_folder

from emotion_omni import audio
from emotion_omni.types import Audio


def save_sound(sound: Audio) -> str:
    """Write a WAV file; the page deletes files of this folder after an hour."""
    target = Path(get_upload_folder()) / uuid.uuid4().hex / "sound.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(audio.wav_bytes(sound))
    return str(target)
