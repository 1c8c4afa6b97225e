"""The command line: hear, reply, speak, talk, bench, fetch, serve.

With ``--json`` every result is one JSON object on one line of stdout; messages go to stderr. Exit
status: 0 all done, 1 some input could not be used (the others were), 2 the command itself is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from emotion_omni import audio, emotion, engine, processors
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
        if not isinstance(chosen, engine.Reader):
            raise EmotionOmniError(f"The engine {chosen.name!r} answers only; it cannot read out given words.", "no-reader")
        pieces = list(chosen.speak(options.text, tone))
    if not pieces:
        raise EmotionOmniError(f"Nothing in {options.text!r} can be said aloud. Give some words.", "empty")
    sound = audio.join(pieces)
    _write(options.out, sound)
    result = {"text": options.text, "emotion": tone, "audio": options.out, "seconds": round(sound.seconds, 3), "hz": sound.hz}
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


def bench(options: argparse.Namespace) -> int:
    """Measure, and print one JSON object."""
    from emotion_omni.evaluate import latency

    report = latency.measure(options.runs, options.file)
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report) if options.json else latency.as_text(report))
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch and prepare everything the embedded engine needs, to go offline."""
    from emotion_omni import weights
    from emotion_omni.embedded.engine import answer_folder

    for file in weights.FILES:
        path = weights.fetch(file.name)
        result = {"file": file.name, "path": str(path), "sha256": file.sha256, "licence": file.licence}
        _say(options, result, f"{file.name}  {file.megabytes} MB  {file.licence}  verified")
    folder = answer_folder()
    weights.tidy()
    _say(options, {"file": "smollm2 with our adapter", "path": str(folder)}, f"ready in {weights.cache()}")
    return 0


def serve(options: argparse.Namespace) -> int:
    """Start the app."""
    import importlib.util

    place = Path(__file__).parent.parent / "app.py"
    if not place.exists():
        raise EmotionOmniError("app.py is not beside this package. Run from a clone of the project: python app.py.", "no-app")
    spec = importlib.util.spec_from_file_location("app", place)
    app = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(place.parent))
    spec.loader.exec_module(app)
    app.main(host=options.host, port=options.port, default_engine=options.engine)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emotion-omni",
        description="Hears what is said and how, and answers with words and a voice that fit.",
        epilog="Example: emotion-omni talk question.wav --out reply.wav",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], int], example: str, **options: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__, epilog=f"Example: {example}", **options)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
        command.add_argument("--engine", choices=engine.NAMES, default="embedded", help="default: %(default)s")
        command.add_argument("--seed", type=int, default=0, help="same seed, same answer; default: %(default)s")
        command.add_argument("--verbose", action="store_true", help="say more on stderr")
        return command

    command = add(hear, "emotion-omni hear clip.wav --json")
    command.add_argument("files", nargs="+", metavar="FILE", help=audio.FORMATS)
    add(reply, """echo '{"text": "I lost my job.", "emotion": "sad"}' | emotion-omni reply --json""")
    command = add(speak, 'emotion-omni speak --text "Well done!" --emotion happy --out done.wav')
    command.add_argument("--text", required=True, help="what to say")
    command.add_argument("--emotion", default="neutral", help=f"one of: {', '.join(emotion.NAMES)}; default: %(default)s")
    command.add_argument("--out", required=True, help="WAV file to write")
    command = add(talk, "emotion-omni talk one.wav two.wav --out reply.wav")
    command.add_argument("files", nargs="+", metavar="FILE", help="one file a turn; several are one conversation")
    command.add_argument("--out", required=True, help="WAV file to write; with several files also OUT-1, OUT-2, …")
    command.add_argument("--emotion", help="correct the heard tone, for every file")
    command.add_argument("--transcript", help="correct the heard words, for every file")
    command = add(bench, "emotion-omni bench latency --json")
    command.add_argument("what", choices=["latency"], help="end of query to first reply sound, beside a naive cascade")
    command.add_argument("--runs", type=int, default=12, help="counted turns; default: %(default)s")
    command.add_argument("--file", help="a query clip of 3 to 4 s; default: an example of ours")
    command.add_argument("--out", help="also save the report here")
    add(fetch, "emotion-omni fetch")
    command = add(serve, "emotion-omni serve --port 7860")
    command.add_argument("--host", default=None, help="address to listen on; default: 127.0.0.1")
    command.add_argument("--port", type=int, default=None, help="default: 7860, or the next free one")
    return parser


@contextlib.contextmanager
def _loaded(options: argparse.Namespace) -> Iterator[engine.Engine]:
    yield engine.load(options.engine)


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
        print(json.dumps(where | {"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False), flush=True)
    place = f"{next(iter(where.values()))}: " if where.get("file") else ""
    print(f"{place}{error}", file=sys.stderr)
    return 1
