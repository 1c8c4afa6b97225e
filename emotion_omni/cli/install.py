"""fetch, convert, serve: get the weights ready, and start the app."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from emotion_omni.cli.output import Commands, add_command, add_group, chosen_engine, emit
from emotion_omni.types import EmotionOmniError

APP = Path(__file__).parents[2] / "app.py"


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "convert", "Convert outside weights to the format that the engines load.")
    command = add_command(group, "cosyvoice2", cosyvoice2, "convert cosyvoice2")
    command.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="where to put it, about 3 GB; default: where it is looked for"
    )
    command.add_argument(
        "--source", metavar="SOURCE", help="hub id or folder of the published files; default: a pinned hub id"
    )
    command.add_argument(
        "--voice", metavar="FILE", help="a clear recording of the voice to speak with; default: our own voice"
    )
    add_command(commands, "fetch", fetch, "fetch")
    command = add_command(commands, "serve", serve, "serve --port 7860", uses_engine=True)
    command.add_argument("--host", help="address to listen on; default: 127.0.0.1")
    command.add_argument("--port", type=int, help="default: 7860, or the next free one")
    command.add_argument("--root-path", metavar="PATH", help="path or URL under which a proxy serves the app")


def fetch(options: argparse.Namespace) -> int:
    """Fetch and prepare everything the embedded engine needs, for working offline."""
    from emotion_omni import weights
    from emotion_omni.response import qwen2_responder, smollm2_responder
    from emotion_omni.synthesis import kokoro
    from emotion_omni.synthesis.kokoro_graph import prepare_halves

    for file in (each for each in weights.FILES if not each.optional):
        path = weights.fetch(file.name)
        result = {"file": file.name, "path": str(path), "sha256": file.sha256, "licence": file.licence}
        emit(options, result, f"{file.name}  {file.megabytes} MB  {file.licence}  verified")
    for name, module in (("smollm2", smollm2_responder), ("qwen2", qwen2_responder)):
        prepared = {"file": f"{name} with our adapter", "path": str(module.prepare_model())}
        emit(options, prepared, f"{name} with our adapter  prepared")
    halves = prepare_halves(weights.fetch(kokoro.MODEL))
    weights.tidy()
    emit(options, {"file": "kokoro in two halves", "path": str(halves)}, f"ready in {weights.cache()}")
    return 0


def serve(options: argparse.Namespace) -> int:
    """Start the app."""
    if not APP.exists():
        raise EmotionOmniError(
            "app.py is not beside this package. Run python app.py in a clone of the project.", "no-app"
        )
    name = chosen_engine(options)
    spec = importlib.util.spec_from_file_location("app", APP)
    assert spec is not None and spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(APP.parent))
    spec.loader.exec_module(app)
    app.main(host=options.host, port=options.port, default_engine=name, root_path=options.root_path)
    return 0


def cosyvoice2(options: argparse.Namespace) -> int:
    """CosyVoice2, the voice of the larger models: fetches 4 GB once and keeps 3 GB."""
    from emotion_omni import audio
    from emotion_omni.synthesis import cosyvoice2_convert

    voice = audio.decode(options.voice) if options.voice else None
    folder = cosyvoice2_convert.convert(options.folder, options.source or cosyvoice2_convert.SOURCE, voice)
    emit(options, {"folder": str(folder)}, f"CosyVoice2 is ready in {folder}")
    return 0
