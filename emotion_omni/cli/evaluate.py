"""evaluate: how good the parts are. Each writes its report to the folder of ``--out``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from emotion_omni import streams
from emotion_omni.cli.output import Commands, add_command, emit
from emotion_omni.types import EmotionOmniError

PARTS = ("recognition", "reading", "synthesis", "replies")  # each with a report of its own, without an engine
SUITES = ("quick", "full")
SPLITS = ("train", "dev", "test", "all")
DATA = "EMOTION_OMNI_SPEECH"  # environment: the folders of --data


def add_commands(commands: Commands) -> None:
    example = "evaluate embedded --against embedded:FOLDER --suite quick --out FOLDER"
    command = add_command(commands, "evaluate", evaluate, example)
    subject_help = "engine or checkpoint to evaluate as a whole: embedded, embedded:NAME, omni:CHECKPOINT, llm:MODEL, …"
    command.add_argument("subject", nargs="?", metavar="ENGINE", help=subject_help)
    command.add_argument(
        "--against", metavar="PARENT", help="another engine, set beside it, with differences beyond noise"
    )
    command.add_argument("--suite", choices=SUITES, default="quick", help="quick: ten minutes; full: an hour or more")
    only_help = (
        f"only this measure; may be repeated. Without an engine, a report of its own for one of: {', '.join(PARTS)}"
    )
    command.add_argument("--only", metavar="NAME", action="append", help=only_help)
    command.add_argument("--list", action="store_true", help="print the measures and end")
    command.add_argument("--questions", type=Path, nargs="+", metavar="FILE", help="question sets, as JSON lines")
    real_help = "folder with real recordings of counterfactuals and their counterfactuals.csv"
    command.add_argument("--counterfactuals", type=Path, metavar="FOLDER", help=real_help)
    study_help = "with --against: also write the replies of both here, as a study for people to compare"
    command.add_argument("--study", type=Path, metavar="FOLDER", help=study_help)
    ratings_help = "folder that the studio exported, to calibrate the judge by people"
    command.add_argument("--ratings", type=Path, metavar="FOLDER", help=ratings_help)
    data_help = (
        f"for recognition: folders with recordings and their manifest.csv, joined by {os.pathsep!r}; default: what "
        f"{DATA} names"
    )
    command.add_argument("--data", metavar="FOLDERS", default=os.environ.get(DATA), help=data_help)
    command.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the report and its page")
    recognizer_help = "embedded, embedded:FOLDER, hub, cascade:FILE or functionals; default: %(default)s"
    command.add_argument("--recognizer", default="embedded", metavar="NAME", help=recognizer_help)
    command.add_argument("--split", choices=SPLITS, default="test", help="of the manifests; default: %(default)s")
    command.add_argument(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help="at most N clips of each corpus, N spoken lines; default: all",
    )
    draws_help = "random orders of turns; default: %(default)s"
    command.add_argument("--draws", type=int, default=3, metavar="N", help=draws_help)
    command.add_argument("--cache", type=Path, help="folder for features; default: in the weights cache")
    responders_help = "for replies: whose to read: embedded, cascade:FILE, …; default: %(default)s"
    command.add_argument("--responders", nargs="+", default=["embedded"], metavar="NAME", help=responders_help)
    voices_help = "for synthesis: voices of the engine, by comma; default: those of the page's menu"
    command.add_argument("--voices", metavar="NAMES", default="", help=voices_help)
    sentences_help = "for synthesis: at most N sentences; default: all"
    command.add_argument("--sentences", type=int, default=0, metavar="N", help=sentences_help)
    samples_help = "for synthesis: also write the clips of the first sentence here, as Ogg Opus"
    command.add_argument("--samples", type=Path, metavar="FOLDER", help=samples_help)


def evaluate(options: argparse.Namespace) -> int:
    """Measure an engine beside its parent: one JSON and one page. A second call goes on where the first stopped."""
    if options.list:
        return _list(options)
    if not options.out:
        options.command.error("the following arguments are required: --out")
    if options.limit < 0 or options.draws < 1:
        options.command.error("--limit is 0 or more, --draws 1 or more")
    if options.subject:
        return _engine(options)
    if options.against or options.study:
        options.command.error("--against and --study need an engine before them: evaluate ENGINE --against PARENT")
    if unknown := sorted(set(options.only or ()) - set(PARTS)):
        options.command.error(f"--only {unknown[0]} needs an engine: evaluate ENGINE --only {unknown[0]}")
    measured = {"recognition": _recognition, "reading": _reading, "synthesis": _synthesis, "replies": _replies}
    for part in PARTS:
        if part in (options.only or PARTS):
            measured[part](options)
    return 0


def _list(options: argparse.Namespace) -> int:
    from emotion_omni.evaluate import registry

    for one in registry.MEASURES:
        row = {"measure": one.name, "section": one.section, "title": one.title, "suites": list(one.sizes)}
        emit(options, row, f"{one.name:16} {one.section:18} {one.title}" + ("" if "quick" in one.sizes else " (full)"))
    return 0


def _engine(options: argparse.Namespace) -> int:
    from emotion_omni import engine
    from emotion_omni.evaluate import registry, report_page, reports, suite
    from emotion_omni.evaluate.measure import Sources
    from emotion_omni.evaluate.subject import Subject

    measures = registry.chosen(options.only or [])
    sources = Sources(
        tuple(Path(folder) for folder in (options.data or "").split(os.pathsep) if folder),
        options.counterfactuals,
        tuple(options.questions or ()),
        options.ratings,
        options.split,
    )
    cache = options.cache or suite.default_cache()
    subjects = [Subject(name, cache) for name in (options.subject, options.against) if name]
    taken = [suite.take_all(one, measures, options.suite, sources, cache, streams.note) for one in subjects]
    report = suite.report(subjects[0], taken[0], options.suite, *((subjects[1], taken[1]) if options.against else ()))
    page = report_page.page(report)
    reports.write(options.out / reports.DATA, _as_json(report))
    reports.write(options.out / reports.PAGE, page)
    if not options.only:
        reports.save(engine.public(options.subject), report, page)  # the studio links it beside the engine
    if options.study:
        _study(options, subjects, cache)
    where = f"Report: {options.out / 'report.json'}, page: {options.out / 'report.html'}"
    emit(options, report, f"{suite.as_text(report)}\n{where}")
    return 0


def _study(options: argparse.Namespace, subjects: list[Any], cache: Path) -> None:
    if len(subjects) < 2:
        options.command.error("--study needs two engines: evaluate ENGINE --against PARENT --study FOLDER")
    from emotion_omni.evaluate import compare_study
    from emotion_omni.evaluate.made_up_speech import MadeUpSpeech

    found = compare_study.write(
        subjects[0], subjects[1], options.limit, options.study, MadeUpSpeech(cache / "spoken"), streams.note
    )
    streams.note(f"{found['comparisons']} comparisons for people: python -m annotation create {options.study}")


def _recognition(options: argparse.Namespace) -> None:
    if not options.data:
        raise EmotionOmniError(f"Name folders of recordings by --data or {DATA}.", "no-data")
    from emotion_omni import weights
    from emotion_omni.evaluate import evaluated_recognizers, recognition
    from emotion_omni.evaluate.recognition_page import page

    folders = tuple(Path(folder) for folder in options.data.split(os.pathsep) if folder)
    chosen = recognition.Options(folders, options.split, options.limit, options.draws)
    recognition.check(chosen)  # before any weights are loaded
    recognizer = evaluated_recognizers.load(options.recognizer)
    cache = options.cache or weights.cache() / "features" / "clips"
    report = recognition.measure(recognizer, chosen, cache, streams.note)
    _write(options.out / "recognition.json", _as_json(report))
    _write(options.out / "recognition.html", page(report))
    emit(options, report, _as_text(report, options.out))


def _synthesis(options: argparse.Namespace) -> None:
    from emotion_omni import engine
    from emotion_omni.evaluate import synthesis

    voices = [name for name in options.voices.split(",") if name] or [name for _, name in engine.offered_voices()[1:]]
    chosen = synthesis.Options(tuple(voices), options.sentences or len(synthesis.SENTENCES))
    embedded = engine.load("embedded-small")
    assert isinstance(embedded, engine.SpeaksText)
    samples = {"keep": synthesis.writing_samples(options.samples)} if options.samples else {}
    report = synthesis.measure(embedded, chosen, streams.note, **samples)
    _write(options.out / "synthesis.json", _as_json(report))
    emit(options, report, synthesis.as_text(report))


def _reading(options: argparse.Namespace) -> None:
    from emotion_omni.evaluate import reading

    report = reading.measure(reading.lines(), options.limit, streams.note)
    _write(options.out / "reading.json", _as_json(report))
    emit(options, report, f"{reading.as_text(report)}\nReport: {options.out / 'reading.json'}")


def _replies(options: argparse.Namespace) -> None:
    """The sheets, or, where they are filled, what the readers found."""
    from emotion_omni.evaluate import reply_sheets

    if (options.out / "key.json").exists():
        found = reply_sheets.summary(options.out)
        _write(options.out / "reading-of-replies.json", json.dumps(found, indent=1) + "\n")
        emit(options, found, reply_sheets.as_text(found))
        return
    chosen = reply_sheets.prompts(options.limit)
    replies = {name: reply_sheets.replies_of(name, chosen, options.out, options.seed) for name in options.responders}
    found = reply_sheets.write(chosen, replies, options.out)
    emit(options, found, f"{found['rows']} replies to read: {options.out}/sheet-1.csv … Rubric: rubric.txt")


def _as_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _as_text(report: dict[str, Any], out: Path) -> str:
    lines = [f"{report['recognizer']}: {report['clips']} clips of {report['speakers']} people, split {report['split']}"]
    for name, row in {"all, eight classes": report["pooled"], **report["corpora"]}.items():
        recalls = "  ".join(f"{one} {found['value']:.3f}" for one, found in row["uar"].items())
        lines.append(f"  {name}: UAR {recalls}; refused {row['refused']['share']:.1%}")
    return "\n".join([*lines, f"Report: {out / 'recognition.json'}, page: {out / 'recognition.html'}"])
