"""The studio from the shell: ``python -m annotation COMMAND``.

Works on the store of ``EMOTION_OMNI_HOME`` (default ``./studio-data``). With ``--json`` the result is one
JSON object on stdout. Exit status: 0 done, 1 refused with a reason, 2 the command itself is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotation.studio import Studio
from emotion_omni.types import EmotionOmniError

Result = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
    except EmotionOmniError as error:
        if options.json:
            print(json.dumps({"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False))
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        for name, value in result.items():
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if getattr(options, "save", None):
        Path(options.save).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def list_(options: argparse.Namespace) -> Result:
    """The studies, with how far each has come."""
    studio = Studio.open()
    with studio.store.read() as view:
        rows = [
            {"id": row["id"], "title": row["settings"]["title"], "state": row["state"]} | view.counts(row["id"])
            for row in view.studies()
        ]
    return {"studies": rows}


def create(options: argparse.Namespace) -> Result:
    """A study from a folder or zip file: study.yaml, items.jsonl or items.csv, recordings."""
    from annotation.study import importing, lifecycle
    from annotation.study.source import Source

    studio = Studio.open()
    place = Path(options.source)
    if not place.exists():
        raise EmotionOmniError(f"{options.source!r} does not exist.", "missing")
    source = Source.folder(place) if place.is_dir() else Source.archive(place)
    overrides = {name: value for name in ("title", "template") if (value := getattr(options, name))}
    rules, items = importing.read_source(source, studio.clips, overrides, _progress(options))
    return {"study": lifecycle.create(studio.store, studio.clips, rules, items), "items": len(items)}


def produce(options: argparse.Namespace) -> Result:
    """A study of the answers that engines give to recordings."""
    from annotation.study import lifecycle, producing
    from annotation.study.rules import Study
    from emotion_omni import audio, engine

    studio = Studio.open()
    rules = Study.read({"title": options.title, "template": options.template})
    queries = [(Path(file).stem, audio.decode(file)) for file in options.files]
    engines = [(name, engine.load(name)) for name in options.engines]
    items, refused = producing.produce(engines, queries, rules, studio.clips, options.seed, _progress(options))
    return {
        "study": lifecycle.create(studio.store, studio.clips, rules, items),
        "items": len(items),
        "refused": refused,
    }


def export(options: argparse.Namespace) -> Result:
    """Ratings, items, audio and training sets of a study, with a dataset card."""
    from dataclasses import asdict

    from annotation.export.writing import export_study

    return {"out": str(Path(options.out).resolve())} | asdict(
        export_study(Studio.open(), options.study, Path(options.out))
    )


def link(options: argparse.Namespace) -> Result:
    """A sign-in link for one person; put it behind the address of the app."""
    studio = Studio.open()
    with studio.store.read() as view:
        if options.study and view.study(options.study) is None:
            raise EmotionOmniError(f"There is no study {options.study!r}. See: python -m annotation list.", "not-found")
    token = studio.people.invites.create(options.role, options.study, options.cohort, options.name)
    return {"link": f"{options.address.rstrip('/')}/?invite={token}", "role": options.role}


def rebuild(options: argparse.Namespace) -> Result:
    """Throw the database away and make it anew from the event log."""
    return {"events": Studio.open().store.rebuild()}


def withdraw(options: argparse.Namespace) -> Result:
    """Erase a rater, or a voice by its code, from the database, the log and the sounds."""
    studio = Studio.open()
    if options.code:
        return {"erased": studio.withdraw_voice(options.code)}
    with studio.store.read() as view:
        if view.rater(options.rater) is None:
            raise EmotionOmniError(f"There is no rater {options.rater!r}.", "not-found")
    return {"erased": studio.withdraw(rater=options.rater, study=options.study)}


def load(options: argparse.Namespace) -> Result:
    """Simulated raters against the app: waiting times, ratings a second, what was lost or refused."""
    from annotation.bench.load import run

    return run(options.raters, options.seconds, options.stored)


def chaos(options: argparse.Namespace) -> Result:
    """Submits while the server is killed at random: what was acknowledged, lost, duplicated."""
    from annotation.bench.chaos import run

    return run(options.submits, options.kills, seed=options.seed)


def coverage(options: argparse.Namespace) -> Result:
    """How often a 95 % interval holds the truth, by simulation: the naive one and the one clustered on raters and items."""
    from annotation.analysis.power import coverage as simulate

    sizes = {"raters": options.raters, "items": options.items, "simulations": options.simulations}
    return sizes | simulate(**sizes)


def voice(options: argparse.Namespace) -> Result:
    """Speak the recordings of the checks anew with the embedded engine."""
    from annotation.study import checks

    return {"recordings": checks.record()}


def routes(options: argparse.Namespace) -> Result:
    """Serve the rating routes alone, without the page."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from annotation.rating import routes as server

    studio = Studio.open()
    application = Starlette(routes=[Mount("/studio", app=server.routes(studio))])
    uvicorn.run(application, host=options.host, port=options.port, log_level="warning")
    return {}


def _progress(options: argparse.Namespace) -> Callable[[int, int, str], None]:
    def show(done: int, wanted: int, what: str) -> None:
        print(f"\r{what}: {done} of {wanted}", end="" if done < wanted else "\n", file=sys.stderr, flush=True)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m annotation", description="Studies, ratings and exports from the shell."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], Result]) -> argparse.ArgumentParser:
        said = (run.__doc__ or "").replace("%", "%%")  # argparse formats what it is given
        command = commands.add_parser(run.__name__.rstrip("_"), help=said, description=said)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="one JSON object on stdout")
        return command

    add(list_)
    command = add(create)
    command.add_argument("source", help="folder or zip file")
    command.add_argument("--title", help="instead of the title in study.yaml")
    command.add_argument("--template", help="instead of the template in study.yaml")
    command = add(produce)
    command.add_argument("files", nargs="+", metavar="FILE", help="query recordings")
    command.add_argument("--title", required=True)
    command.add_argument("--template", default="empathy", help="default: %(default)s")
    command.add_argument("--engines", nargs="+", default=["embedded"], help="default: embedded")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command = add(export)
    command.add_argument("study")
    command.add_argument("out", help="folder to write")
    command = add(link)
    command.add_argument(
        "--role", default="rater", choices=["rater", "researcher", "admin"], help="default: %(default)s"
    )
    command.add_argument("--study", help="the study it leads to")
    command.add_argument("--cohort", default="", help="a name for this group of raters")
    command.add_argument("--name", default="", help="shown to the rater alone")
    command.add_argument("--address", default="http://127.0.0.1:7860", help="of the app; default: %(default)s")
    add(rebuild)
    command = add(withdraw)
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--rater", help="id of a rater")
    who.add_argument("--code", help="of a voice given on the Talk tab")
    command.add_argument("--study", help="only what the rater gave in this study")
    command = add(load)
    command.add_argument("--raters", type=int, default=100, help="default: %(default)s")
    command.add_argument("--seconds", type=float, default=20.0, help="of rating; default: %(default)s")
    command.add_argument("--stored", type=int, default=1000, help="ratings in the store before; default: %(default)s")
    command.add_argument("--save", help="also write the report here")
    command = add(chaos)
    command.add_argument("--submits", type=int, default=1000, help="default: %(default)s")
    command.add_argument("--kills", type=int, default=6, help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command.add_argument("--save", help="also write the report here")
    command = add(coverage)
    command.add_argument("--raters", type=int, default=20, help="default: %(default)s")
    command.add_argument("--items", type=int, default=30, help="default: %(default)s")
    command.add_argument("--simulations", type=int, default=1000, help="studies; default: %(default)s")
    add(voice)
    command = add(routes)
    command.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    command.add_argument("--port", type=int, default=7861, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
