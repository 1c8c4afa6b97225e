"""The command line: hear, reply, speak, talk, train, checkpoint, bench, fetch, serve.

With ``--json`` every result is one JSON object on one line of stdout; messages go to stderr. Exit
status: 0 all done, 1 some input could not be used (the others were), 2 the command itself is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from emotion_omni import audio, emotion, engine, processors
from emotion_omni.train.settings import STAGES, Settings
from emotion_omni.types import Audio, Done, Emotion, EmotionOmniError, Event, Exchange, Heard, Plan, Speech, Text, Turn

PAUSE_BETWEEN_TURNS = 0.6  # seconds, in the joined file of a conversation


def main(arguments: list[str] | None = None) -> int:
    processors.share_politely()
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except EmotionOmniError as error:
        return _fail(error, options, {})
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def hear(options: argparse.Namespace) -> int:
    """What was said in each file, and how."""
    with _loaded(options) as chosen:
        return _each(options.files, options, lambda file: _hear_one(chosen, file, options))


def _hear_one(chosen: engine.Engine, file: str, options: argparse.Namespace) -> None:
    events = chosen.respond(Turn(audio.decode(file), speak=False), seed=options.seed)
    heard = next(event for event in events if isinstance(event, Heard))
    events.close()  # the answer was never begun
    belief = heard.emotion
    over_time = [{"seconds": round(at, 2), "label": felt.label} for at, felt in heard.trajectory]
    result = {"file": file, "transcript": heard.transcript} | _emotion(belief) | {"trajectory": over_time}
    _say(options, result, f"{file}: “{heard.transcript}” — {belief.label} ({belief.confidence:.0%})")


def reply(options: argparse.Namespace) -> int:
    """Read JSON lines {"text", "emotion", "history"?} and answer each."""
    with _loaded(options) as chosen:
        lines = (line for line in sys.stdin if line.strip())
        return _each(lines, options, lambda line: _reply_one(chosen, line, options), name="line")


def _reply_one(chosen: engine.Engine, line: str, options: argparse.Namespace) -> None:
    try:
        row = json.loads(line)
        text, tone = str(row["text"]).strip(), emotion.find(row.get("emotion", "neutral")).name
        earlier = exchanges(row.get("history") or [])
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise EmotionOmniError(
            'Each line must be a JSON object with "text", "emotion" and, if wanted, "history" '
            f"([{{role, text, emotion}}, …]). This one is not: {error!r}.",
            "bad-line",
        ) from error
    if not text:
        raise EmotionOmniError('"text" is empty. Write what the person says.', "empty")
    turn = Turn(None, earlier, transcript=text, emotion=tone, speak=False)
    done = _collect(chosen.respond(turn, seed=options.seed))
    _say(options, {"text": done["text"], "emotion": done["plan"]}, f"[{done['plan']}] {done['text']}")


def exchanges(history: list[dict[str, Any]]) -> tuple[Exchange, ...]:
    """Chat messages (role user or assistant; words under "text" or "content") → pairs. A last lone question is dropped."""
    found, asked = [], None
    for message in history:
        words = str(message.get("text") or message.get("content") or "")
        if message["role"] == "user":
            asked = (words, emotion.find(message.get("emotion") or "neutral").name)
        elif message["role"] == "assistant" and asked is not None:
            found.append(Exchange(*asked, words))
            asked = None
    return tuple(found)


def speak(options: argparse.Namespace) -> int:
    """Say given words in a given emotion."""
    tone = emotion.find(options.emotion).name
    with _loaded(options) as chosen:
        if not isinstance(chosen, engine.SpeaksText):
            raise EmotionOmniError(
                f"The engine {chosen.name!r} answers only; it cannot read out given words.", "no-reader"
            )
        pieces = list(chosen.speak(options.text, tone))
    if not pieces:
        raise EmotionOmniError(f"Nothing in {options.text!r} can be said aloud. Give some words.", "empty")
    sound = audio.join(pieces)
    _write(options.out, sound)
    result = {
        "text": options.text,
        "emotion": tone,
        "audio": options.out,
        "seconds": round(sound.seconds, 3),
        "hz": sound.hz,
    }
    _say(options, result, f"{options.out}: {sound.seconds:.1f} s, {tone}")
    return 0


def talk(options: argparse.Namespace) -> int:
    """Answer each file in turn; several files are one conversation."""
    out = Path(options.out)
    replies: list[Audio] = []
    earlier: list[Exchange] = []

    def one(file: str) -> None:
        number = len(replies) + 1
        target = out if len(options.files) == 1 else out.with_stem(f"{out.stem}-{number}")
        query = audio.decode(file)
        turn = Turn(query, tuple(earlier), options.transcript, options.emotion)
        done = _collect(chosen.respond(turn, seed=options.seed))
        if not done["speech"]:
            raise EmotionOmniError(
                f"{chosen.name} answered in words alone, so there is no sound to write: {done['text']!r}. Teach its checkpoint to speak "
                "(python -m emotion_omni train speak), or ask for words with: python -m emotion_omni reply.",
                "no-voice",
            )
        heard, sound = done["heard"], audio.join(done["speech"])
        _write(target, sound)
        replies.append(sound)
        earlier.append(Exchange(heard.transcript, heard.emotion.label, done["text"], done["plan"]))
        result = {
            "file": file,
            "transcript": heard.transcript,
            "heard": _emotion(heard.emotion),
            "reply": {"text": done["text"], "emotion": done["plan"]},
            "audio": str(target),
            "timings": {stage: round(seconds, 4) for stage, seconds in done["timings"].items()},
        }
        said = f"{file}\n  you ({heard.emotion.label} {heard.emotion.confidence:.0%}): {heard.transcript}\n"
        _say(options, result, f"{said}  reply ({done['plan']}): {done['text']}\n  {target}")

    with _loaded(options) as chosen:
        status = _each(options.files, options, one)
    if len(replies) > 1:
        pause = Audio(audio.np.zeros(int(PAUSE_BETWEEN_TURNS * replies[0].hz), audio.np.float32), replies[0].hz)
        _write(out, audio.join([piece for sound in replies for piece in (sound, pause)][:-1]))
    return status


def train(options: argparse.Namespace) -> int:
    """Teach the omni model a stage: understand first, then speak; in several processes under `accelerate launch -m`."""
    from emotion_omni.train import stage

    chosen = {item.name: getattr(options, item.name) for item in dataclasses.fields(Settings)}
    begin = stage.Begin(None if options.parent else stage.configuration(options.config), options.parent)
    report = stage.train(options.stage, begin, options.data, Path(options.out), Settings(**chosen), options.resume)
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        text = f"{options.out}: {report['steps']} of {report['of']} steps, loss {report['loss']['loss']:.3f}, {report['seconds']:.0f} s"
        _say(options, report, f"{text}. The checkpoint is in {Path(options.out) / 'best'}")
    return 130 if report["stopped"] else 0


def checkpoint(options: argparse.Namespace) -> int:
    """List, show, send or fetch checkpoints of the omni model, or say what a Space fetches ahead for one."""
    from emotion_omni import checkpoint as room

    if options.what == "list":
        for one in room.listed():
            _say(
                options,
                _checkpoint(one.name, one.folder, one.about),
                f"{one.name}  {'+'.join(one.about.stages)}  {one.about.created}",
            )
        return 0
    if not options.name or (options.what == "push" and not options.repo):
        example = "push NAME --repo user/name" if options.what == "push" else f"{options.what} NAME"
        raise EmotionOmniError(
            f"Something is not said. Write: python -m emotion_omni checkpoint {example}.", "bad-option"
        )
    _CHECKPOINT[options.what](room, options)
    return 0


def _show_checkpoint(room: Any, options: argparse.Namespace) -> None:
    folder = room.find(options.name)
    about, _ = room.check(folder)
    result = _checkpoint(options.name, folder, about) | {
        "identity": room.identity(folder),
        "origin": room.origin(folder),
    }
    _say(options, result, json.dumps(result, indent=1, ensure_ascii=False))


def _push_checkpoint(room: Any, options: argparse.Namespace) -> None:
    sent = room.push(options.name, options.repo, private=not options.public)
    _say(options, {"name": options.name, "hub": sent, "private": not options.public}, sent)


def _pull_checkpoint(room: Any, options: argparse.Namespace) -> None:
    repo, _, revision = options.name.partition("@")
    folder = room.pull(repo, revision or None)
    _say(options, _checkpoint(folder.name, folder, room.read_about(folder)), str(folder))


def _preload_checkpoint(room: Any, options: argparse.Namespace) -> None:
    folder = room.find(options.name)
    lines = room.preload(room.check(folder)[1], folder)
    _say(options, {"preload_from_hub": lines}, "\n".join(["preload_from_hub:", *(f"  - {line}" for line in lines)]))


def _checkpoint(name: str, folder: Path, about: Any) -> dict[str, Any]:
    return {"checkpoint": name, "folder": str(folder), "about": dataclasses.asdict(about)}


_CHECKPOINT: dict[str, Callable[[Any, argparse.Namespace], None]] = {
    "show": _show_checkpoint,
    "push": _push_checkpoint,
    "pull": _pull_checkpoint,
    "preload": _preload_checkpoint,
}


def bench(options: argparse.Namespace) -> int:
    """Measure, and print one JSON object."""
    if options.what == "omni":
        from emotion_omni.evaluate import omni_cost as measured
        from emotion_omni.train.stage import configuration

        report = measured.measure(configuration(options.config), options.config, options.runs, options.device)
    else:
        from emotion_omni.evaluate import latency as measured

        report = measured.measure(options.runs, options.file)
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report) if options.json else measured.as_text(report))
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch and prepare everything the embedded engine needs, to go offline."""
    from emotion_omni import weights
    from emotion_omni.response.smollm2_responder import prepare_model

    for file in weights.FILES:
        path = weights.fetch(file.name)
        result = {"file": file.name, "path": str(path), "sha256": file.sha256, "licence": file.licence}
        _say(options, result, f"{file.name}  {file.megabytes} MB  {file.licence}  verified")
    folder = prepare_model()
    weights.tidy()
    _say(options, {"file": "smollm2 with our adapter", "path": str(folder)}, f"ready in {weights.cache()}")
    return 0


def serve(options: argparse.Namespace) -> int:
    """Start the app."""
    import importlib.util

    place = Path(__file__).parent.parent / "app.py"
    if not place.exists():
        raise EmotionOmniError(
            "app.py is not beside this package. Run from a clone of the project: python app.py.", "no-app"
        )
    spec = importlib.util.spec_from_file_location("app", place)
    app = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(place.parent))
    spec.loader.exec_module(app)
    name = _chosen(options)
    app.main(
        host=options.host,
        port=options.port,
        default_engine=f"omni:{options.checkpoint}" if options.checkpoint else name,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emotion_omni",
        description="Hears what is said and how, and answers with words and a voice that fit.",
        epilog="Example: python -m emotion_omni talk question.wav --out reply.wav",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], int], example: str, **options: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(
            run.__name__, help=run.__doc__, description=run.__doc__, epilog=f"Example: {example}", **options
        )
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
        command.add_argument("--engine", type=_engine_name, metavar="NAME", help=_ENGINES)
        command.add_argument("--seed", type=int, default=0, help="same seed, same answer; default: %(default)s")
        command.add_argument("--verbose", action="store_true", help="say more on stderr")
        return command

    def answers(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command.add_argument(
            "--checkpoint", metavar="NAME", help="of the engine omni: a folder, a listed name or user/repo[@revision]"
        )
        return command

    command = answers(add(hear, "python -m emotion_omni hear clip.wav --json"))
    command.add_argument("files", nargs="+", metavar="FILE", help=audio.FORMATS)
    answers(add(reply, """echo '{"text": "I lost my job.", "emotion": "sad"}' | python -m emotion_omni reply --json"""))
    command = answers(add(speak, 'python -m emotion_omni speak --text "Well done!" --emotion happy --out done.wav'))
    command.add_argument("--text", required=True, help="what to say")
    command.add_argument(
        "--emotion", default="neutral", help=f"one of: {', '.join(emotion.NAMES)}; default: %(default)s"
    )
    command.add_argument("--out", required=True, help="WAV file to write")
    command = answers(add(talk, "python -m emotion_omni talk one.wav two.wav --out reply.wav"))
    command.add_argument("files", nargs="+", metavar="FILE", help="one file a turn; several are one conversation")
    command.add_argument("--out", required=True, help="WAV file to write; with several files also OUT-1, OUT-2, …")
    command.add_argument("--emotion", help="correct the heard tone, for every file")
    command.add_argument("--transcript", help="correct the heard words, for every file")
    command = add(train, "python -m emotion_omni train understand --config small --data train.jsonl --out FOLDER")
    command.add_argument("stage", choices=STAGES, help="understand: answer and plan the emotion; speak: say it")
    command.add_argument(
        "--data", required=True, help="JSON lines with the columns query and reply, or a data set's folder or hub id"
    )
    command.add_argument("--out", required=True, help="folder of the run; the checkpoint is its best")
    command.add_argument("--config", default="small", help="paper, small, tiny or a JSON file; default: %(default)s")
    command.add_argument(
        "--from", dest="parent", help="checkpoint, or folder of a run, to go on from; its configuration holds"
    )
    command.add_argument("--resume", action="store_true", help="go on with the run in the folder, where it was stopped")
    for item in dataclasses.fields(Settings):
        _setting(command, item)
    command = add(checkpoint, "python -m emotion_omni checkpoint push NAME --repo user/name")
    command.add_argument("what", choices=["list", *_CHECKPOINT], help="push and pull: to and from the Hugging Face hub")
    command.add_argument(
        "name", nargs="?", metavar="NAME", help="a listed name, a folder, or user/repo[@revision]; for all but list"
    )
    command.add_argument("--repo", metavar="USER/NAME", help="model repository to push to; made if it is missing")
    command.add_argument("--public", action="store_true", help="push to where everybody can read it; default: private")
    command = add(bench, "python -m emotion_omni bench latency --json")
    command.add_argument(
        "what",
        choices=["latency", "omni"],
        help="latency: end of query to first reply sound, "
        "beside a naive cascade; omni: what the end-to-end model costs, stage by stage",
    )
    command.add_argument("--runs", type=int, default=12, help="counted turns; default: %(default)s")
    command.add_argument("--file", help="a query clip of 3 to 4 s; default: an example of ours")
    command.add_argument(
        "--config", default="small", help="for omni: paper, small, tiny or a JSON file; default: %(default)s"
    )
    command.add_argument("--device", choices=["cpu", "cuda"], help="for omni; default: cuda where there is a GPU")
    command.add_argument("--out", help="also save the report here")
    add(fetch, "python -m emotion_omni fetch")
    command = answers(add(serve, "python -m emotion_omni serve --port 7860"))
    command.add_argument("--host", default=None, help="address to listen on; default: 127.0.0.1")
    command.add_argument("--port", type=int, default=None, help="default: 7860, or the next free one")
    return parser


def _setting(command: argparse.ArgumentParser, item: dataclasses.Field) -> None:
    """A field of the training's settings as an option, named and explained as the field is."""
    name, about = f"--{item.name.replace('_', '-')}", item.metadata["help"].replace("%", "%%")
    if name in command._option_string_actions:
        return  # --seed is every command's
    if isinstance(item.default, bool):
        command.add_argument(name, action="store_true", help=about)
        return
    choices = typing.get_args(typing.get_type_hints(Settings)[item.name]) or None
    command.add_argument(
        name, type=type(item.default), default=item.default, choices=choices, help=f"{about}; default: {item.default}"
    )


_ENGINES = f"one of: {', '.join(engine.NAMES)}, or omni:CHECKPOINT; default: omni with a checkpoint (or {engine.CHECKPOINT}), else embedded"


def _engine_name(name: str) -> str:
    if name.partition(":")[0] not in engine.NAMES:
        raise argparse.ArgumentTypeError(f"no engine is called {name!r}; choose one of: {', '.join(engine.NAMES)}")
    return name


def _chosen(options: argparse.Namespace) -> str:
    """The engine asked for. A checkpoint alone asks for omni; with an engine that has none it is refused."""
    name = options.engine or ("omni" if options.checkpoint else engine.default())
    if options.checkpoint and name != "omni":
        raise EmotionOmniError(
            f"--checkpoint is for the engine omni, and --engine is {name}. Leave one of the two out.", "checkpoint"
        )
    return name


@contextlib.contextmanager
def _loaded(options: argparse.Namespace) -> Iterator[engine.Engine]:
    yield engine.load(_chosen(options), options.checkpoint)


def _each(inputs: Iterable[str], options: argparse.Namespace, do: Callable[[str], None], name: str = "file") -> int:
    """Every input gets its result or its error; one bad one does not spoil the rest."""
    status = 0
    for index, item in enumerate(inputs):
        try:
            do(item)
        except EmotionOmniError as error:
            status = _fail(error, options, {name: item if name == "file" else index + 1})
    return status


def _collect(events: Iterator[Event]) -> dict[str, Any]:
    done: dict[str, Any] = {"text": "", "speech": []}
    for event in events:
        match event:
            case Heard():
                done["heard"] = event
            case Plan():
                done["plan"] = event.emotion
            case Text():
                done["text"] += event.piece
            case Speech():
                done["speech"].append(event.audio)
            case Done():
                done["timings"] = event.timings
    done["text"] = done["text"].strip()
    return done


def _emotion(belief: Emotion) -> dict[str, Any]:
    return {
        "label": belief.label,
        "probabilities": {name: round(value, 4) for name, value in belief.probabilities.items()},
        "valence": round(belief.valence, 4),
        "arousal": round(belief.arousal, 4),
    }


def _write(target: str | Path, sound: Audio) -> None:
    try:
        Path(target).write_bytes(audio.wav_bytes(sound))
    except OSError as error:
        raise EmotionOmniError(f"Cannot write {str(target)!r}: {error.strerror}.", "cannot-write") from error


def _say(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    print(json.dumps(result, ensure_ascii=False) if options.json else text, flush=True)


def _fail(error: EmotionOmniError, options: argparse.Namespace, where: dict[str, Any]) -> int:
    if options.json:
        print(
            json.dumps(where | {"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False), flush=True
        )
    place = f"{next(iter(where.values()))}: " if where.get("file") else ""
    print(f"{place}{error}", file=sys.stderr)
    return 1
