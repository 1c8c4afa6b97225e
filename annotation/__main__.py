"""The studio from the shell: ``python -m annotation COMMAND``.

Commands work on the store of ``EMOTION_OMNI_HOME`` (default ``./studio-data``). With ``--json`` the result is one
JSON object on stdout, in ASCII. Exit status: 0 done, 1 refused with a reason, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotation.rating.public_address import declared_address
from annotation.studio import Studio
from emotion_omni import streams
from emotion_omni.home import home_folder
from emotion_omni.types import EmotionOmniError

Result = dict[str, Any]
LOCAL_URL = "http://127.0.0.1:7860"  # of an app that was started without options


def main(arguments: list[str] | None = None) -> int:
    streams.accept_any_text()
    try:
        return _run(parser().parse_args(arguments))
    finally:
        streams.finish()


def _run(options: argparse.Namespace) -> int:
    try:
        result = options.run(options)
    except EmotionOmniError as error:
        if options.json:
            streams.write_line(streams.as_json({"error": _as_json(error)}))
        streams.note(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    if report := getattr(options, "report", None):
        Path(report).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _print(result, options.json)
    return 0


def _as_json(error: EmotionOmniError) -> Result:
    from annotation.study.faults import ImportFaults

    told = {"code": error.code, "message": str(error)}
    return told | {"faults": error.as_json()} if isinstance(error, ImportFaults) else told


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        streams.write_line(streams.as_json(result))
        return
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            streams.write_line(f"{name}:")
            for row in value:
                streams.write_line("  " + "  ".join(f"{key}: {_plain(item)}" for key, item in row.items()))
        elif value not in (None, [], {}):
            streams.write_line(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- commands ---------------------------------------------------------------------------------------------------


def list_studies(options: argparse.Namespace) -> Result:
    """The studies, with the ratings of each."""
    studio = Studio.open()
    with studio.store.read() as view:
        studies = [
            {"id": row["id"], "title": row["settings"]["title"], "state": row["state"]} | view.counts(row["id"])
            for row in view.studies()
        ]
    return {"studies": studies}


def create(options: argparse.Namespace) -> Result:
    """A study from a folder or zip file: study.yaml, items.jsonl or items.csv, recordings."""
    from annotation.study import importing, lifecycle
    from annotation.study.source import Source

    path = Path(options.source)
    if not path.exists():
        raise EmotionOmniError(f"{options.source!r} does not exist.", "missing")
    source = Source.folder(path) if path.is_dir() else Source.archive(path)
    given = {"title": options.title, "template": options.template}
    overrides = {name: value for name, value in given.items() if value}
    checked = importing.check(source, overrides, _show_progress)
    if options.check:
        return {"title": checked.rules.title, "template": checked.rules.template} | checked.report()
    studio = Studio.open()
    items = importing.make_items(checked, studio.clips, _show_progress)
    study = lifecycle.create(studio.store, studio.clips, checked.rules, items)
    return {"study": study, "items": len(items), "read": checked.report()}


def produce(options: argparse.Namespace) -> Result:
    """A study of the answers that engines give to recordings."""
    from annotation.study import lifecycle, producing
    from annotation.study.rules import Study
    from emotion_omni import engine

    studio = Studio.open()
    rules = Study.read({"title": options.title, "template": options.template})
    queries = producing.read_queries(options.files)
    loaded = {engine.public(name): engine.load(name) for name in options.engines}
    engines = [(engine.rated_as(name, one), one) for name, one in loaded.items()]
    items, refused = producing.produce(engines, queries, rules, studio.clips, options.seed, _show_progress)
    study = lifecycle.create(studio.store, studio.clips, rules, items)
    return {"study": study, "items": len(items), "refused": refused}


def export(options: argparse.Namespace) -> Result:
    """Ratings, items, audio and training sets of a study, with a dataset card."""
    from dataclasses import asdict

    from annotation.export.writing import export_study

    out = Path(options.out)
    report = export_study(Studio.open(), options.study, out, options.labels)
    return {"out": str(out.resolve())} | asdict(report)


def invite(options: argparse.Namespace) -> Result:
    """A link by which one person signs in."""
    studio = Studio.open()
    with studio.store.read() as view:
        if options.study and view.study(options.study) is None:
            raise EmotionOmniError(f"There is no study {options.study!r}. See: python -m annotation list.", "not-found")
    token = studio.people.invites.create(options.role, options.study, options.cohort, options.name)
    url = options.url or str(declared_address() or LOCAL_URL)
    return {"link": f"{url.rstrip('/')}/#invite={token}", "role": options.role}


def rebuild(options: argparse.Namespace) -> Result:
    """Rebuild the database from the event log, and keep a broken one under another name. Stop the app first."""
    from annotation.store import rebuilding

    rebuilt = rebuilding.rebuild(home_folder(), os.environ.get("STUDIO_DATABASE") or None)
    return {"events": rebuilt.events, "fault": rebuilt.fault, "set_aside": rebuilt.set_aside}


def withdraw(options: argparse.Namespace) -> Result:
    """Erase a rater, or who a code belongs to, from the database, the event log and the sounds."""
    studio = Studio.open()
    if options.code:
        return {"erased": studio.withdraw_by_code(options.code)}
    with studio.store.read() as view:
        if view.rater(options.rater) is None:
            raise EmotionOmniError(f"There is no rater {options.rater!r}.", "not-found")
    return {"erased": studio.withdraw(rater=options.rater, study=options.study)}


def load(options: argparse.Namespace) -> Result:
    """Simulated raters against the app: latencies, ratings per second, lost and refused ratings."""
    from annotation.bench.load import run

    return run(options.raters, options.seconds, options.stored)


def chaos(options: argparse.Namespace) -> Result:
    """Ratings sent while the server is killed at random: acknowledged, lost, duplicated."""
    from annotation.bench.chaos import run

    return run(options.submits, options.kills, seed=options.seed)


def bench_results(options: argparse.Namespace) -> Result:
    """The Results tab of a large simulated study: seconds, memory, delay of other threads."""
    from annotation.bench.figures import run

    return run(options.ratings, options.raters, options.per_item, options.template)


def bench_recordings(options: argparse.Namespace) -> Result:
    """How well fingerprints tell recordings apart, on corpora of speech with a manifest.csv."""
    from annotation.bench.recordings import run

    return run([Path(folder) for folder in options.folders], options.split, options.originals, options.seed)


def attack(options: argparse.Namespace) -> Result:
    """Attacks on a freshly started app: which expectations hold, and what was found where one does not."""
    from annotation.bench.attack import suite

    return suite.run(options.names, progress=lambda outcome: streams.note(suite.as_line(outcome)))


def circle(options: argparse.Namespace) -> Result:
    """The full circle on simulated raters: rate, find bad raters, export, train, judge blind; and its control."""
    from annotation.bench.circle.circle import Size, run

    size = Size(
        options.items, options.per_item, options.raters, options.locked, options.judges, controls=options.controls
    )
    return run(size, options.seed, streams.note)


def coverage(options: argparse.Namespace) -> Result:
    """Coverage of 95 % intervals by simulation: naive, the two-way clustering of before, and as used now."""
    from annotation.analysis import coverage as simulated

    if options.table:
        return simulated.table(options.simulations, options.seed, options.every)
    shares = (options.rater_share, options.item_share)
    overlap = 0 if options.overlap is None else options.overlap
    sizes = (options.raters, options.items, overlap)
    design = simulated.SimulatedDesign(*sizes, options.loads, *shares, options.outcome, options.statistic)
    return {"simulations": options.simulations} | simulated.simulate(design, options.simulations, options.seed)


def voice(options: argparse.Namespace) -> Result:
    """Record the checks again with the embedded engine."""
    from annotation.study import checks

    return {"recordings": checks.record()}


def routes(options: argparse.Namespace) -> Result:
    """Serve the rating routes alone, without the page."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from annotation.rating import routes as server

    studio = Studio.open()
    application = Starlette(routes=[Mount("/studio", app=server.routes(studio))], middleware=[server.public_address()])
    uvicorn.run(application, host=options.host, port=options.port, log_level="warning", proxy_headers=False)
    return {}


def _show_progress(done: int, wanted: int, what: str) -> None:
    streams.note(f"\r\033[K{what}: {done} of {wanted}", end="" if done < wanted else "\n")


# --- options ----------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    program = argparse.ArgumentParser(
        prog="python -m annotation", description="Studies, ratings and exports from the shell."
    )
    commands = program.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "list", list_studies)
    _add_studies(commands)
    _add_people(commands)
    _add(commands, "rebuild", rebuild)
    _add_benchmarks(commands)
    _add(commands, "voice", voice)
    command = _add(commands, "routes", routes)
    command.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    command.add_argument("--port", type=int, default=7861, help="default: %(default)s")
    return program


def _add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Result], aliases: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    described = (run.__doc__ or "").replace("%", "%%")  # argparse formats its help texts
    command = commands.add_parser(name, aliases=aliases, help=described, description=described)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return command


def _add_studies(commands: Any) -> None:
    command = _add(commands, "create", create)
    command.add_argument("source", help="folder or zip file")
    command.add_argument("--title", type=streams.text_argument, help="instead of the title in study.yaml")
    command.add_argument("--template", help="instead of the template in study.yaml")
    command.add_argument("--check", action="store_true", help="report what would be read, and make nothing")
    command = _add(commands, "produce", produce)
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="query recordings, or folders or zip files of them with or without a table",
    )
    command.add_argument("--title", type=streams.text_argument, required=True)
    command.add_argument("--template", default="empathy", help="default: %(default)s")
    command.add_argument("--engines", nargs="+", default=["embedded"], help="default: embedded")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command = _add(commands, "export", export)
    command.add_argument("study")
    command.add_argument("out", help="folder to write")
    kinds = ["unanchored", "anchored", "both"]
    shown = "ratings without the model's guess (default), those after it was shown, or both, each marked"
    command.add_argument("--labels", default="unanchored", choices=kinds, help=shown)


def _add_people(commands: Any) -> None:
    command = _add(commands, "invite", invite, aliases=("link",))
    roles = ["rater", "researcher", "admin"]
    command.add_argument("--role", default="rater", choices=roles, help="default: %(default)s")
    command.add_argument("--study", help="the study that the link leads to")
    command.add_argument("--cohort", type=streams.text_argument, default="", help="a name for this group of raters")
    command.add_argument("--name", type=streams.text_argument, default="", help="shown to this person only")
    command.add_argument("--url", help=f"of the app; default: STUDIO_URL, or {LOCAL_URL}")
    _add_old_name(command, "--address", "url")
    command = _add(commands, "withdraw", withdraw)
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--rater", help="id of a rater")
    who.add_argument("--code", help="of a rater, or of a voice given on the Talk tab")
    command.add_argument("--study", help="only what the rater gave in this study")


def _add_benchmarks(commands: Any) -> None:
    command = _add(commands, "load", load)
    command.add_argument("--raters", type=int, default=100, help="default: %(default)s")
    command.add_argument("--seconds", type=float, default=20.0, help="of rating; default: %(default)s")
    command.add_argument("--stored", type=int, default=1000, help="ratings already stored; default: %(default)s")
    _add_report(command)
    command = _add(commands, "chaos", chaos)
    command.add_argument("--submits", type=int, default=1000, help="ratings sent; default: %(default)s")
    command.add_argument("--kills", type=int, default=6, help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_report(command)
    command = _add(commands, "attack", attack)
    command.add_argument("names", nargs="*", metavar="NAME", help="attacks or kinds of attack; default: all")
    _add_report(command)
    command = _add(commands, "bench-results", bench_results)
    command.add_argument("--ratings", type=int, default=20_000, help="default: %(default)s")
    command.add_argument("--raters", type=int, default=300, help="default: %(default)s")
    command.add_argument("--per-item", type=int, default=5, help="raters an item; default: %(default)s")
    command.add_argument("--template", default="emotion-recognition", help="default: %(default)s")
    _add_report(command)
    command = _add(commands, "bench-recordings", bench_recordings)
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="with manifest.csv and recordings")
    command.add_argument("--split", default="test", help="of the manifest; default: %(default)s")
    command.add_argument("--originals", type=int, default=300, help="recordings to disguise; default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_report(command)
    command = _add(commands, "circle", circle)
    command.add_argument("--items", type=int, default=200, help="to rate and learn from; default: %(default)s")
    command.add_argument("--per-item", type=int, default=5, help="raters an item; default: %(default)s")
    command.add_argument("--raters", type=int, default=8, help="honest ones; a lazy and a hostile one come beside them")
    command.add_argument(
        "--locked", type=int, default=60, help="items to judge parent and child on; default: %(default)s"
    )
    command.add_argument("--judges", type=int, default=8, help="honest raters who judge; default: %(default)s")
    command.add_argument("--controls", type=int, default=100, help="simulated runs with ratings at random")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_report(command)
    _add_coverage(_add(commands, "coverage", coverage))


def _add_coverage(command: argparse.ArgumentParser) -> None:
    command.add_argument("--raters", type=int, default=20, help="default: %(default)s")
    command.add_argument("--items", type=int, default=30, help="default: %(default)s")
    command.add_argument("--simulations", type=int, default=1000, help="studies; default: %(default)s")
    command.add_argument("--overlap", type=int, help="raters an item; default: all")
    command.add_argument("--loads", choices=["equal", "unequal"], default="equal", help="default: %(default)s")
    command.add_argument("--rater-share", type=float, default=0.2, help="of the variance; default: %(default)s")
    command.add_argument("--item-share", type=float, default=0.3, help="of the variance; default: %(default)s")
    outcomes, statistics = ["normal", "points", "binary"], ["mean", "difference"]
    command.add_argument("--outcome", choices=outcomes, default="normal", help="default: %(default)s")
    command.add_argument("--statistic", choices=statistics, default="mean", help="default: %(default)s")
    command.add_argument("--table", action="store_true", help="all the designs of the README, instead of one")
    command.add_argument("--every", type=int, default=1, help="only one in so many designs of the table")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _add_report(command)


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--report", metavar="FILE", help="also write the result to this file")
    _add_old_name(command, "--save", "report")


def _add_old_name(command: argparse.ArgumentParser, old: str, dest: str) -> None:
    """An option's name of the last release, still accepted."""
    command.add_argument(old, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


if __name__ == "__main__":
    sys.exit(main())
