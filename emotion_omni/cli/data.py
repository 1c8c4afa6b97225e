"""data: plan and build a corpus of spoken emotional dialogues."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_omni import processors, streams
from emotion_omni.cli.output import Commands, add_command, add_group, emit

if TYPE_CHECKING:
    from emotion_omni.data.plan import CorpusPlan
    from emotion_omni.data.pools import Pool


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "data", "Plan and build a corpus of spoken dialogues; see emotion_omni/data/README.md.")
    command = add_command(group, "plan", plan, "data plan --plan plan.yaml")
    _add_plan(command)

    pilot_help = "the folder of a build of the first dialogues: adds a forecast of time, cost and disk"
    command.add_argument("--pilot", type=Path, metavar="DIR", help=pilot_help)
    texts_help = "write and judge all texts, speak nothing; answers of servers are kept in DIR for data build --cache"
    command.add_argument("--texts", type=Path, metavar="DIR", help=texts_help)
    command.add_argument("--workers", type=_positive, default=1, help="for the forecast; default: %(default)s")
    size_help = "for the forecast; default: as many as the plan has"
    command.add_argument("--dialogues", type=_positive, metavar="N", help=size_help)

    command = add_command(group, "build", build, "data build --plan plan.yaml --out corpus")
    _add_plan(command)
    _add_out(command)
    command.add_argument("--workers", type=_positive, default=1, help="processes that speak; default: %(default)s")
    command.add_argument("--threads", type=_positive, default=1, help="of each worker; default: %(default)s")
    command.add_argument("--cache", type=Path, metavar="DIR", help="answers of servers; default: in --out")
    command.add_argument("--limit", type=_positive, default=0, metavar="N", help="only the first N dialogues")

    command = add_command(group, "audit", audit, "data audit --corpus corpus --out study", uses_seed=True)
    command.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="folder that data build has filled")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder for the study")
    command.add_argument("--clips", type=_positive, default=50, help="random clips; default: %(default)s")


def _add_plan(command: argparse.ArgumentParser) -> None:
    plan_help = "settings of the corpus, YAML; default: 100 dialogues without a server"
    command.add_argument("--plan", type=Path, metavar="FILE", help=plan_help)


def _add_out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus")


def plan(options: argparse.Namespace) -> int:
    """What a plan covers, before anything is written or spoken."""
    from emotion_omni.data import coverage
    from emotion_omni.data.scenarios import scenarios

    chosen = _plan(options)
    report = coverage.report(chosen, list(scenarios(chosen)))
    text = coverage.as_text(report)
    if options.texts:
        from emotion_omni.data import rehearsal

        report = report | {"texts": rehearsal.judge_texts(chosen, options.texts)}
        text = f"{text}\n{rehearsal.as_text(report['texts'])}"
    if options.pilot:
        from emotion_omni.data import forecast

        found = forecast.forecast(chosen, options.pilot, options.dialogues or chosen.dialogues, options.workers)
        report, text = report | {"forecast": found}, f"{text}\n{forecast.as_text(found)}"
    emit(options, report, text)
    return 0


def build(options: argparse.Namespace) -> int:
    """Write, speak, filter and store a corpus; the same command goes on after an interruption."""
    from emotion_omni.data.build import build as build_corpus
    from emotion_omni.data.finish import finish

    chosen = _plan(options)
    corpus, progress = build_corpus(
        chosen, options.out, functools.partial(_pool, chosen, options), streams.note, options.limit, options.cache
    )
    report = finish(corpus, progress.report() | {"machine": processors.describe(), "threads": options.threads})
    emit(options, report, f"{report['kept']} of {report['tried']} dialogues kept: {options.out / 'README.md'}")
    return 0


def audit(options: argparse.Namespace) -> int:
    """A random sample of a corpus as a listening study, to import with python -m annotation create."""
    from emotion_omni.data.audit import audit as write_study

    report = write_study(options.corpus, options.out, options.clips, options.seed)
    emit(options, report, f"{report['clips']} of {report['of']} clips: {report['study']}")
    return 0


def _pool(chosen: CorpusPlan, options: argparse.Namespace) -> Pool:
    from emotion_omni.data.pools import LocalPool

    return LocalPool(chosen, options.workers, options.threads)


def _plan(options: argparse.Namespace) -> CorpusPlan:
    from emotion_omni.data import plan as plans

    return plans.read_plan(options.plan or plans.HUNDRED)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
