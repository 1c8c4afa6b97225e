"""The command line: hear, reply, speak, talk, train, checkpoint, bench, evaluate, data, convert, fetch, serve.

With ``--json`` every result is one JSON object on one line of stdout, in ASCII, which every encoding of stdout holds;
messages go to stderr. Exit status: 0 all done, 1 some input could not be used (the others were), 2 the command itself
is wrong.

One module per group of commands. What needs torch is imported when a command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import logging
import sys

from emotion_omni import processors, streams
from emotion_omni.cli import bench, checkpoint, conversation, data, evaluate, install, train
from emotion_omni.cli.output import UsageError, fail
from emotion_omni.types import EmotionOmniError


def main(arguments: list[str] | None = None) -> int:
    streams.accept_any_text()
    try:
        return _run(arguments)
    except BrokenPipeError:  # the reader of our output is gone, as with `head`
        return 1
    finally:
        streams.finish()


def _run(arguments: list[str] | None) -> int:
    processors.disable_thread_spinning()
    options = parser().parse_args(arguments)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except UsageError as error:
        options.command.error(str(error))  # exits with status 2
        return 2
    except EmotionOmniError as error:
        return fail(error, options)
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    root = argparse.ArgumentParser(
        prog="python -m emotion_omni",
        description="Hears what is said and how, and answers with words and a voice that fit.",
        epilog="Example: python -m emotion_omni talk question.wav --out reply.wav",
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    conversation.add_commands(commands)
    train.add_commands(commands)
    checkpoint.add_commands(commands)
    bench.add_commands(commands)
    evaluate.add_commands(commands)
    data.add_commands(commands)
    install.add_commands(commands)
    return root
