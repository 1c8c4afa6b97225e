"""train: the stages of the omni model, and the small parts of the embedded engine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emotion_omni.cli.output import Commands, UsageError, add_command, add_group, emit
from emotion_omni.strict import Strict
from emotion_omni.train.feedback.settings import DEFAULTS, FeedbackSettings
from emotion_omni.train.part_settings import (
    CodecSettings,
    CrisisSettings,
    CriticSettings,
    G2PSettings,
    GuardSettings,
    ProsodySettings,
    RecognizerSettings,
    RerankerSettings,
    ResponderSettings,
)
from emotion_omni.train.settings import RENAMED, UNDERSTAND_ONLY, Settings
from emotion_omni.types import EmotionOmniError

if TYPE_CHECKING:
    from emotion_omni.omni.config import OmniConfig

log = logging.getLogger(__name__)

AnySettings = TypeVar("AnySettings", bound=Strict)

WITHOUT_EFFECT = {  # options that release 0.1 accepted in a stage where they did nothing
    "understand": ("--speech-rate",),
    "speak": ("--adapter-rate", "--lora-rate", "--emotion-weight", "--config"),
}
CORPUS = Path(__file__).parents[1] / "train" / "replies.jsonl.gz"
EXCHANGES = CORPUS.with_name("exchanges")
EVENTS = CORPUS.with_name("events.tsv")
PHRASES = CORPUS.with_name("crisis.tsv")


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "train", "Train the omni model, or one of the small parts of the embedded engine.")
    command = _add_stage(group, "understand", understand, "--config small --data train.jsonl --out FOLDER")
    command.add_argument("--config", help="paper, small, tiny or a JSON file; default: small")
    command.add_argument(
        "--drop-speech", action="store_true", help="start from a checkpoint that speaks, without its speech decoder"
    )
    _add_stage(group, "speak", speak, "--parent FOLDER --data train.jsonl --out FOLDER")
    _add_parts(group)
    _add_feedback(group)


# --- the omni model -----------------------------------------------------------------------------------------------


def understand(options: argparse.Namespace) -> int:
    """Stage 1 of the omni model: understand the query, answer in text and plan the emotion."""
    if options.config and options.parent:
        raise UsageError("--config and --parent exclude each other: a checkpoint has its own configuration.")
    return _train_stage("understand", options)


def speak(options: argparse.Namespace) -> int:
    """Stage 2 of the omni model: speak the answer in the planned emotion."""
    if not options.parent:
        raise UsageError("--parent is required: stage speak starts from a checkpoint of stage understand.")
    return _train_stage("speak", options)


def _add_stage(group: Commands, stage: str, run: Any, example: str) -> argparse.ArgumentParser:
    command = add_command(group, stage, run, f"train {stage} {example}", uses_seed=True)
    command.add_argument(
        "--data", required=True, help="JSON lines with the columns query and reply, or a data set's folder or hub id"
    )
    command.add_argument("--out", required=True, type=Path, help="folder of the run; its best checkpoint is in best")
    command.add_argument("--parent", metavar="CHECKPOINT", help="checkpoint, or folder of a run, to start from")
    command.add_argument("--from", dest="parent", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    command.add_argument("--resume", action="store_true", help="continue the run in this folder where it stopped")
    without = UNDERSTAND_ONLY if stage == "speak" else ()
    old_names = {old: new for old, new in RENAMED[stage].items() if new not in without}
    add_settings(command, Settings, old_names, without)
    for name in WITHOUT_EFFECT[stage]:
        command.add_argument(name, dest=_dest(name), help=argparse.SUPPRESS)
    if stage == "speak":
        command.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)  # did nothing either
    return command


def _train_stage(stage: str, options: argparse.Namespace) -> int:
    """In several processes under ``accelerate launch -m``."""
    settings = settings_from(options, Settings)
    for name in WITHOUT_EFFECT[stage]:
        if getattr(options, _dest(name)) is not None:
            log.warning("%s has no effect in stage %s.", name, stage)
    from emotion_omni.train import stage as stages

    if options.parent:
        start = stages.Start(parent=options.parent, drop_speech=getattr(options, "drop_speech", False))
    else:
        start = stages.Start(config=configuration(options))
    report = stages.train(stage, start, options.data, options.out, settings, options.resume)
    if os.environ.get("RANK", "0") == "0":  # of several processes, one prints
        steps = f"{report['steps']} of {report['total_steps']} steps"
        text = f"{options.out}: {steps}, loss {report['loss']['loss']:.3f}, {report['seconds']:.0f} s"
        emit(options, report, f"{text}. The checkpoint is in {options.out / 'best'}")
    return 130 if report["stopped"] else 0


def configuration(options: argparse.Namespace) -> OmniConfig:
    from emotion_omni.train import stage as stages

    try:
        return stages.configuration(options.config or "small")
    except EmotionOmniError as error:
        raise UsageError(f"--config {options.config}: {error}") from error


# --- the embedded engine's parts ----------------------------------------------------------------------------------


def _add_parts(group: Commands) -> None:
    out = {"type": Path, "metavar": "FOLDER", "help": "folder for the weights and their log"}
    command = add_command(group, "recognizer", recognizer, "train recognizer --data FOLDER --out FOLDER")
    data_help = "folders with recordings and their manifest.csv"
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help=data_help)
    command.add_argument("--out", **out)
    command.add_argument("--evaluate", type=Path, metavar="WEIGHTS", help="only evaluate saved weights on dev and test")
    command.add_argument("--cache", type=Path, help="folder for features; default: in the weights cache")
    command.add_argument("--leave-one-corpus-out", action="store_true", help=argparse.SUPPRESS)  # always done now
    add_settings(command, RecognizerSettings)

    command = add_command(group, "prosody", prosody, "train prosody --data FOLDER --out FOLDER", uses_seed=True)
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help=data_help)
    command.add_argument("--out", required=True, **out)
    command.add_argument("--cache", type=Path, help="folder for features; default: in the weights cache")
    add_settings(command, ProsodySettings)

    command = add_command(group, "functionals", functionals, "train functionals --data FOLDER --out FOLDER")
    data_help = "folders with recordings and their manifest.csv"
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help=data_help)
    command.add_argument("--out", required=True, **out)
    command.add_argument("--cache", type=Path, help="folder for features; default: in the weights cache")

    example = "train speech-detector --data FOLDER --out FOLDER"
    command = add_command(group, "speech-detector", speech_detector, example)
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FOLDER", help=data_help)
    command.add_argument("--out", required=True, **out)

    command = add_command(group, "responder", responder, "train responder --out FOLDER", uses_seed=True)
    corpus_help = "reply corpus, JSONL or JSONL.gz, or the folder of written exchanges; default: the first of ours"
    command.add_argument("--data", type=Path, default=CORPUS, help=corpus_help)
    command.add_argument("--out", required=True, **out)
    command.add_argument("--parent", type=Path, metavar="WEIGHTS", help="a responder.safetensors to start from")
    add_settings(command, ResponderSettings, {"rate": "learning_rate", "limit_seconds": "max_seconds"})

    command = add_command(group, "reranker", reranker, "train reranker --out FOLDER", uses_seed=True)
    command.add_argument("--data", type=Path, default=EXCHANGES, help="folder of written exchanges; default: ours")
    command.add_argument("--replies", type=Path, default=CORPUS, help="a further reply corpus; default: ours")
    command.add_argument("--out", required=True, **out)
    add_settings(command, RerankerSettings)

    command = add_command(group, "guard", guard, "train guard --out FOLDER")
    command.add_argument("--data", type=Path, default=CORPUS, help="reply corpus; default: ours")
    command.add_argument("--events", type=Path, default=EVENTS, help="lines of label TAB text; default: ours")
    command.add_argument("--dialogues", type=Path, help="EmpatheticDialogues as JSONL")
    command.add_argument("--comments", type=Path, help="GoEmotions as JSONL")
    command.add_argument("--out", required=True, **out)
    add_settings(command, GuardSettings)

    command = add_command(group, "crisis", crisis, "train crisis --out FOLDER", uses_seed=True)
    command.add_argument("--data", type=Path, default=PHRASES, help="lines of class TAB text; default: ours")
    command.add_argument("--dialogues", type=Path, help="EmpatheticDialogues as JSONL")
    command.add_argument("--comments", type=Path, help="GoEmotions as JSONL")
    command.add_argument("--out", required=True, **out)
    add_settings(command, CrisisSettings)

    command = add_command(group, "critic", critic, "train critic --out FOLDER", uses_seed=True)
    command.add_argument("--dialogues", type=Path, required=True, help="EmpatheticDialogues as JSONL")
    command.add_argument("--support", type=Path, required=True, help="ESConv as JSONL")
    command.add_argument("--daily", type=Path, required=True, help="DailyDialog with emotions as JSONL")
    command.add_argument("--empathy", type=Path, help="ratings of EPITOME as JSONL, to measure with")
    command.add_argument("--out", required=True, **out)
    add_settings(command, CriticSettings)

    command = add_command(group, "g2p", g2p, "train g2p --out FOLDER", uses_seed=True)
    command.add_argument("--out", required=True, **out)
    add_settings(command, G2PSettings)

    command = add_command(group, "codec", codec, "train codec --out FOLDER", uses_seed=True)
    command.add_argument("--out", required=True, **out)
    add_settings(command, CodecSettings, {"steps": "max_steps"})


def _add_feedback(group: Commands) -> None:
    example = "train feedback --ratings EXPORT --parent embedded --method reward --out FOLDER"
    command = add_command(group, "feedback", feedback, example, uses_seed=True)
    command.add_argument("--ratings", required=True, metavar="EXPORT", help="folder of python -m annotation export")
    parent_help = "embedded (what ships), a promoted name, or the folder of an earlier run"
    command.add_argument("--parent", default="embedded", metavar="CHECKPOINT", help=f"{parent_help}; default: embedded")
    command.add_argument("--method", required=True, choices=list(DEFAULTS), help="what is trained; see the README")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run, and of the child it makes")
    command.add_argument("--resume", action="store_true", help="continue the run in this folder where it stopped")
    command.add_argument("--dry-run", action="store_true", help="tell rows, seconds and memory, and train nothing")
    command.add_argument(
        "--also-heard",
        action="store_true",
        help="learn words from ratings of spoken answers, too",
    )
    command.add_argument("--background", action="store_true", help="one thread, lowest priority")
    add_settings(command, FeedbackSettings)


def feedback(options: argparse.Namespace) -> int:
    """A child of a parent, from the ratings of a study: words from ratings of words, voice from ratings of voice."""
    settings = settings_from(options, FeedbackSettings)
    if not options.out and not options.dry_run:
        raise UsageError("--out is required, unless it is a --dry-run.")
    from emotion_omni.train.feedback import run

    request = run.Request(options.ratings, options.parent, options.method, options.also_heard)
    if options.dry_run:
        return _print_log(options, run.dry_run(request, settings))
    if options.background:
        _step_back()
    try:
        report = run.train(request, options.out, settings, options.resume)
    except KeyboardInterrupt:
        return 130
    if report["stopped"]:
        emit(options, report, f"Stopped after step {report['step']} of {report['steps']}. Go on with --resume.")
        return 130
    before, after = report["validation"]["parent"]["loss"], report["validation"]["child"]["loss"]
    text = f"{options.out}: loss on items held out {before:.3f} before, {after:.3f} now"
    if not report["learned"]:
        text = f"{options.out}: the ratings do not show how to be better, so the child answers as its parent does"
    emit(options, report, f"{text}. Talk to it: python app.py --engine embedded:{options.out}")
    return 0


def _step_back() -> None:
    """One thread, and the lowest priority: somebody else is waiting for these processors."""
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(19)


def recognizer(options: argparse.Namespace) -> int:
    """The speech emotion head: eight emotions from the states of Whisper's encoder."""
    settings = settings_from(options, RecognizerSettings)
    if not options.evaluate and not options.out:
        raise UsageError("--out is required for training.")
    from emotion_omni import weights
    from emotion_omni.train import recognizer as part

    cache = options.cache or weights.cache() / "features"
    if options.evaluate:
        return _print_log(options, part.evaluate(options.data, options.evaluate, cache))
    return _recorded(options, part.train(options.data, options.out, cache, settings), options.data)


def prosody(options: argparse.Namespace) -> int:
    """What each emotion does to Kokoro's prosody; about an hour. A second call goes on with the samples so far."""
    settings = settings_from(options, ProsodySettings)
    from emotion_omni import weights
    from emotion_omni.train import prosody as part

    cache = options.cache or weights.cache() / "features"
    return _recorded(options, part.train(options.data, options.out, cache, settings), options.data)


def functionals(options: argparse.Namespace) -> int:
    """The second recognizer, a judge for evaluation only: eight emotions from acoustic functionals."""
    from emotion_omni import weights
    from emotion_omni.evaluate import functionals_training as part
    from emotion_omni.train.emotion_corpus import read_manifests

    cache = options.cache or weights.cache() / "features" / "clips"
    return _print_log(options, part.train(read_manifests(options.data), options.out, cache))


def speech_detector(options: argparse.Namespace) -> int:
    """The speech detector: is there a voice in the states of Whisper's encoder; some minutes."""
    from emotion_omni.train import speech_detector as part

    return _print_log(options, part.train(options.data, options.out))


def responder(options: argparse.Namespace) -> int:
    """The responder: LoRA of SmolLM2 on the reply corpus; about half an hour per epoch on one core."""
    settings = settings_from(options, ResponderSettings)
    from emotion_omni.train import responder as part

    log = part.train(options.data, options.out, settings, options.parent)
    return _recorded(options, log, [options.data], options.parent)


def reranker(options: argparse.Namespace) -> int:
    """The reranker of replies, and the bank of written replies; some minutes."""
    settings = settings_from(options, RerankerSettings)
    from emotion_omni.train import reranker as part

    log = part.train(options.data, options.replies, options.out, settings)
    return _recorded(options, log, [options.data, options.replies])


def guard(options: argparse.Namespace) -> int:
    """The guard: what a text reports (good, bad or neutral news), and which of them a reply answers."""
    settings = settings_from(options, GuardSettings)
    from emotion_omni.train import guard as part

    data = part.GuardData(options.data, options.events, options.dialogues, options.comments)
    return _recorded(options, part.train(data, options.out, settings), list(vars(data).values()))


def crisis(options: argparse.Namespace) -> int:
    """The crisis detector: words that tell of danger to oneself or from others."""
    settings = settings_from(options, CrisisSettings)
    from emotion_omni.train import crisis as part

    data = part.CrisisData(options.data, options.dialogues, options.comments)
    return _recorded(options, part.train(data, options.out, settings), list(vars(data).values()))


def critic(options: argparse.Namespace) -> int:
    """The critic of replies, a judge for evaluation only: sense, direction and kinds of empathy; half an hour."""
    settings = settings_from(options, CriticSettings)
    from emotion_omni.evaluate import critic_training as part

    data = part.CriticData(options.dialogues, options.support, options.daily, options.empathy)
    return _print_log(options, part.train(data, options.out, settings))


def g2p(options: argparse.Namespace) -> int:
    """Letters to phonemes, for words that no lexicon holds."""
    settings = settings_from(options, G2PSettings)
    from emotion_omni.train import g2p as part

    return _recorded(options, part.train(options.out, settings), [])


def codec(options: argparse.Namespace) -> int:
    """The small speech codec; about half an hour on one core."""
    settings = settings_from(options, CodecSettings)
    from emotion_omni.train import codec as part

    return _print_log(options, part.run(options.out, settings))


def _recorded(
    options: argparse.Namespace, log: dict[str, Any], data: typing.Iterable[Path | None], parent: Path | None = None
) -> int:
    """Prints the log; where the weights come from is written beside them."""
    from emotion_omni.checkpoint import lineage

    method = f"train {options.command.prog.split()[-1]}"
    parent_identity = lineage.parent_of(parent) if parent else lineage.SHIPPED
    lineage.record(options.out, method, [one for one in data if one], parent_identity, options.seed)
    return _print_log(options, log)


def _print_log(options: argparse.Namespace, log: dict[str, Any]) -> int:
    emit(options, log, json.dumps(log, indent=1))
    return 0


# --- settings as options ------------------------------------------------------------------------------------------


def add_settings(
    command: argparse.ArgumentParser,
    kind: type[Strict],
    old_names: typing.Mapping[str, str] | None = None,
    without: typing.Container[str] = (),
) -> None:
    """An option for each field, named and explained like the field; ``old_names`` (old: field) are hidden aliases."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in without}
    for field in fields.values():
        if field.name != "seed":  # every command has it
            _add_option(command, kind, field, field.name)
    for old, new in (old_names or {}).items():
        _add_option(command, kind, fields[new], old)


def _add_option(command: argparse.ArgumentParser, kind: type[Strict], field: dataclasses.Field, name: str) -> None:
    hidden = name != field.name
    text = field.metadata["help"].replace("%", "%%")
    option: dict[str, Any] = {"dest": field.name, "help": argparse.SUPPRESS if hidden else text}
    if isinstance(field.default, bool):
        option["action"] = "store_true"
    else:
        option["type"] = type(field.default)
        option["choices"] = typing.get_args(typing.get_type_hints(kind)[field.name]) or None
        option["help"] = argparse.SUPPRESS if hidden else f"{text}; default: {field.default or '%(default)s'}"
    option["default"] = argparse.SUPPRESS if hidden else field.default
    command.add_argument(f"--{name.replace('_', '-')}", **option)


def settings_from(options: argparse.Namespace, kind: type[AnySettings]) -> AnySettings:
    """The settings that were chosen. What they refuse is an error of the command line, and names the option."""
    given = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(kind) if hasattr(options, field.name)
    }
    try:
        return kind(**given)
    except EmotionOmniError as error:
        raise UsageError(re.sub(rf"{kind.__name__}\.(\w+)", _option_of, str(error))) from error


def _option_of(match: re.Match[str]) -> str:
    return f"--{match[1].replace('_', '-')}"


def _dest(option: str) -> str:
    return f"without_effect_{option.strip('-').replace('-', '_')}"
