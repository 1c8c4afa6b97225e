"""CosyVoice2 as its authors publish it → a folder of safetensors with one voice, once.

    python -m emotion_omni.hub.prepare FOLDER                      the voice of the embedded engine
    python -m emotion_omni.hub.prepare FOLDER --voice mine.wav     3 to 10 s of somebody who allows it

The published weights are pickles: they are read here with ``weights_only=True`` and nowhere later.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import huggingface_hub

from emotion_omni import audio
from emotion_omni.hub import text2token
from emotion_omni.hub.loading import explained
from emotion_omni.hub.speak import VARIABLE, Kokoro
from emotion_omni.omni import token2wav
from emotion_omni.omni.token2wav import PUBLISHED, Size, SpeakerEncoder, SpeechTokenizer, VoicePrompt
from emotion_omni.types import Audio, EmotionOmniError

SOURCE = "FunAudioLLM/CosyVoice2-0.5B"
REVISION = "eec1ae6c79877dbd9379285cf8789c9e0879293d"
TOKENIZER = "speech_tokenizer_v2.onnx"
FILES = [*text2token.FILES, "flow.pt", "hift.pt", "campplus.onnx", TOKENIZER]
SAID = "I am glad that you are here. Take all the time you need, and tell me how your day has been."


def prepare(folder: Path, source: str = SOURCE, voice: Audio | None = None, size: Size = PUBLISHED) -> None:
    """``source``: the hub id or a folder of the published files. Without a ``voice`` the embedded engine's speaks a sentence.

    Raises :class:`EmotionOmniError` (codes ``weights``, ``missing``, ``missing-package``, ``checkpoint``, ``too-long``).
    """
    official = Path(source) if Path(source).is_dir() else _fetched(source)
    speech = voice or audio.join(list(Kokoro.load().speak(SAID, "neutral")))
    prompt = VoicePrompt.of(speech, SpeechTokenizer(official / TOKENIZER), SpeakerEncoder(official / "campplus.onnx"))
    text2token.convert(official, folder)
    token2wav.convert(official, folder, prompt, size)
    shutil.copy(official / TOKENIZER, folder)  # what the omni model is taught to speak with


def _fetched(source: str) -> Path:
    with explained(source):
        return Path(huggingface_hub.snapshot_download(source, revision=REVISION if source == SOURCE else None, allow_patterns=FILES))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m emotion_omni.hub.prepare", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to put it, about 3 GB")
    parser.add_argument("--source", default=SOURCE, help="hub id or folder of the published files (default: %(default)s)")
    parser.add_argument("--voice", help="a clear recording of the voice to speak with (default: the embedded engine's voice)")
    chosen = parser.parse_args(arguments)
    try:
        prepare(chosen.folder, chosen.source, audio.decode(chosen.voice) if chosen.voice else None)
    except EmotionOmniError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"Ready. Say where it is: export {VARIABLE}={chosen.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
