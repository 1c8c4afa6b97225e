"""checkpoint: list, show, push, pull and preload checkpoints of the omni model; those of single parts: promotion.py."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_omni.cli import promotion
from emotion_omni.cli.output import Commands, add_command, add_group, emit

if TYPE_CHECKING:
    from emotion_omni.checkpoint import About

NAME_HELP = "a listed name, a folder, or user/repo[@revision]"


def add_commands(commands: Commands) -> None:
    group = add_group(
        commands, "checkpoint", "Checkpoints: list, show, send or fetch them, promote those of single parts."
    )
    add_command(group, "list", list_all, "checkpoint list")
    for name, run in (("show", show), ("pull", pull), ("preload", preload)):
        command = add_command(group, name, run, f"checkpoint {name} user/repo")
        command.add_argument("name", metavar="NAME", help=NAME_HELP)
    promotion.add_commands(group)
    command = add_command(group, "push", push, "checkpoint push NAME --repo user/name")
    command.add_argument("name", metavar="NAME", help="a listed name or a folder")
    command.add_argument("--repo", metavar="USER/NAME", required=True, help="model repository; created if missing")
    command.add_argument("--public", action="store_true", help="everybody can read it; default: private")


def list_all(options: argparse.Namespace) -> int:
    """The checkpoints that have a name here."""
    from emotion_omni import checkpoint

    for one in checkpoint.listed():
        text = f"{one.name}  {'+'.join(one.about.stages)}  {one.about.created}"
        emit(options, _row(one.name, one.folder, one.about), text)
    return 0


def show(options: argparse.Namespace) -> int:
    """What a checkpoint is and where it comes from."""
    from emotion_omni import checkpoint

    folder = checkpoint.find(options.name)
    about, _ = checkpoint.check(folder)
    result = _row(options.name, folder, about)
    result |= {"identity": checkpoint.identity(folder), "origin": checkpoint.origin(folder)}
    emit(options, result, json.dumps(result, indent=1, ensure_ascii=False))
    return 0


def push(options: argparse.Namespace) -> int:
    """Send a checkpoint to the Hugging Face hub."""
    from emotion_omni import checkpoint

    sent = checkpoint.push(options.name, options.repo, private=not options.public)
    emit(options, {"name": options.name, "hub": sent, "private": not options.public}, sent)
    return 0


def pull(options: argparse.Namespace) -> int:
    """Fetch a checkpoint from the Hugging Face hub."""
    from emotion_omni import checkpoint

    repo, _, revision = options.name.partition("@")
    folder = checkpoint.pull(repo, revision or None)
    emit(options, _row(folder.name, folder, checkpoint.read_about(folder)), str(folder))
    return 0


def preload(options: argparse.Namespace) -> int:
    """What a Space lists in its README to fetch a checkpoint's models ahead."""
    from emotion_omni import checkpoint

    folder = checkpoint.find(options.name)
    lines = checkpoint.preload(checkpoint.check(folder)[1], folder)
    text = "\n".join(["preload_from_hub:", *(f"  - {line}" for line in lines)])
    emit(options, {"preload_from_hub": lines}, text)
    return 0


def _row(name: str, folder: Path, about: About) -> dict[str, Any]:
    return {"checkpoint": name, "folder": str(folder), "about": dataclasses.asdict(about)}
