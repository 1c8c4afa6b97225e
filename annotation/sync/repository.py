"""The private dataset repository on Hugging Face that holds the copy: its head, files, commits and past."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, get_session

from annotation.sync.local_files import File
from emotion_omni.types import EmotionOmniError

# What the client raises: HTTP and network (HTTPError, OSError), uploads (RuntimeError), answers that it cannot read
# (ValueError, KeyError).
CLIENT_ERRORS = (HTTPError, OSError, RuntimeError, ValueError, KeyError)
SILENCE_SECONDS = 60.0  # without a byte from the Hub; by default its client would wait forever
MOST_OPERATIONS = 10_000  # a commit; the Hub takes 25,000 large files
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Repository:
    def __init__(self, name: str, token: str | None, endpoint: str | None = None) -> None:
        if not NAME.fullmatch(name):
            raise EmotionOmniError(
                f"{name[:80]!r} is not the name of a repository. STUDIO_REPO needs owner and name: 'me/ratings'.",
                "bad-setting",
            )
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise EmotionOmniError(
                "The Hugging Face token has characters that no token has. Copy it into HF_TOKEN again.", "bad-setting"
            )
        disable_progress_bars()  # they would fill a server's log
        self.name, self._token = name, token
        # False: never the token of the person who is signed in on this computer
        self.api = HfApi(endpoint=endpoint, token=token or False)

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Whatever the client raises becomes one error, with the token neither in its words nor in its cause."""
        try:
            yield
        except CLIENT_ERRORS as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            if self._token:
                reason = reason.replace(self._token, "[token]")
            raise EmotionOmniError(
                f"The backup {self.name} cannot be used now ({reason[:300]}). "
                "Check the network, the name and the token's rights.",
                "mirror",
            ) from None

    # -- reading

    def private_head(self) -> str:
        """The newest commit of the repository, which is created if it is missing. Refuses one that others can read."""
        get_session().timeout = SILENCE_SECONDS  # the client replaces its session after some errors: set each time
        try:
            info = self.api.repo_info(self.name, repo_type="dataset", timeout=SILENCE_SECONDS)
        except RepositoryNotFoundError:
            self.api.create_repo(self.name, repo_type="dataset", private=True, exist_ok=True)
            info = self.api.repo_info(self.name, repo_type="dataset", timeout=SILENCE_SECONDS)
        if info.private is not True:
            raise EmotionOmniError(
                f"The repository {self.name} is public; a backup with people's names and voices must be private. "
                "Make it private in its settings, or set STUDIO_REPO to another name.",
                "public-repo",
            )
        return info.sha or ""

    def files(self, head: str) -> dict[str, File]:
        """All files at a commit, with length and hash."""
        tree = self.api.list_repo_tree(self.name, recursive=True, revision=head or None, repo_type="dataset")
        return {
            file.path: (file.size, file.lfs.sha256 if file.lfs else file.blob_id)
            for file in tree
            if isinstance(file, RepoFile)
        }

    def fetch(self, head: str, paths: Sequence[str]) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"repo_type": "dataset", "revision": head, "local_dir": folder}
            return {path: Path(self.api.hf_hub_download(self.name, path, **options)).read_bytes() for path in paths}

    def fetch_all(self, head: str, patterns: list[str], folder: Path) -> None:
        options: dict[str, Any] = {"repo_type": "dataset", "revision": head, "allow_patterns": patterns}
        self.api.snapshot_download(self.name, local_dir=folder, **options)

    # -- writing

    def commit(self, head: str, adds: Mapping[str, bytes | Path], deletes: Sequence[str], title: str) -> str:
        """→ the new head. The repository must still be at ``head``, otherwise the Hub refuses the commit."""
        operations: list[Any] = [CommitOperationAdd(path, data) for path, data in adds.items()]
        operations += [CommitOperationDelete(path) for path in deletes]
        for start in range(0, len(operations), MOST_OPERATIONS):
            some = operations[start : start + MOST_OPERATIONS]
            options: dict[str, Any] = {"repo_type": "dataset", "commit_message": title, "parent_commit": head or None}
            head = self.api.create_commit(self.name, some, **options).oid
        return head

    def squash(self) -> None:
        """Make the head the only commit."""
        self.api.super_squash_history(self.name, repo_type="dataset", commit_message="Backup, its past erased")

    def delete_stale_objects(self, files: Mapping[str, File], folders: tuple[str, ...]) -> None:
        """Delete the large files of these folders that only past versions used. ``files``: those of the head."""
        listed = self.api.list_lfs_files(self.name, repo_type="dataset")
        large = [file for file in listed if file.filename.startswith(folders)]
        known = {name for file in large for name in (file.oid, file.file_oid)}
        stale = []
        for file in large:
            name = files[file.filename][1] if file.filename in files else ""
            # an object under a name that is still used goes only where the one in use is itself in the list
            if not name or (name in known and name not in (file.oid, file.file_oid)):
                stale.append(file)
        self.api.permanently_delete_lfs_files(self.name, stale, rewrite_history=False, repo_type="dataset")
