"""What all commands share: their common options, and how results and errors are printed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from emotion_omni import engine, streams
from emotion_omni.types import EmotionOmniError

Commands = Any  # what argparse's add_subparsers() returns; its type has no public name
Run = Callable[[argparse.Namespace], int]
Input = TypeVar("Input")


class UsageError(EmotionOmniError):
    """The command itself is wrong: exit status 2, with its usage."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "usage")


def add_command(
    commands: Commands,
    name: str,
    run: Run,
    example: str,
    *,
    uses_engine: bool = False,
    uses_seed: bool = False,
    prints_only: bool = False,
) -> Any:
    """A command with the options that all have; ``uses_engine``: it runs an engine.

    Other commands accept --engine and --seed too, without effect, as they always have. ``prints_only``: it writes no
    files, so it ends when nobody reads what it prints, as with ``| head``.
    """
    text = (run.__doc__ or "").replace("%", "%%")
    command = commands.add_parser(
        name, help=text, description=text, epilog=f"Example: python -m emotion_omni {example}"
    )
    command.set_defaults(run=run, command=command, prints_only=prints_only)
    command.add_argument("--json", action="store_true", help="print one JSON object per line on stdout")
    command.add_argument("--verbose", action="store_true", help="log more on stderr")
    engine_help = ENGINE_HELP if uses_engine else argparse.SUPPRESS
    command.add_argument("--engine", type=engine_name, metavar="NAME", help=engine_help)
    seed_help = "same seed, same result; default: %(default)s" if uses_engine or uses_seed else argparse.SUPPRESS
    command.add_argument("--seed", type=int, default=0, help=seed_help)
    if uses_engine:
        command.add_argument(
            "--checkpoint",
            metavar="NAME",
            help="for omni, a folder, a listed name or user/repo[@revision]; for embedded, a folder",
        )
    return command


def add_group(commands: Commands, name: str, text: str) -> Commands:
    """A command with commands of its own."""
    group = commands.add_parser(name, help=text, description=text)
    return group.add_subparsers(required=True, metavar="WHAT")


ENGINE_HELP = f"{engine.GRAMMAR}; default: omni with a checkpoint, else what the environment names, else embedded"


def engine_name(name: str) -> str:
    try:
        engine.parse(name)
    except EmotionOmniError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def chosen_engine(options: argparse.Namespace) -> str:
    """The requested engine with its checkpoint. A checkpoint alone selects omni; some engines take none."""
    name = options.engine or ("omni" if options.checkpoint else engine.default())
    try:
        return str(engine.parse(name, options.checkpoint))
    except EmotionOmniError as error:
        raise UsageError(f"--checkpoint {options.checkpoint} does not fit --engine {name}: {error}") from error


def load_engine(options: argparse.Namespace, replies: bool = True) -> engine.Engine:
    """``replies``: whether words are written; where not, the engine that hears and speaks alike is ready sooner."""
    name = chosen_engine(options)
    return engine.load("embedded-small" if name == "embedded" and not replies else name)


def emit(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """A result: one JSON line with ``--json``, else the text."""
    streams.write_line(streams.as_json(result) if options.json else text, is_all=options.prints_only)


def fail(error: EmotionOmniError, options: argparse.Namespace, where: dict[str, Any] | None = None) -> int:
    """An error, on stderr and with ``--json`` on stdout too → the exit status.

    ``where``: {"file": its name} or {"line": its number}.
    """
    where = where or {}
    if options.json:
        row = where | {"error": {"code": error.code, "message": str(error)}}
        streams.write_line(streams.as_json(row), is_all=options.prints_only)
    place = f"line {where['line']}" if "line" in where else where.get("file")
    streams.note(f"{place}: {error}" if place else str(error))
    return 1


def for_each(
    inputs: Iterable[Input],
    options: argparse.Namespace,
    handle: Callable[[Input], None],
    where: Callable[[Input], dict[str, Any]],
) -> int:
    """Every input gets its result or its error; a bad one does not affect the others. ``where``: as :func:`fail` says.

    Of several inputs, the failed ones are counted on stderr.
    """
    total = failed = 0
    for item in inputs:
        total += 1
        try:
            handle(item)
        except UsageError:
            raise
        except EmotionOmniError as error:
            failed += 1
            fail(error, options, where(item))
    if not total:
        streams.note("There was nothing to do: the input is empty.")
    if failed and total > 1:
        streams.note(f"{failed} of {total} inputs failed.")
    return 1 if failed else 0
