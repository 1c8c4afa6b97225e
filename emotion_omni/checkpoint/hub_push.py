"""A checkpoint → a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emotion_omni.checkpoint import hub
from emotion_omni.checkpoint.about import About
from emotion_omni.checkpoint.atomic import current
from emotion_omni.checkpoint.folder import check
from emotion_omni.checkpoint.layout import ABOUT, CARD, TENSORS
from emotion_omni.checkpoint.model_card import card
from emotion_omni.checkpoint.source import find
from emotion_omni.types import EmotionOmniError


def push(source: str | Path, repo: str, private: bool = True, endpoint: str | None = None) -> str:
    """Send a checkpoint to the model repository ``repo`` ("user/name"), made if it is missing → ``repo@commit``.

    One commit with exactly the checkpoint's files: every revision of the repository is whole. Uses the token of
    ``HF_TOKEN`` and no other. Raises :class:`EmotionOmniError` (codes ``checkpoint``, ``hub``, ``network``;
    ``public-repo`` where a private repository was asked for and that one is public).
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    hub.check_repo(repo)
    if hub.token() is None:
        raise EmotionOmniError(
            f"Without a token nothing can be sent to {repo}. Set HF_TOKEN to one that may write there.", "hub"
        )
    folder = find(source)
    about, _ = check(folder)
    with hub.explained(repo):
        head, present, is_private = _prepare_repo(repo, private, endpoint)
        if private and not is_private:
            raise EmotionOmniError(
                f"{repo} is public. Make it private in its settings, or push with --public.", "public-repo"
            )
        adds: dict[str, Any] = {name: current(folder) / name for name in (*about.files, ABOUT)}
        adds[CARD] = _card_to_send(current(folder), about, repo).encode()
        stale = [name for name in TENSORS.values() if name in present and name not in adds]
        operations: list[Any] = [CommitOperationAdd(name, content) for name, content in adds.items()]
        operations += [CommitOperationDelete(name) for name in stale]
        title = f"{about.name or 'Checkpoint'}: {about.steps} steps"
        commit = hub.client(endpoint).create_commit(repo, operations, commit_message=title, parent_commit=head)
        return f"{repo}@{commit.oid}"


def _prepare_repo(repo: str, private: bool, endpoint: str | None) -> tuple[str | None, set[str], bool]:
    """→ the newest commit of the repository, the files in it, and whether it is private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    client = hub.client(endpoint)
    try:
        info = client.model_info(repo, timeout=hub.TIMEOUT)
    except RepositoryNotFoundError:
        client.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        info = client.model_info(repo, timeout=hub.TIMEOUT)
    return info.sha, {each.rfilename for each in info.siblings or []}, info.private is True


def _card_to_send(folder: Path, about: About, repo: str) -> str:
    """A card that somebody has edited, else one that says how to use the repository. Links, which may lead to a secret,
    are not followed."""
    path = folder / CARD
    edited = path.is_file() and not path.is_symlink() and path.read_text(encoding="utf-8", errors="replace")
    return card(about, repo) if not edited or edited == card(about) else edited
