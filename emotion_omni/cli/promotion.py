"""checkpoint record, promote, rollback, tree: checkpoints of single parts and the names that menus show."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from emotion_omni import streams
from emotion_omni.cli.output import Commands, add_command, emit

DATA = "EMOTION_OMNI_SPEECH"
SUITES = ("quick", "full")


def add_commands(group: Commands) -> None:
    command = add_command(group, "record", record, "checkpoint record FOLDER --method TEXT --data FILE")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="with weights of single parts")
    command.add_argument("--method", required=True, metavar="TEXT", help="the command, or what was done")
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="what it was trained on")
    parent_help = "promoted name that training started from; default: the shipped weights"
    command.add_argument("--parent", metavar="NAME", help=parent_help)

    command = add_command(group, "promote", promote, "checkpoint promote FOLDER --as NAME")
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="with weights of single parts and their lineage.json"
    )
    command.add_argument(
        "--as", dest="name", required=True, metavar="NAME", help="what menus call it, as embedded:NAME"
    )
    against_help = "engine that it must not lose against; default: what NAME means now, else embedded"
    command.add_argument("--against", metavar="ENGINE", help=against_help)
    command.add_argument("--suite", choices=SUITES, default="quick", help="how much is measured; default: %(default)s")
    data_help = f"folders with recordings and their manifest.csv, joined by {os.pathsep!r}; default: what {DATA} names"
    command.add_argument("--data", metavar="FOLDERS", default=os.environ.get(DATA), help=data_help)
    command.add_argument("--cache", type=Path, help="folder of what is known; default: in the weights cache")

    command = add_command(group, "rollback", rollback, "checkpoint rollback NAME")
    command.add_argument("name", metavar="NAME", help="promoted name")

    command = add_command(group, "tree", tree, "checkpoint tree --out tree.html")
    command.add_argument("--out", type=Path, metavar="FILE", help="also draw the page here")


def record(options: argparse.Namespace) -> int:
    """Write down where the weights of a folder come from."""
    from emotion_omni.checkpoint import lineage, promotion

    parent = lineage.SHIPPED
    if options.parent:
        named = promotion.get(options.parent)
        parent = promotion.lineage_of(named, named.current).identity
    found = lineage.record(options.folder, options.method, options.data, parent, options.seed)
    emit(options, lineage.as_row(found), f"{', '.join(found.parts)} {found.identity[:12]}, from {found.parent[:12]}")
    return 0


def promote(options: argparse.Namespace) -> int:
    """Let a name that menus show mean this checkpoint, unless it loses against what the name means now."""
    from emotion_omni.checkpoint import lineage, promotion
    from emotion_omni.evaluate import gate, report_page, suite
    from emotion_omni.evaluate.measure import Sources
    from emotion_omni.evaluate.reports import save
    from emotion_omni.evaluate.subject import Subject

    lineage.read(options.folder)  # before anything is measured
    now = promotion.find(options.name)
    against = options.against or (f"embedded:{now[0]}" if now else "embedded")
    cache = options.cache or suite.default_cache()
    sources = Sources(tuple(Path(folder) for folder in (options.data or "").split(os.pathsep) if folder))
    child, parent = Subject(f"embedded:{options.folder}", cache), Subject(against, cache)
    verdict = gate.check(child, parent, options.suite, sources, cache, streams.note)
    if not verdict.passes:
        raise verdict.refuse()
    named = promotion.put(options.folder, options.name, parent.name, verdict.scores)
    report = verdict.report | {"engine": f"embedded:{named.name}@{named.current}"}
    page = save(f"embedded:{named.name}", report, report_page.page(report))
    row = {"name": named.name, "version": named.current, "against": parent.name, "scores": verdict.scores}
    text = f"embedded:{named.name} now means {named.current}; it loses nowhere against {parent.name}. Report: {page}"
    emit(options, row | {"report": str(page)}, text)
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Let a name mean again what it meant before."""
    from emotion_omni.checkpoint import promotion

    named = promotion.roll_back(options.name)
    emit(options, {"name": named.name, "version": named.current}, f"embedded:{named.name} means {named.current} again")
    return 0


def tree(options: argparse.Namespace) -> int:
    """The family of all promoted checkpoints: who comes from whom, by what, on which data."""
    from emotion_omni.evaluate import family_tree

    found = family_tree.read()
    for one in found:
        emit(options, one.as_row(), one.as_text())
    if options.out:
        options.out.write_text(family_tree.page(found), encoding="utf-8")
        streams.note(f"Page: {options.out}")
    return 0
