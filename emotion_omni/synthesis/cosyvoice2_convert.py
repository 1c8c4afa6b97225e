"""CosyVoice2 as its authors publish it → a folder of safetensors with one voice, once.

The command is ``python -m emotion_omni convert cosyvoice2 [FOLDER] [--voice FILE]``. The published weights are pickles:
they are read with ``weights_only=True``, here and nowhere else. Everything is written to a temporary folder, which is
moved to its place when it is complete.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import huggingface_hub

from emotion_omni import audio, weights
from emotion_omni.loading import explained
from emotion_omni.synthesis import cosyvoice2_networks, text2token, token2wav
from emotion_omni.synthesis.cosyvoice2_folder import MARKER, SPEAKER_ENCODER, TOKENIZER, find_folder, is_complete
from emotion_omni.synthesis.cosyvoice2_networks import PUBLISHED, SMALL, Size
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.synthesis.onnx_encoders import SpeakerEncoder, SpeechTokenizer
from emotion_omni.synthesis.voice_prompt import VoicePrompt
from emotion_omni.types import Audio, Delivery

log = logging.getLogger(__name__)

SOURCE = "FunAudioLLM/CosyVoice2-0.5B"
REVISION = "eec1ae6c79877dbd9379285cf8789c9e0879293d"
FILES = [*text2token.FILES, "flow.pt", "hift.pt", SPEAKER_ENCODER, TOKENIZER]
PROMPT_TEXT = "I am glad that you are here. Take all the time you need, and tell me how your day has been."


def convert(
    folder: str | Path | None = None, source: str = SOURCE, voice: Audio | None = None, size: Size = PUBLISHED
) -> Path:
    """→ the folder, by default the one where CosyVoice2 is looked for. Other files in it stay.

    ``source``: a hub id, or a folder with the published files. ``voice``: 3 to 10 s of a person who allows it; without
    it Kokoro speaks a sentence. 4 GB are fetched and 3 GB kept. Raises :class:`EmotionOmniError` (codes ``weights``,
    ``missing``, ``missing-package``, ``checkpoint``, ``too-long``).
    """
    folder = find_folder(folder).absolute()
    with _lock():
        _convert(folder, source, voice, size)
    return folder


def convert_once(folder: str | Path | None) -> None:
    """Unless the folder is complete; another process may be at it meanwhile. Raises as :func:`convert` does."""
    folder = find_folder(folder).absolute()
    with _lock():
        if not is_complete(folder):
            log.info("Converting CosyVoice2 to %s, once. 4 GB are fetched.", folder)
            _convert(folder, SOURCE, None, PUBLISHED)


def _lock() -> AbstractContextManager[None]:
    """One process at a time, whatever its folder. The lock leaves a file, so it lies in our cache."""
    return weights.locked(weights.cache() / "cosyvoice2")


def _convert(folder: Path, source: str, voice: Audio | None, size: Size) -> None:
    cosyvoice2_networks.build(SMALL)  # notices a missing package before gigabytes are fetched
    official = Path(source) if Path(source).is_dir() else _fetch(source)
    speech = voice or audio.join(list(KokoroSynthesizer.load().synthesize(PROMPT_TEXT, Delivery("neutral"))))
    tokenizer, speaker_encoder = SpeechTokenizer(official / TOKENIZER), SpeakerEncoder(official / SPEAKER_ENCODER)
    prompt = VoicePrompt.of(speech, tokenizer, speaker_encoder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    parent = folder if folder.exists() else folder.parent
    with tempfile.TemporaryDirectory(prefix=".cosyvoice2-", dir=parent) as scratch:
        converted = Path(scratch) / folder.name
        text2token.convert(official, converted)
        token2wav.convert(official, converted, prompt, size)
        shutil.copy(official / TOKENIZER, converted)  # makes the speech tokens that an omni model is trained on
        _move(converted, folder)


def _move(converted: Path, folder: Path) -> None:
    """As a whole if there is no such folder; else file by file: the marker is removed first and written last."""
    if not folder.exists():
        converted.rename(folder)
        return
    (folder / MARKER).unlink(missing_ok=True)
    files = [path for path in converted.rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda path: path.name == MARKER):
        target = folder / file.relative_to(converted)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def _fetch(source: str) -> Path:
    revision = REVISION if source == SOURCE else None
    with explained(source):
        return Path(huggingface_hub.snapshot_download(source, revision=revision, allow_patterns=FILES))
