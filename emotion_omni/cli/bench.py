"""bench: measure the engines."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from emotion_omni import streams
from emotion_omni.cli.output import Commands, Run, add_command, add_group, emit
from emotion_omni.cli.train import configuration

CONDITIONS = ("both", "semantic-only", "emotion-only", "tone-shuffled")


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "bench", "Measure speed and quality; see emotion_omni/evaluate/README.md.")
    command = _add_bench(group, "latency", latency, "bench latency --json")
    command.add_argument("--runs", type=_positive, default=12, help="counted turns; default: %(default)s")
    command.add_argument("--file", help="a query clip of 3 to 4 s; default: our examples")

    command = _add_bench(group, "omni", omni, "bench omni --config small --json")
    command.add_argument("--runs", type=_positive, default=12, help="counted turns; default: %(default)s")
    config_help = "paper, small, tiny or a JSON file; default: %(default)s"
    command.add_argument("--config", default="small", help=config_help)
    command.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is a GPU")

    command = _add_bench(group, "tone-contrast", tone_contrast, "bench tone-contrast --data FOLDER --folder FOLDER")
    command.add_argument("--data", type=Path, required=True, help="folder with recordings and their manifest.csv")
    folder_help = "folder for answers, states and results; a second call resumes"
    command.add_argument("--folder", type=Path, required=True, help=folder_help)
    command.add_argument("--epochs", type=_positive, help="passes over the data; default: 10")
    only_help = "only this condition; may be repeated"
    command.add_argument("--only", choices=CONDITIONS, action="append", help=only_help)

    command = _add_bench(group, "memorization", memorization, "bench memorization --folder FOLDER")
    command.add_argument("--folder", type=Path, required=True, help="the folder of bench tone-contrast")
    command.add_argument("--epochs", type=_positive, help="passes over the data; default: 40")


def latency(options: argparse.Namespace) -> int:
    """Time from the end of the query to the first reply sound, beside a naive cascade."""
    from emotion_omni.evaluate import latency as bench

    return _report(options, bench, bench.measure(options.runs, options.file))


def omni(options: argparse.Namespace) -> int:
    """What a reply of the omni model costs, stage by stage."""
    from emotion_omni.evaluate import omni_cost as bench

    report = bench.measure(configuration(options), options.config, options.runs, options.device)
    return _report(options, bench, report)


def tone_contrast(options: argparse.Namespace) -> int:
    """Whether the omni model's answer follows the tone of voice; takes hours on one core."""
    from emotion_omni.evaluate import tone_contrast as bench

    settings = replace(bench.SETTINGS, epochs=options.epochs or bench.SETTINGS.epochs)
    conditions = tuple(options.only or CONDITIONS)
    report = bench.measure(options.data, options.folder, settings, conditions, say=_log)
    return _report(options, bench, report)


def memorization(options: argparse.Namespace) -> int:
    """Whether the omni model can memorize the answers of tone-contrast, in text and in speech."""
    from emotion_omni.evaluate import memorization as bench

    settings = replace(bench.SPEAK_SETTINGS, epochs=options.epochs or bench.SPEAK_SETTINGS.epochs)
    return _report(options, bench, bench.measure(options.folder, settings))


def _add_bench(group: Commands, name: str, run: Run, example: str) -> argparse.ArgumentParser:
    command = add_command(group, name, run, example)
    command.add_argument("--out", metavar="FILE", type=Path, help="also save the report here")
    return command


def _report(options: argparse.Namespace, bench: Any, report: dict[str, Any]) -> int:
    if options.out:
        options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    emit(options, report, bench.as_text(report))
    return 0


def _log(line: str) -> None:
    streams.note(line)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
