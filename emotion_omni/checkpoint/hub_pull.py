"""A checkpoint from the hub → its own folder, named by repository and commit."""

from __future__ import annotations

import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from emotion_omni.checkpoint import hub
from emotion_omni.checkpoint.atomic import current, replacing
from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.folder import check, home, is_valid, read_text
from emotion_omni.checkpoint.layout import ABOUT, CARD, COMMIT, FILES, ORIGIN, REVISION
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)


def pull(repo: str, revision: str | None = None, endpoint: str | None = None) -> Path:
    """A checkpoint of the hub, at the commit of ``revision`` (default: the newest) → its folder in ``home()``.

    The folder never changes, and is not fetched again. Where the hub cannot be reached and no revision was given,
    the checkpoint pulled last is returned. ``origin.json`` records the commit. Raises :class:`EmotionOmniError`
    (codes ``checkpoint``, ``hub``, ``network``).
    """
    hub.check_repo(repo)
    if revision is not None and not REVISION.fullmatch(revision):
        raise broken(f"{revision[:80]!r} is not a revision. Use a commit, a branch or a tag: 'user/repo@main'.")
    commit = revision if revision and COMMIT.fullmatch(revision) else _resolve(repo, revision, endpoint)
    if commit is None:
        return _pulled_before(repo)[0]
    folder = home() / f"{repo.replace('/', '--')}@{commit[:12]}"
    if not is_valid(folder):
        _fetch(repo, commit, folder, endpoint)
    return folder


def origin(folder: str | Path) -> dict[str, str] | None:
    """``repo`` and ``commit`` of a pulled checkpoint, and when it was ``pulled``; None for one made here."""
    path = current(Path(folder)) / ORIGIN
    return json.loads(read_text(path)) if path.is_file() else None


def _resolve(repo: str, revision: str | None, endpoint: str | None) -> str | None:
    """The commit of a branch or tag; None where the hub cannot be reached, but the repository was pulled before."""
    try:
        with hub.explained(repo):
            commit = hub.client(endpoint).model_info(repo, revision=revision, timeout=hub.TIMEOUT).sha or ""
    except EmotionOmniError as error:
        if error.code != "network" or revision is not None or not _pulled_before(repo):
            raise
        log.warning("%s The checkpoint pulled last is used.", error)
        return None
    if not COMMIT.fullmatch(commit):
        raise EmotionOmniError(f"The hub gives no commit of {repo}. Try again, or name one: {repo}@COMMIT.", "hub")
    return commit


def _pulled_before(repo: str) -> list[Path]:
    """Sound checkpoints pulled from the repository, the last one first."""
    found = [folder for folder in home().glob(f"{repo.replace('/', '--')}@*") if is_valid(folder)]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _fetch(repo: str, commit: str, folder: Path, endpoint: str | None) -> None:
    """Through the hub's own cache, which resumes where it was interrupted and may have been filled ahead."""
    with hub.explained(repo):
        cached = Path(hub.client(endpoint).snapshot_download(repo, revision=commit, allow_patterns=list(FILES)))
    about, _ = check(cached)
    with replacing(folder.resolve()) as new:
        for name in (*about.files, ABOUT, CARD):
            if (cached / name).is_file():
                _link(cached / name, new / name)
        record = {"repo": repo, "commit": commit, "pulled": datetime.now(UTC).isoformat(timespec="seconds")}
        (new / ORIGIN).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """A hard link, to not store the same bytes twice; our code never writes into an existing file."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
