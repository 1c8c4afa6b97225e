"""A checkpoint folder: save it, check it, read it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emotion_omni import weights
from emotion_omni.checkpoint.about import About, Stored, base_models
from emotion_omni.checkpoint.atomic import current, replacing
from emotion_omni.checkpoint.errors import as_checkpoint_error, broken
from emotion_omni.checkpoint.layout import ABOUT, CARD, CONFIG, PICKLES, TENSORS
from emotion_omni.checkpoint.model_card import card
from emotion_omni.home import home_folder
from emotion_omni.omni.config import OmniConfig
from emotion_omni.types import EmotionOmniError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emotion_omni.omni.model import Omni

log = logging.getLogger(__name__)

MAX_TEXT_BYTES = 1 << 20  # of about.json or config.json: ours have a few thousand


@dataclass(frozen=True)
class Listed:
    """A checkpoint as a menu shows it: ``load()`` takes its ``name``."""

    name: str
    folder: Path
    about: About


class Trained(Protocol):
    """What :func:`save` needs of a model: :class:`~emotion_omni.omni.model.Omni`, or tensors gathered from it."""

    @property
    def config(self) -> OmniConfig: ...

    def trained_state_dict(self, parts: Sequence[str]) -> Mapping[str, Tensor]: ...


def home() -> Path:
    """The folder of the checkpoints that have a name."""
    return home_folder() / "checkpoints"


# --- reading --------------------------------------------------------------------------------------------------


def read_about(folder: str | Path) -> About:
    """The content of ``about.json``; reads nothing else. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    text = read_text(current(Path(folder)) / ABOUT)
    with as_checkpoint_error(f"{ABOUT} of {str(folder)!r}"):
        return About.from_json(text)


def check(folder: str | Path, hashes: bool = True) -> tuple[About, OmniConfig]:
    """Whether all files are there and have their hashes. ``hashes=False`` compares sizes only, for a menu.

    Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    folder = current(Path(folder))
    about = read_about(folder)
    expected = {CONFIG, *(TENSORS[stage] for stage in about.stages)}
    if about.files.keys() != expected:
        raise broken(
            f"{ABOUT} of {str(folder)!r} lists {sorted(about.files)}, and its stages need {sorted(expected)}. "
            "Save it again."
        )
    for name, stored in about.files.items():
        path = _existing(folder / name)
        if path.stat().st_size != stored.bytes or (hashes and weights.sha256(path) != stored.sha256):
            raise broken(
                f"{name} of {str(folder)!r} is not what {ABOUT} says: it was cut short or changed. "
                "Save or fetch it again."
            )
    text = read_text(folder / CONFIG)
    with as_checkpoint_error(f"{CONFIG} of {str(folder)!r}"):
        return about, OmniConfig.from_json(text)


def is_valid(folder: Path) -> bool:
    try:
        check(folder, hashes=False)
        return True
    except EmotionOmniError:
        return False


def identity_of(about: About) -> str:
    """One SHA-256 over the hashes of configuration and tensors."""
    lines = [f"{name} {about.files[name].sha256}\n" for name in sorted(about.files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def listed() -> list[Listed]:
    """The checkpoints in :func:`home`, newest first. A broken one is left out, and the log says why."""
    found = []
    folders = sorted(home().iterdir()) if home().is_dir() else []
    for folder in folders:
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        try:
            found.append(Listed(folder.name, folder, check(folder, hashes=False)[0]))
        except EmotionOmniError as error:
            log.warning("Not listed: %s", error)
    return sorted(found, key=lambda each: datetime.fromisoformat(each.about.created), reverse=True)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    pickles = sorted(each.name for each in path.parent.glob("*") if each.suffix.lower() in PICKLES)
    also = f" It has {pickles[0]}, a pickle, which may run code and is never read." if pickles else ""
    raise broken(
        f"{str(path.parent)!r} is no checkpoint: it has no {path.name}.{also} "
        "Name a folder that training or a pull has made."
    )


def read_text(path: Path) -> str:
    try:
        with _existing(path).open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise broken(
                f"{str(path)!r} has more than {MAX_TEXT_BYTES} bytes; none of ours does. "
                "Save or fetch the checkpoint again."
            )
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise broken(f"{str(path)!r} cannot be read ({error}). Save or fetch the checkpoint again.") from error


# --- loading --------------------------------------------------------------------------------------------------


def load_folder(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> tuple[Omni, About]:
    """The model of a folder; see ``load()``."""
    while True:  # again if it was replaced while it was read
        about = read_about(folder)
        try:
            model = _build(folder, about, device, dtype)
        except EmotionOmniError:
            if read_about(folder) == about:
                raise
            continue
        if read_about(folder) == about:
            return model, about


def _build(folder: Path, about: About, device: str, dtype: torch.dtype | None) -> Omni:
    import torch

    from emotion_omni.omni.model import Omni

    _, config = check(folder)  # before gigabytes are downloaded for it
    # a random language model is that of its training
    model = Omni.build(config, device, dtype or torch.float32, about.seed)
    for stage in about.stages:
        model.load_trained_state_dict(_read_tensors(current(folder) / TENSORS[stage]), _parts(stage))
    return model


def _parts(stage: str) -> tuple[str, ...]:
    from emotion_omni.omni.model import SPEAK, UNDERSTAND

    return {"understand": UNDERSTAND, "speak": SPEAK}[stage]


def _read_tensors(path: Path) -> dict[str, Tensor]:
    import safetensors.torch
    import torch

    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise broken(f"{str(path)!r} is not whole ({error}). Save or fetch the checkpoint again.") from error
    for name, value in tensors.items():
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16) or not value.isfinite().all():
            raise broken(
                f"{name!r} in {path.name} must hold finite 16 or 32 bit floats, and does not. Save or fetch it again."
            )
    return tensors


# --- saving ---------------------------------------------------------------------------------------------------


def save(
    folder: str | Path, model: Trained, about: About, parts: tuple[str, ...] | None = None, half: bool = False
) -> Path:
    """Write the trained tensors of ``model`` to ``folder``, replacing a checkpoint that may be there → the folder.

    ``parts`` are those of ``about.stages``, and need not be given. ``half`` stores float16: half the size, rounded.
    The files' hashes, and base models if missing, are added to ``about``. Raises :class:`EmotionOmniError` (code
    ``checkpoint``) if parts and stages differ, a weight is not finite, or the folder holds something else.
    """
    expected = tuple(part for stage in about.stages for part in _parts(stage))
    if parts is not None and set(parts) != set(expected):
        raise broken(
            f"The stages {about.stages} have the parts {expected}, not {tuple(parts)}. "
            "Let stages name what was trained."
        )
    folder = Path(folder).resolve()  # a link stays a link to what is replaced
    with replacing(folder) as new:
        (new / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
        for stage in about.stages:
            _write_tensors(new / TENSORS[stage], model.trained_state_dict(_parts(stage)), half)
        files = {path.name: Stored(weights.sha256(path), path.stat().st_size) for path in sorted(new.iterdir())}
        about = dataclasses.replace(about, files=files, base_models=about.base_models or base_models(model.config))
        (new / ABOUT).write_text(about.to_json(), encoding="utf-8")
        (new / CARD).write_text(card(about), encoding="utf-8")
    return folder


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], half: bool) -> None:
    import safetensors.torch
    import torch

    dtype = torch.float16 if half else torch.float32
    kept = {name: value.to("cpu", dtype).contiguous() for name, value in tensors.items()}
    if wrong := [name for name, value in kept.items() if not value.isfinite().all()]:
        reason = " as float16" if half else ""
        raise broken(
            f"{wrong[0]!r} is not finite{reason}, so nothing was saved. "
            "Save with half=False, or train with a lower learning rate."
        )
    safetensors.torch.save_file(kept, path, {"format": "pt"})
