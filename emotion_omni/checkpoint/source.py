"""A folder, a name or a hub id → a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emotion_omni.checkpoint.about import About
from emotion_omni.checkpoint.atomic import current
from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.folder import home, identity_of, listed, load_folder, read_about
from emotion_omni.checkpoint.hub_pull import pull
from emotion_omni.checkpoint.layout import ABOUT, BEST, PICKLES, REPO, TENSORS
from emotion_omni.strict import nearest

if TYPE_CHECKING:
    import torch

    from emotion_omni.omni.model import Omni


def find(source: str | Path) -> Path:
    """A folder, the name of one in ``home()``, or a hub id ``user/repo[@revision]``, which is pulled → the folder.

    The folder of a training run stands for its best checkpoint. Raises :class:`EmotionOmniError` (codes
    ``checkpoint``, ``hub``, ``network``).
    """
    text = str(source)
    if text.lower().endswith(PICKLES):
        raise broken(f"{text!r} is a pickle, and reading one may run code. Name a folder with {TENSORS['understand']}.")
    is_name = text == Path(text).name and not text.startswith(".")
    candidates = [Path(source), home() / text] if is_name else [Path(source)]
    folders = [folder for folder in candidates if current(folder).is_dir()]
    # a checkpoint takes precedence over a folder that happens to have its name
    for folder in sorted(folders, key=lambda folder: not _is_checkpoint(folder)):
        return folder / BEST if not _is_checkpoint(folder) and _is_checkpoint(folder / BEST) else folder
    repo, _, revision = text.partition("@")
    if isinstance(source, str) and REPO.fullmatch(repo):
        return pull(repo, revision or None)
    names = [each.name for each in listed()]
    known = f"In {home()} there are: {', '.join(names)}." if names else f"There are none in {home()}."
    raise broken(
        f"There is no checkpoint {text!r}. Name a folder, one of ours, or a hub id: 'user/repo'. "
        f"{known}{nearest(text, names)}"
    )


def _is_checkpoint(folder: Path) -> bool:
    return (current(folder) / ABOUT).is_file()


def identity(source: str | Path) -> str:
    """One SHA-256 over the hashes of configuration and tensors, which ``check()`` verifies: equal for equal models."""
    return identity_of(read_about(find(source)))


def load(source: str | Path, device: str = "cpu", dtype: torch.dtype | None = None) -> tuple[Omni, About]:
    """What :func:`find` finds → the model, ready to use, and what it records.

    ``dtype`` is that of the frozen weights (default float32); trained ones are float32. Where ``about.stages`` lacks
    ``speak`` the speech decoder is random and must not be used. Raises :class:`EmotionOmniError` (codes
    ``checkpoint`` for whatever is wrong with the files, ``hub`` and ``network``; those of the language model).
    """
    return load_folder(find(source), device, dtype)
