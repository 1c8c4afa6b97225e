"""CosyVoice2 as its authors publish it → a folder of safetensors with one voice, once.

    python -m emotion_omni.synthesis.cosyvoice2_convert                      the voice of the embedded engine
    python -m emotion_omni.synthesis.cosyvoice2_convert --voice mine.wav     3 to 10 s of somebody who allows it

The published weights are pickles: they are read here with ``weights_only=True`` and nowhere later. All is made in
a folder of its own and moved to where it is wanted when it is whole.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import huggingface_hub

from emotion_omni import audio, weights
from emotion_omni.loading import explained
from emotion_omni.synthesis import text2token, token2wav
from emotion_omni.synthesis.cosyvoice2 import Kokoro
from emotion_omni.synthesis.token2wav import PUBLISHED, SMALL, Size, SpeakerEncoder, SpeechTokenizer, VoicePrompt
from emotion_omni.synthesis.vocoder import VARIABLE, WHOLE, cosyvoice_folder, is_prepared
from emotion_omni.types import Audio, EmotionOmniError

log = logging.getLogger(__name__)

SOURCE = "FunAudioLLM/CosyVoice2-0.5B"
REVISION = "eec1ae6c79877dbd9379285cf8789c9e0879293d"
TOKENIZER = "speech_tokenizer_v2.onnx"
FILES = [*text2token.FILES, "flow.pt", "hift.pt", "campplus.onnx", TOKENIZER]
SAID = "I am glad that you are here. Take all the time you need, and tell me how your day has been."


def prepare(
    folder: str | Path | None = None, source: str = SOURCE, voice: Audio | None = None, size: Size = PUBLISHED
) -> Path:
    """→ the folder, by default where CosyVoice2 is looked for. What else lies there stays.

    ``source``: the hub id or a folder of the published files. Without a ``voice`` the embedded engine's speaks a sentence.
    Raises :class:`EmotionOmniError` (codes ``weights``, ``missing``, ``missing-package``, ``checkpoint``, ``too-long``).
    """
    folder = cosyvoice_folder(folder).absolute()
    with _alone():
        _prepare(folder, source, voice, size)
    return folder


def prepare_once(folder: str | Path | None) -> None:
    """If nobody has done it yet, also no other process meanwhile. Raises as :func:`prepare` does."""
    folder = cosyvoice_folder(folder).absolute()
    with _alone():
        if not is_prepared(folder):
            log.info("Preparing CosyVoice2 in %s, once. 4 GB are fetched.", folder)
            _prepare(folder, SOURCE, None, PUBLISHED)


def _alone() -> AbstractContextManager[None]:
    """One process at a time, wherever it puts its folder; the lock leaves a file, so it lies in our cache."""
    return weights.locked(weights.cache() / "cosyvoice2")


def _prepare(folder: Path, source: str, voice: Audio | None, size: Size) -> None:
    token2wav.build(SMALL)  # if its package is missing, it is missed before gigabytes are fetched
    official = Path(source) if Path(source).is_dir() else _fetched(source)
    speech = voice or audio.join(list(Kokoro.load().speak(SAID, "neutral")))
    prompt = VoicePrompt.of(speech, SpeechTokenizer(official / TOKENIZER), SpeakerEncoder(official / "campplus.onnx"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".cosyvoice2-", dir=folder if folder.exists() else folder.parent
    ) as scratch:
        made = Path(scratch) / folder.name
        text2token.convert(official, made)
        token2wav.convert(official, made, prompt, size)
        shutil.copy(official / TOKENIZER, made)  # what the omni model is taught to speak with
        _move(made, folder)


def _move(made: Path, folder: Path) -> None:
    """At once where there is no such folder; else file by file, and the one that says it is whole goes first and comes last."""
    if not folder.exists():
        made.rename(folder)
        return
    (folder / WHOLE).unlink(missing_ok=True)
    for file in sorted((path for path in made.rglob("*") if path.is_file()), key=lambda path: path.name == WHOLE):
        place = folder / file.relative_to(made)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


def _fetched(source: str) -> Path:
    with explained(source):
        return Path(
            huggingface_hub.snapshot_download(
                source, revision=REVISION if source == SOURCE else None, allow_patterns=FILES
            )
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m emotion_omni.synthesis.cosyvoice2_convert", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "folder", nargs="?", help=f"where to put it, about 3 GB (default: {VARIABLE}, else the cache of weights)"
    )
    parser.add_argument(
        "--source", default=SOURCE, help="hub id or folder of the published files (default: %(default)s)"
    )
    parser.add_argument(
        "--voice", help="a clear recording of the voice to speak with (default: the embedded engine's voice)"
    )
    chosen = parser.parse_args(arguments)
    try:
        folder = prepare(chosen.folder, chosen.source, audio.decode(chosen.voice) if chosen.voice else None)
    except EmotionOmniError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"Ready. Say where it is: export {VARIABLE}={folder}" if chosen.folder else f"Ready in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
