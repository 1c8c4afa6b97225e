"""Checkpoints of the end-to-end model: folders that are whole or not there, and their way to the Hugging Face hub.

A checkpoint is a folder of five files: ``config.json`` (:class:`~emotion_omni.omni.config.OmniConfig`),
``understand.safetensors`` (adapters, LoRA, emotion head, prototypes), after stage 2 ``speak.safetensors`` (the
speech decoder), ``about.json`` (:class:`About`) and ``README.md``, the model card. Frozen weights are not in it:
``config.json`` names them. Killed at any point, a save leaves the checkpoint before it or the new one, whole.

It knows folders, hashes and the hub; of the model only that parts can be taken out of it and put back. Imports no
torch: the menu lists checkpoints without it. Own checkpoints, and those pulled, lie in ``checkpoints`` under
``EMOTION_OMNI_HOME`` (default ``./studio-data``).
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import logging
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_omni import weights
from emotion_omni.omni.config import OmniConfig
from emotion_omni.strict import Strict, nearest
from emotion_omni.types import EmotionOmniError

if TYPE_CHECKING:
    import torch
    from huggingface_hub import HfApi
    from torch import Tensor

    from emotion_omni.omni.model import Omni

log = logging.getLogger(__name__)

CONFIG, ABOUT, CARD, ORIGIN = "config.json", "about.json", "README.md", "origin.json"
BEST = "best"  # of a training run
TENSORS = {
    "understand": "understand.safetensors",
    "speak": "speak.safetensors",
}  # the file of each stage, in their order
FILES = (CONFIG, *TENSORS.values(), ABOUT, CARD)  # all that travels; origin.json says here where a pulled one came from
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LARGEST_TEXT = 1 << 20  # bytes of about.json or config.json: ours have a few thousand
LONGEST_LINE = 300  # characters of a name
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
PATIENCE = 10.0  # seconds for the hub to say what a repository holds


# --- what is known of a checkpoint ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data(Strict):
    """A data set it was trained on: ``rows`` of it in the training split."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Stored(Strict):
    """A file of the checkpoint."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class About(Strict):
    """What a checkpoint is and where it comes from, kept in ``about.json``.

    ``created``: ISO 8601 in UTC. ``parent``: the :func:`identity` of the checkpoint it began from. ``base_models``:
    role → id, ``id@revision`` or a hash. ``files``: filled in by :func:`save`; neither the card nor this file is in it.
    Whatever is out of range or unknown is refused (:class:`EmotionOmniError`, code ``checkpoint``).
    """

    name: str
    stages: tuple[str, ...]  # ("understand",) or ("understand", "speak")
    created: str
    parent: str | None
    data: tuple[Data, ...]
    base_models: dict[str, str]
    steps: int
    metrics: dict[str, float]
    seed: int
    version: str  # of this package
    licence: str = "not stated"  # of the weights; as the hub writes it where it knows it, such as "cc-by-nc-4.0"
    files: dict[str, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with _as_checkpoint():
            object.__setattr__(self, "stages", tuple(self.stages))
            object.__setattr__(self, "data", tuple(_made(Data, one) for one in self.data))
            object.__setattr__(self, "files", {name: _made(Stored, one) for name, one in self.files.items()})
            self._words()
            self._numbers()
            self._files()

    def _words(self) -> None:
        for name, text in (("version", self.version), ("licence", self.licence)):
            self._require(_is_line(text) and bool(text), name, "one line of text")
        self._require(_is_line(self.name), "name", f"one line of at most {LONGEST_LINE} characters")
        self._require(
            self.stages in (("understand",), tuple(TENSORS)), "stages", "('understand',) or ('understand', 'speak')"
        )
        self._require(_is_utc(self.created), "created", "a time in UTC such as '2026-01-31T12:00:00+00:00'")
        self._require(self.parent is None or _is_sha256(self.parent), "parent", "a SHA-256 in hexadecimal, or null")
        self._require(
            all(map(_is_line, [*self.base_models, *self.base_models.values()])), "base_models", "names by role"
        )
        self._require(
            all(_is_line(one.name) and _is_sha256(one.sha256) for one in self.data), "data", "names with a SHA-256 each"
        )

    def _numbers(self) -> None:
        self._require(type(self.seed) is int, "seed", "a whole number")
        self._require(type(self.steps) is int and self.steps >= 0, "steps", "a whole number, 0 or more")
        self._require(all(one.rows >= 0 for one in self.data), "data", "of 0 rows or more")
        fit = all(
            _is_line(name) and type(value) in (int, float) and math.isfinite(value)
            for name, value in self.metrics.items()
        )
        self._require(fit, "metrics", "finite numbers by name")

    def _files(self) -> None:
        self._require(
            set(self.files) <= {CONFIG, *TENSORS.values()}, "files", f"of {', '.join([CONFIG, *TENSORS.values()])}"
        )
        self._require(
            all(_is_sha256(one.sha256) and one.bytes >= 0 for one in self.files.values()),
            "files",
            "sizes and SHA-256 by name",
        )


@dataclass(frozen=True)
class Listed:
    """A checkpoint as the menu knows it: :func:`load` takes its ``name``."""

    name: str
    folder: Path
    about: About


def _made(kind: Any, value: Any) -> Any:
    return value if isinstance(value, kind) else kind.from_json(json.dumps(value))


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable() and len(text) <= LONGEST_LINE


def _is_sha256(text: Any) -> bool:
    return isinstance(text, str) and SHA256.fullmatch(text) is not None


def _is_utc(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except (TypeError, ValueError):
        return False


# --- finding and reading ------------------------------------------------------------------------------------------


def home() -> Path:
    """The folder of the checkpoints that have a name."""
    return Path(os.environ.get("EMOTION_OMNI_HOME", "studio-data")) / "checkpoints"


def find(source: str | Path) -> Path:
    """A folder, the name of one in :func:`home`, or a hub id ``user/repo[@revision]``, which is pulled → the folder.

    The folder of a training run stands for its best checkpoint.

    Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``, ``network``).
    """
    text = str(source)
    if text.lower().endswith(PICKLES):
        raise _broken(
            f"{text!r} is a pickle, and reading one may run code. Name a folder with {TENSORS['understand']}."
        )
    places = [Path(source), home() / text] if text == Path(text).name and not text.startswith(".") else [Path(source)]
    folders = [folder for folder in places if _standing(folder).is_dir()]
    for folder in sorted(folders, key=lambda folder: not (_standing(folder) / ABOUT).is_file()):
        if not (_standing(folder) / ABOUT).is_file() and (_standing(folder / BEST) / ABOUT).is_file():
            return folder / BEST
        return folder  # a checkpoint rather than a folder that happens to have its name
    repo, _, revision = text.partition("@")
    if isinstance(source, str) and REPO.fullmatch(repo):
        return pull(repo, revision or None)
    names = [one.name for one in listed()]
    known = f"In {home()} there are: {', '.join(names)}." if names else f"There are none in {home()}."
    raise _broken(
        f"There is no checkpoint {text!r}. Name a folder, one of ours, or a hub id: 'user/repo'. {known}{nearest(text, names)}"
    )


def read_about(folder: str | Path) -> About:
    """What ``about.json`` says; nothing else is looked at. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    text = _text(_standing(Path(folder)) / ABOUT)
    with _as_checkpoint(f"{ABOUT} of {str(folder)!r}"):
        return About.from_json(text)


def check(folder: str | Path, hashes: bool = True) -> tuple[About, OmniConfig]:
    """Is everything there, and what its hash says? ``hashes=False`` compares sizes only, for a menu.

    Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    folder = _standing(Path(folder))
    about = read_about(folder)
    wanted = {CONFIG, *(TENSORS[stage] for stage in about.stages)}
    if about.files.keys() != wanted:
        raise _broken(
            f"{ABOUT} of {str(folder)!r} lists {sorted(about.files)}, and its stages need {sorted(wanted)}. Save it again."
        )
    for name, stored in about.files.items():
        path = _existing(folder / name)
        if path.stat().st_size != stored.bytes or (hashes and weights.sha256(path) != stored.sha256):
            raise _broken(
                f"{name} of {str(folder)!r} is not what {ABOUT} says: it was cut short or changed. Save or fetch it again."
            )
    text = _text(folder / CONFIG)
    with _as_checkpoint(f"{CONFIG} of {str(folder)!r}"):
        return about, OmniConfig.from_json(text)


def identity(source: str | Path) -> str:
    """One SHA-256 over the hashes of configuration and tensors: equal, the models are equal. :func:`check` proves the hashes."""
    files = read_about(find(source)).files
    return hashlib.sha256("".join(f"{name} {files[name].sha256}\n" for name in sorted(files)).encode()).hexdigest()


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
    return sorted(found, key=lambda one: datetime.fromisoformat(one.about.created), reverse=True)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    pickles = sorted(one.name for one in path.parent.glob("*") if one.suffix.lower() in PICKLES)
    also = f" It has {pickles[0]}, a pickle, which may run code and is never read." if pickles else ""
    raise _broken(
        f"{str(path.parent)!r} is no checkpoint: it has no {path.name}.{also} Name a folder that training or a pull has made."
    )


def _text(path: Path) -> str:
    try:
        with _existing(path).open("rb") as file:
            data = file.read(LARGEST_TEXT + 1)
        if len(data) > LARGEST_TEXT:
            raise _broken(
                f"{str(path)!r} has more than {LARGEST_TEXT} bytes; none of ours does. Save or fetch the checkpoint again."
            )
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(f"{str(path)!r} cannot be read ({error}). Save or fetch the checkpoint again.") from error


def _broken(message: str) -> EmotionOmniError:
    return EmotionOmniError(message, "checkpoint")


@contextmanager
def _as_checkpoint(what: str = "") -> Iterator[None]:
    """Whatever is wrong with a text becomes the one error that names it. RecursionError: brackets in brackets in brackets."""
    start = f"{what}: " if what else ""
    try:
        yield
    except EmotionOmniError as error:
        raise _broken(f"{start}{str(error)[:500]}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(
            f"{start}it makes no sense ({type(error).__name__}: {str(error)[:200]}). Save or fetch it again."
        ) from error


# --- loading and saving -------------------------------------------------------------------------------------------


def load(source: str | Path, device: str = "cpu", dtype: torch.dtype | None = None) -> tuple[Omni, About]:
    """What :func:`find` finds → the model, ready to use, and what is known of it.

    ``dtype`` is that of the frozen weights (default float32); the trained ones are float32. Where ``about.stages`` lacks
    ``speak`` the speech decoder is random and must not be used. Raises :class:`EmotionOmniError` (codes ``checkpoint``
    for whatever is wrong with the files, ``hub`` and ``network``; ``config`` and ``weights`` of the language model).
    """
    folder = find(source)
    while True:  # again if it was replaced while it was read
        about = read_about(folder)
        try:
            model = _built(folder, about, device, dtype)
        except EmotionOmniError:
            if read_about(folder) == about:
                raise
            continue
        if read_about(folder) == about:
            return model, about


def _built(folder: Path, about: About, device: str, dtype: torch.dtype | None) -> Omni:
    import torch

    from emotion_omni.omni.model import Omni

    _, config = check(folder)  # before gigabytes are fetched for it
    model = Omni.build(
        config, device, dtype or torch.float32, about.seed
    )  # a random language model is that of its training
    for stage in about.stages:
        model.load_trained_state_dict(_tensors(_standing(folder) / TENSORS[stage]), _parts(stage))
    return model


def _parts(stage: str) -> tuple[str, ...]:
    from emotion_omni.omni.model import SPEAK, UNDERSTAND

    return {"understand": UNDERSTAND, "speak": SPEAK}[stage]


def _tensors(path: Path) -> dict[str, Tensor]:
    import safetensors.torch
    import torch

    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise _broken(f"{str(path)!r} is not whole ({error}). Save or fetch the checkpoint again.") from error
    for name, value in tensors.items():
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16) or not value.isfinite().all():
            raise _broken(
                f"{name!r} in {path.name} must hold finite 16 or 32 bit floats, and does not. Save or fetch it again."
            )
    return tensors


def save(
    folder: str | Path, model: Omni, about: About, parts: tuple[str, ...] | None = None, half: bool = False
) -> Path:
    """Write what was trained of ``model`` to ``folder``, in the place of a checkpoint that may be there → the folder.

    ``parts`` are those of ``about.stages``, and need not be given. ``half`` stores float16: half the size, rounded.
    The files' hashes are added to ``about``. Raises :class:`EmotionOmniError` (code ``checkpoint``) when parts and stages
    differ, a weight is not finite, or the folder holds something else.
    """
    wanted = tuple(part for stage in about.stages for part in _parts(stage))
    if parts is not None and set(parts) != set(wanted):
        raise _broken(
            f"The stages {about.stages} have the parts {wanted}, not {tuple(parts)}. Let stages name what was trained."
        )
    folder = Path(folder).resolve()  # a link stays a link to what is replaced
    with _replacing(folder) as new:
        (new / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
        for stage in about.stages:
            _write_tensors(new / TENSORS[stage], model.trained_state_dict(_parts(stage)), half)
        stored = {path.name: Stored(weights.sha256(path), path.stat().st_size) for path in sorted(new.iterdir())}
        about = dataclasses.replace(about, files=stored)
        (new / ABOUT).write_text(about.to_json(), encoding="utf-8")
        (new / CARD).write_text(card(about), encoding="utf-8")
    return folder


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], half: bool) -> None:
    import safetensors.torch
    import torch

    kept = {
        name: value.to("cpu", torch.float16 if half else torch.float32).contiguous() for name, value in tensors.items()
    }
    if wrong := [name for name, value in kept.items() if not value.isfinite().all()]:
        reason = " as float16" if half else ""
        raise _broken(
            f"{wrong[0]!r} is not finite{reason}, so nothing was saved. Save with half=False, or train with a lower rate."
        )
    safetensors.torch.save_file(kept, path, {"format": "pt"})


# --- whole or not at all ------------------------------------------------------------------------------------------


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into; at the end, flushed to the disk, it takes the place of ``folder`` in one step.

    What a killed process has left beside it is removed by the next. One process at a time.
    """
    new, old = _aside(folder)
    with weights.locked(folder.with_name(f".{folder.name}")):
        if not folder.exists() and old.exists():
            old.rename(folder)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        if folder.exists() and not (folder / ABOUT).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise _broken(f"{str(folder)!r} is no checkpoint and would be lost. Choose an empty or a new folder.")
        new.mkdir()
        try:
            yield new
            for path in (*new.iterdir(), new):
                _flush(path)
            _put(new, folder, old)
        finally:
            shutil.rmtree(new, ignore_errors=True)  # after an exchange it holds what was there before


def _put(new: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        new.rename(folder)
    elif not _exchange(new, folder):
        folder.rename(old)  # from here to the next line readers find it there
        new.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _aside(folder: Path) -> tuple[Path, Path]:
    """Where the new one is written, and where the old one stands while two renames are under way."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _standing(folder: Path) -> Path:
    """The folder; or, where a save by two renames was cut off or is between them, the old one beside it."""
    if not folder.name or folder.exists():
        return folder
    old = _aside(folder)[1]
    return old if old.exists() else folder


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step → whether the system can: Linux, on most of its file systems."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, TypeError, AttributeError):  # Windows knows no CDLL(None), macOS no renameat2
        return False
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- the model card -----------------------------------------------------------------------------------------------

LICENCES = {
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0",
}
LEARNT = {
    "understand": "hears words and tone through two frozen encoders, writes an answer and plans the emotion of each of its tokens",
    "speak": "speaks the answer in that emotion, as speech tokens that a vocoder turns into sound",
}
LIMITS = """\
- It was trained on the data above and on nothing else; other languages, accents, ages, rooms and microphones were not.
- A tone is not a feeling: the emotion it hears or plans can be wrong, more often for people unlike those in the data.
- It can say what is false or hurtful. It is no therapist, and no help in an emergency.
- Metrics are those of its own held-out rows, or as their names say; people's ratings are the measure that counts.
"""


def card(about: About, source: str = "") -> str:
    """The text of ``README.md``, made from what is known and nothing else. ``source``: what :func:`load` takes to get it."""
    import yaml

    head = yaml.safe_dump(_front_matter(about), sort_keys=False, allow_unicode=True, width=1000)
    source = shlex.quote(source or about.name or "FOLDER")
    data = [f"| {_plain(one.name)} | {one.rows} | `{one.sha256}` |" for one in about.data] or ["| none stated | 0 | |"]
    metrics = [f"| {_plain(name)} | {value:.4g} |" for name, value in about.metrics.items()] or ["| none stated | |"]
    bases = [f"| {_plain(role)} | {_plain(name)} |" for role, name in about.base_models.items()]
    return "\n".join(
        [
            f"---\n{head}---\n",
            f"# {_plain(about.name) or 'An Emotion Omni checkpoint'}\n",
            f"A part of the end-to-end model of Emotion Omni Studio, licence: {_plain(about.licence)}. What it has learnt:\n",
            *[f"- **{stage}**: {LEARNT[stage]}" for stage in about.stages],
            "" if "speak" in about.stages else "- It has not learnt to speak: it answers in words only.\n",
            "## Use\n",
            f"```bash\npython -m emotion_omni talk q.wav --engine omni --checkpoint {source} --out reply.wav\n```\n",
            "## Trained on\n",
            "| Data | Rows | SHA-256 |\n|---|---|---|",
            *data,
            "",
            "## Metrics\n",
            "| Metric | Value |\n|---|---|",
            *metrics,
            "",
            "## Built upon\n",
            "Frozen, and not in this repository:\n",
            "| Role | Model |\n|---|---|",
            *bases,
            "",
            "## Limits\n",
            LIMITS,
            "## Origin\n",
            f"{about.steps} steps, seed {about.seed}, {about.created}, emotion-omni-studio {_plain(about.version)}. "
            f"Began from {f'the checkpoint `{about.parent}`' if about.parent else 'the base models'}. `about.json` has all of this, "
            "and a SHA-256 for each file.\n",
        ]
    )


def _front_matter(about: About) -> dict[str, Any]:
    licence = about.licence.strip().lower()
    known = (
        {"license": licence}
        if licence in LICENCES
        else {"license": "unknown"}
        if licence == "not stated"
        else {"license": "other", "license_name": about.licence}
    )
    bases = sorted({repo for name in about.base_models.values() if (repo := _repo_of(name))})
    upon = {"base_model": bases, "base_model_relation": "adapter"} if bases else {}
    task = "audio-to-audio" if "speak" in about.stages else "audio-text-to-text"
    return (
        known
        | {"language": ["en"]}
        | upon
        | {"pipeline_tag": task, "tags": ["speech", "emotion", "empathetic-dialogue", "lora"]}
    )


def _plain(text: str) -> str:
    """A name as it is, and not as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


# --- the hub ------------------------------------------------------------------------------------------------------


def push(source: str | Path, repo: str, private: bool = True, endpoint: str | None = None) -> str:
    """Send a checkpoint to the model repository ``repo`` ("user/name"), made if it is missing → ``repo@commit``.

    One commit with exactly the files of :data:`FILES` that it has: every revision of the repository is whole. The token is
    that of ``HF_TOKEN`` and no other. Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``, ``network``; ``public-repo``
    where a private repository was asked for and that one is public).
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    _check_repo(repo)
    if _token() is None:
        raise EmotionOmniError(
            f"Without a token nothing can be sent to {repo}. Set HF_TOKEN to one that may write there.", "hub"
        )
    folder = find(source)
    about, _ = check(folder)
    with _plainly(repo):
        head, there, hidden = _ready_to_receive(repo, private, endpoint)
        if private and not hidden:
            raise EmotionOmniError(
                f"{repo} is public. Make it private in its settings, or push with --public.", "public-repo"
            )
        adds: dict[str, Any] = {name: _standing(folder) / name for name in (*about.files, ABOUT)}
        adds[CARD] = _card_to_send(_standing(folder), about, repo).encode()
        operations: list[Any] = [CommitOperationAdd(name, content) for name, content in adds.items()]
        operations += [CommitOperationDelete(name) for name in TENSORS.values() if name in there and name not in adds]
        title = f"{about.name or 'Checkpoint'}: {about.steps} steps"
        return f"{repo}@{_hub(endpoint).create_commit(repo, operations, commit_message=title, parent_commit=head).oid}"


def _ready_to_receive(repo: str, private: bool, endpoint: str | None) -> tuple[str | None, set[str], bool]:
    """→ the newest commit of the repository, the files in it, and whether it is private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    hub = _hub(endpoint)
    try:
        info = hub.model_info(repo, timeout=PATIENCE)
    except RepositoryNotFoundError:
        hub.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        info = hub.model_info(repo, timeout=PATIENCE)
    return info.sha, {one.rfilename for one in info.siblings or []}, info.private is True


def _card_to_send(folder: Path, about: About, repo: str) -> str:
    """The card that somebody has edited, else one that says how to use the repository. A link might lead to a secret."""
    path = folder / CARD
    edited = path.is_file() and not path.is_symlink() and path.read_text(encoding="utf-8", errors="replace")
    return card(about, repo) if not edited or edited == card(about) else edited


def pull(repo: str, revision: str | None = None, endpoint: str | None = None) -> Path:
    """A checkpoint of the hub, at the commit that ``revision`` (default: the newest) now is → its folder in :func:`home`.

    The folder is named by repository and commit and never changes. What is here already is not fetched again; where the
    hub cannot be reached and no commit was asked for, the one pulled last is taken. ``origin.json`` records the commit.
    Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``, ``network``).
    """
    _check_repo(repo)
    if revision is not None and not REVISION.fullmatch(revision):
        raise _broken(f"{revision[:80]!r} is no revision. Use a commit, a branch or a tag: 'user/repo@main'.")
    commit = revision if revision and COMMIT.fullmatch(revision) else _commit(repo, revision, endpoint)
    if commit is None:
        return _before(repo)[0]
    folder = home() / f"{repo.replace('/', '--')}@{commit[:12]}"
    if not _is_sound(folder):
        _fetch(repo, commit, folder, endpoint)
    return folder


def origin(folder: str | Path) -> dict[str, str] | None:
    """Where a pulled checkpoint came from: ``repo``, ``commit`` and when it was ``pulled``; None for one made here."""
    path = _standing(Path(folder)) / ORIGIN
    return json.loads(_text(path)) if path.is_file() else None


def _commit(repo: str, revision: str | None, endpoint: str | None) -> str | None:
    """The commit that a branch or tag now is; None where the hub cannot be asked, but there is one from before."""
    try:
        with _plainly(repo):
            commit = _hub(endpoint).model_info(repo, revision=revision, timeout=PATIENCE).sha or ""
    except EmotionOmniError as error:
        if error.code != "network" or revision is not None or not _before(repo):
            raise
        log.warning("%s The one pulled last is taken.", error)
        return None
    if not COMMIT.fullmatch(commit):
        raise EmotionOmniError(f"The hub names no commit of {repo}. Try again, or name one: {repo}@COMMIT.", "hub")
    return commit


def _before(repo: str) -> list[Path]:
    """Sound checkpoints pulled from the repository, the last one first."""
    found = [folder for folder in home().glob(f"{repo.replace('/', '--')}@*") if _is_sound(folder)]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _is_sound(folder: Path) -> bool:
    try:
        check(folder, hashes=False)
        return True
    except EmotionOmniError:
        return False


def _fetch(repo: str, commit: str, folder: Path, endpoint: str | None) -> None:
    """Through the hub's own cache, which goes on where it was cut off and may have been filled ahead."""
    with _plainly(repo):
        cached = Path(_hub(endpoint).snapshot_download(repo, revision=commit, allow_patterns=list(FILES)))
    about, _ = check(cached)
    with _replacing(folder.resolve()) as new:
        for name in (*about.files, ABOUT, CARD):
            if (cached / name).is_file():
                _link(cached / name, new / name)
        origin = {"repo": repo, "commit": commit, "pulled": datetime.now(UTC).isoformat(timespec="seconds")}
        (new / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """The same bytes twice on one disk would be a waste; nothing of ours ever writes into a file that is there."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _hub(endpoint: str | None) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(
        endpoint=endpoint, token=_token() or False
    )  # False: never the token of whoever is signed in on this computer


def _token() -> str | None:
    return os.environ.get("HF_TOKEN", "").strip() or None


def _check_repo(repo: str) -> None:
    if not REPO.fullmatch(repo):
        raise _broken(f"{repo[:80]!r} names no repository of the hub. Use owner and name: 'me/omni-small'.")


@contextmanager
def _plainly(repo: str) -> Iterator[None]:
    """Whatever the hub's client raises becomes one error, without the token in its words.

    Code ``network`` where there was no answer, ``hub`` for an answer that is a refusal or makes no sense.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    # HTTP and network (HTTPError, OSError), uploads (RuntimeError), names and answers it cannot read (ValueError, KeyError)
    except (HTTPError, OSError, RuntimeError, ValueError, KeyError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        told = told.replace(_token() or "\0", "[token]")
        silent = isinstance(error, (HTTPError, OSError)) and not isinstance(error, HfHubHTTPError)
        message = f"The repository {repo} cannot be used now ({told[:300]}). Check the name, the network and HF_TOKEN."
        raise EmotionOmniError(message, "network" if silent else "hub") from None


# --- what a Space fetches ahead -----------------------------------------------------------------------------------

NETWORK = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
)
CHAT = (
    *NETWORK,
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)
EMOTION2VEC = ("config.yaml", "configuration.json", "*.pt")


def preload(config: OmniConfig, folder: str | Path | None = None, endpoint: str | None = None) -> list[str]:
    """The lines that a Space needs under ``preload_from_hub`` in its README: ``repo file,file commit``.

    Encoders, language model and, for the paper's voice, CosyVoice2; with ``folder`` also that checkpoint, if it was pulled.
    What comes from elsewhere (ModelScope, a folder, a package) is not among them. Raises :class:`EmotionOmniError` (codes
    ``hub``, ``network``, ``checkpoint``).
    """
    emotion = EMOTION2VEC if "emotion2vec" in config.emotion.name.lower() else NETWORK
    wanted = [
        (config.semantic.name, NETWORK, "whisper-base/"),
        (config.emotion.name, emotion, "whisper-base/"),
        (config.language_model.name, CHAT, "smollm2/"),
    ]
    if config.voice == "cosyvoice2":
        from emotion_omni.synthesis import cosyvoice2_convert as prepare  # imports torch

        wanted.append((f"{prepare.SOURCE}@{prepare.REVISION}", tuple(prepare.FILES), ""))
    lines = [line for name, patterns, ours in wanted for line in _ahead(name, patterns, ours, endpoint)]
    if folder is not None and (pulled := origin(folder)):
        lines = [_line(pulled["repo"], [*check(folder)[0].files, ABOUT], pulled["commit"]), *lines]
    return list(dict.fromkeys(lines))


def _ahead(name: str, patterns: tuple[str, ...], ours: str, endpoint: str | None) -> list[str]:
    if name == "embedded":
        sources = [source for file in weights.FILES if file.name.startswith(ours) for source in file.sources]
        files = [source for source in sources if isinstance(source, weights.Hub)]
        repos = dict.fromkeys((file.repo, file.revision) for file in files)
        return [_line(repo, [file.path for file in files if file.repo == repo], commit) for repo, commit in repos]
    repo = _repo_of(name)
    if not repo:
        if name != "random":
            log.warning("%s is not on the hub and cannot be fetched ahead.", name)
        return []
    with _plainly(repo):
        info = _hub(endpoint).model_info(repo, revision=name.partition("@")[2] or None, timeout=PATIENCE)
    found = sorted(
        one.rfilename for one in info.siblings or [] if any(fnmatchcase(one.rfilename, pattern) for pattern in patterns)
    )
    if not found:
        raise _broken(f"{name!r} on the hub has none of {', '.join(patterns)}. Name a repository with such files.")
    return [_line(repo, found, info.sha or "")]


def _line(repo: str, files: list[str], commit: str) -> str:
    return f"{repo} {','.join(files)} {commit}".rstrip()


def _repo_of(name: str) -> str | None:
    """The repository of ``id@revision``; None for a part of ours, a hash, a folder or an id of ModelScope (``iic/``)."""
    repo = name.partition("@")[0]
    return repo if REPO.fullmatch(repo) and not repo.startswith("iic/") and not Path(name).is_dir() else None
