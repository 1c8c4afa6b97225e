"""A private copy of the studio on Hugging Face: the event log and the sounds, from which all else can be rebuilt.

A Space forgets its disk at every restart. So the log's segments and the clips are mirrored to a private dataset
repository, in commits of what changed, and fetched again at the start. The repository's listing says of every file
how long it is and what its hash is, which is enough to tell whether the log here continues the one there, without
fetching it. Two logs that contradict each other are never merged, and neither is ever overwritten: that is an error.
Who withdraws is erased there as here, from the past versions too.

Of what the events mean it knows only that an erased one takes the place of another, and which sounds items hold. The
key that signs the sessions and the database are not mirrored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, get_session

from annotation.store.event_log import decode
from annotation.store.files import replace_file
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

# What the client raises: HTTP and network (HTTPError, OSError), uploads (RuntimeError), answers it cannot read (ValueError, KeyError).
FAILURES = (HTTPError, OSError, RuntimeError, ValueError, KeyError)
SILENCE_SECONDS = 60.0  # without a byte from the Hub; its client would wait for ever
LONGEST_BACKOFF = 8  # times the usual wait
MOST_OPERATIONS = 10_000  # a commit; the Hub takes 25,000 large files
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SEGMENT = re.compile(r"log/[0-9]{6,}\.jsonl")
SOUND = re.compile(r"audio/([0-9a-f]{2})/(\1[0-9a-f]{62})\.flac")
ERASING = "ERASING"  # in the repository while somebody is erased from the head, but not yet from the past
ERASING_TEXT = b"Somebody has withdrawn. The past versions of this backup are being deleted.\n"
CARD = b"""---
viewer: false
---
# A private backup

Emotion Omni Studio keeps this copy by itself, and reads it when it starts with an empty folder. Keep it private: it
holds the names and voices of people. Please change nothing by hand; the studio refuses a backup that contradicts it.

- `log/`: everything that happened, one event a line, each with a checksum
- `audio/`: the sounds, named by the SHA-256 of their bytes

Whoever withdraws is erased here too, past versions included.
"""

File = tuple[int, str]  # length in bytes; SHA-256 of the content, or git's id of it
Seen = tuple[int, int, int]  # length, time of change, inode
Fingerprint = tuple[tuple[str, Seen | None], ...]  # of the log's segments and the sounds' folders


@dataclass(frozen=True)
class Difference:
    """Has the log here, or the one there, what the other lacks? ``rewritten``: events that are there are erased here."""

    here: bool
    there: bool
    rewritten: bool


class Mirror:
    """Keeps the dataset repository ``repo`` ("owner/name") the same as the folder ``home``.

    ``push`` and ``restore`` raise ``EmotionOmniError``: ``public-repo``, ``diverged``, ``mirror-damaged``, or ``mirror``
    where the Hub cannot be reached or refuses. The background thread raises nothing; ``status`` tells.
    """

    def __init__(
        self, home: Path, repo: str, token: str | None, endpoint: str | None = None, every_seconds: float = 300.0
    ) -> None:
        if not NAME.fullmatch(repo):
            raise EmotionOmniError(
                f"{repo[:80]!r} names no repository. STUDIO_REPO needs owner and name: 'me/ratings'.", "bad-setting"
            )
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise EmotionOmniError(
                "The Hugging Face token has characters that no token has. Copy it into HF_TOKEN again.", "bad-setting"
            )
        disable_progress_bars()  # they would fill a server's log
        self.home, self.repo, self.every_seconds = home, repo, every_seconds
        self._token = token
        self._hub = HfApi(
            endpoint=endpoint, token=token or False
        )  # False: never the token of whoever is signed in on this computer
        self._head, self._files, self._last_success = self._recall()
        self._read: dict[str, Seen | None] = {}  # segments as they were when last compared
        self._pushed: Fingerprint | None = None
        self._error: str | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_environment(cls, home: Path) -> Mirror | None:
        """The mirror named by ``STUDIO_REPO``, with the token in ``STUDIO_HF_TOKEN`` or ``HF_TOKEN``; None where no name is set."""
        repo = os.environ.get("STUDIO_REPO", "").strip()
        if not repo:
            return None
        token = (os.environ.get("STUDIO_HF_TOKEN") or os.environ.get("HF_TOKEN") or "").strip()
        if not token:
            raise EmotionOmniError(
                f"STUDIO_REPO asks for a backup to {repo[:80]}, but there is no token. Set HF_TOKEN to one that may write there.",
                "bad-setting",
            )
        return cls(home, repo, token)

    # -- the start

    def restore(self) -> int:
        """Before the store is opened: take the mirror's log and sounds if the log here is empty, or a beginning of it.

        Returns the number of events taken: 0 where the log here has all that the mirror has. Nothing changes on error.
        If the Hub cannot be reached, an empty studio does not start (it would grow apart from its backup); another does.
        """
        with self._lock:
            self._tidy()
            segments = _contents(self._segments())
            try:
                with self._plainly():
                    return self._restore(segments)
            except EmotionOmniError as error:
                if error.code != "mirror" or not any(segments.values()):
                    raise
                self._error = str(error)
                log.warning("Started without asking the backup. %s", error)
                return 0
            finally:
                self._tidy()

    def _restore(self, segments: Mapping[str, bytes]) -> int:
        head = self._private_head()
        self._learn(head)
        found = self._difference(head, segments, set(segments))
        if found.here and found.there:
            raise self._diverged("each has something that the other lacks")
        return self._take(head) - sum(data.count(b"\n") for data in segments.values()) if found.there else 0

    def _take(self, head: str) -> int:
        """Fetch everything into a folder aside, check it, then put it in place → the number of events."""
        aside = self.home / "restoring"
        wanted = [path for path in self._files if SEGMENT.fullmatch(path) or SOUND.fullmatch(path)]
        options: dict[str, Any] = {"repo_type": "dataset", "revision": head, "allow_patterns": ["log/*", "audio/*"]}
        self._hub.snapshot_download(self.repo, local_dir=aside, **options)
        events = self._checked(aside, wanted)
        os.sync()
        for path in wanted:
            if SOUND.fullmatch(path):
                (self.home / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(aside / path, self.home / path)
        if (self.home / "log").exists():
            os.replace(self.home / "log", self.home / "log.before")
        os.replace(aside / "log", self.home / "log")
        self._remember()
        return events

    def _checked(self, aside: Path, wanted: list[str]) -> int:
        """Is all there, and is it what its name, its hash and its checksums say? → the number of events."""
        for path in wanted:
            sound = SOUND.fullmatch(path)
            name = sound[2] if sound else self._files[path][1]
            if not (aside / path).is_file() or not _is_named((aside / path).read_bytes(), name):
                raise self._damaged(f"{path} is not what its hash says")
        events = 0
        for place, path in enumerate(sorted(filter(SEGMENT.fullmatch, wanted))):
            if path != f"log/{place:06d}.jsonl":
                raise self._damaged(f"log/{place:06d}.jsonl is missing")
            for number, line in enumerate((aside / path).read_bytes().splitlines(), 1):
                events += 1
                if self._sequence(line, f"{path}, line {number}") != events:
                    raise self._damaged(f"{path}, line {number}, is not event {events}")
        return events

    def _sequence(self, line: bytes, place: str) -> int:
        try:
            return decode(line, place)["sequence"]
        except EmotionOmniError:
            raise self._damaged(f"the checksum of {place}, does not fit") from None

    def _tidy(self) -> None:
        """Remove what a restore leaves, and what one that was killed has left."""
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.home / "restoring", ignore_errors=True)
        if not (self.home / "log").exists() and (self.home / "log.before").exists():
            os.replace(self.home / "log.before", self.home / "log")
        shutil.rmtree(self.home / "log.before", ignore_errors=True)

    # -- sending

    def push(self) -> bool:
        """Make the mirror what is here now, in one commit (more for over 10,000 files) → whether anything had to be sent."""
        with self._lock:
            try:
                with self._plainly():
                    before = self._fingerprint()
                    changed = self._push(before)
                    self._last_success = time.time()
                    self._remember()
            except EmotionOmniError as error:
                self._error, self._head = str(error), None  # who knows how far it came: look again
                raise
            self._error, self._pushed = None, before
            return changed

    def _push(self, before: Fingerprint) -> bool:
        head = self._private_head()
        if head != self._head:
            self._learn(head)
        # The order matters. A segment that exists when the folder is listed is read after all those before it were full,
        # and a sound is there before the event that names it: so what is sent is always a state the studio was in.
        seen = self._segments()
        changed = _contents(
            seen, [path for path, file in seen.items() if path not in self._read or _stamp(file) != self._read[path]]
        )
        sounds = {path.relative_to(self.home).as_posix(): path for path in (self.home / "audio").glob("??/*.flac")}
        found = self._difference(head, changed, set(seen))
        if found.there:
            raise self._diverged("the backup has events that the log here lacks")
        gone = self._no_longer_held(
            seen, [path for path in self._files if SOUND.fullmatch(path) and path not in sounds]
        )
        new = {path: file for path, file in sounds.items() if SOUND.fullmatch(path) and path not in self._files}
        sent = self._send(head, changed, new, gone, found.rewritten)
        self._read = {path: now for path, now in before if path in seen}
        return sent

    def _no_longer_held(self, segments: Mapping[str, Path], missing: list[str]) -> list[str]:
        """Of the sounds missing here, those that no item of the log holds. The others were lost: the backup is there for them."""
        held = _sounds_held(_contents(segments)) if missing else set()
        gone = [path for path in missing if Path(path).stem not in held]
        if len(gone) < len(missing):
            log.warning(
                "%d sounds that items hold are missing here; the backup %s keeps them.",
                len(missing) - len(gone),
                self.repo,
            )
        return gone

    def _send(
        self, head: str, segments: Mapping[str, bytes], new: Mapping[str, Path], gone: list[str], rewritten: bool
    ) -> bool:
        adds: dict[str, bytes | Path] = dict(new)
        for path, data in {**segments, "README.md": CARD}.items():
            if data and (path not in self._files or not _is_file(data, self._files[path])):
                adds[path] = data
        erases = rewritten or bool(gone) or ERASING in self._files
        if erases and ERASING not in self._files:
            adds = {ERASING: ERASING_TEXT, **adds}  # first, should there be more than one commit
        self._head = self._commit(head, adds, gone, "Erase who has withdrawn" if erases else "Backup")
        if erases:
            self._forget_the_past()
        return bool(adds or gone or erases)

    def _commit(self, head: str, adds: Mapping[str, bytes | Path], gone: list[str], title: str) -> str:
        """The repository must still be at ``head``, else the Hub refuses: somebody else has written → the new head."""
        operations: list[Any] = [CommitOperationAdd(path, data) for path, data in adds.items()]
        operations += [CommitOperationDelete(path) for path in gone]
        for start in range(0, len(operations), MOST_OPERATIONS):
            some = operations[start : start + MOST_OPERATIONS]
            about: dict[str, Any] = {"repo_type": "dataset", "commit_message": title, "parent_commit": head or None}
            head = self._hub.create_commit(self.repo, some, **about).oid
        self._files |= {path: _file(path, data) for path, data in adds.items()}
        for path in gone:
            del self._files[path]
        return head

    def _forget_the_past(self) -> None:
        """Past versions go, and the large files that only they used; last the mark that says this is still to be done."""
        self._hub.super_squash_history(self.repo, repo_type="dataset", commit_message="Backup, its past erased")
        head = self._private_head()
        self._learn(head)
        large = [
            file
            for file in self._hub.list_lfs_files(self.repo, repo_type="dataset")
            if file.filename.startswith(("log/", "audio/"))
        ]
        known = {name for file in large for name in (file.oid, file.file_oid)}
        stale = []
        for file in large:
            name = self._files.get(file.filename, (0, ""))[1]
            # an object under a name still in use goes only where the one in use is itself in the list
            if not name or (name in known and name not in (file.oid, file.file_oid)):
                stale.append(file)
        self._hub.permanently_delete_lfs_files(self.repo, stale, rewrite_history=False, repo_type="dataset")
        self._head = self._commit(head, {}, [ERASING], "Backup")

    # -- comparing

    def _private_head(self) -> str:
        """The newest commit of the repository, made if it is missing. Refuses one that others can read."""
        get_session().timeout = SILENCE_SECONDS  # the client is shared and made anew after some errors, so each time
        try:
            about = self._hub.repo_info(self.repo, repo_type="dataset", timeout=SILENCE_SECONDS)
        except RepositoryNotFoundError:
            self._hub.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)
            about = self._hub.repo_info(self.repo, repo_type="dataset", timeout=SILENCE_SECONDS)
        if about.private is not True:
            raise EmotionOmniError(
                f"The repository {self.repo} is public; a backup with people's names and voices must be private. "
                "Make it private in its settings, or set STUDIO_REPO to another name.",
                "public-repo",
            )
        return about.sha or ""

    def _learn(self, head: str) -> None:
        """Ask the repository what it holds; what was remembered no longer counts."""
        tree = self._hub.list_repo_tree(self.repo, recursive=True, revision=head or None, repo_type="dataset")
        self._files = {
            file.path: (file.size, file.lfs.sha256 if file.lfs else file.blob_id)
            for file in tree
            if isinstance(file, RepoFile)
        }
        self._head, self._read = head, {}

    def _difference(self, head: str, segments: Mapping[str, bytes], names: set[str]) -> Difference:
        """``segments``: those here that may differ; ``names``: of all that are here. Fetches only what is no plain continuation."""
        missing = [
            path for path in self._files if SEGMENT.fullmatch(path) and self._files[path][0] and path not in names
        ]
        unclear = {
            path: data
            for path, data in segments.items()
            if path in self._files and not _continues(data, self._files[path])
        }
        here = any(
            len(data) > self._files.get(path, (0, ""))[0] for path, data in segments.items() if path not in unclear
        )
        there = bool(missing)
        for path, data in self._fetch(head, list(unclear)).items():
            newer_here, newer_there = self._compare(unclear[path], data, path)
            here, there = here or newer_here, there or newer_there
        return Difference(here, there, bool(unclear) and not there)

    def _compare(self, here: bytes, there: bytes, place: str) -> tuple[bool, bool]:
        """Has one version of a segment what the other lacks: later events, or erased ones?"""
        ours, theirs = here.splitlines(), there.splitlines()
        newer_here, newer_there = len(ours) > len(theirs), len(theirs) > len(ours)
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                mine, yours = decode(one, f"{place} here"), decode(other, f"{place} in the backup")
                if mine["sequence"] != yours["sequence"] or "erased" not in (mine["event"], yours["event"]):
                    raise self._diverged(f"event {mine['sequence']} is not the same")
                newer_here, newer_there = (
                    newer_here or mine["event"] == "erased",
                    newer_there or yours["event"] == "erased",
                )
        return newer_here, newer_there

    def _fetch(self, head: str, paths: list[str]) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"repo_type": "dataset", "revision": head, "local_dir": folder}
            return {path: Path(self._hub.hf_hub_download(self.repo, path, **options)).read_bytes() for path in paths}

    def _segments(self) -> dict[str, Path]:
        found = {f"log/{path.name}": path for path in sorted((self.home / "log").glob("[0-9]*.jsonl"))}
        return {path: file for path, file in found.items() if SEGMENT.fullmatch(path)}

    def _fingerprint(self) -> Fingerprint:
        """Changes whenever the log does, or a sound comes or goes (its folder's time of change)."""
        folders = {folder.name: folder for folder in (self.home / "audio").glob("??")}
        return tuple((name, _stamp(path)) for name, path in sorted((self._segments() | folders).items()))

    # -- what was sent last

    def _recall(self) -> tuple[str | None, dict[str, File], float | None]:
        try:
            known = json.loads((self.home / "mirror.json").read_text())
            if known["repo"] == self.repo:
                return (
                    known["head"],
                    {path: (length, name) for path, (length, name) in known["files"].items()},
                    known["last_success"],
                )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # the repository is asked instead
        return None, {}, None

    def _remember(self) -> None:
        """The head's id names the repository's whole content: while it is the same, so are these files."""
        known = {"repo": self.repo, "head": self._head, "files": self._files, "last_success": self._last_success}
        replace_file(self.home / "mirror.json", json.dumps(known).encode())

    # -- in the background

    def start(self) -> None:
        """Push now, then whenever something has changed, ``every_seconds`` at most."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="mirror")
        self._thread.start()

    def flush(self) -> None:
        """Push soon; returns at once. For moments that matter, such as a withdrawal: the Hub limits the commits an hour."""
        self._wake.set()

    def stop(self, seconds: float = 60.0) -> None:
        """A last push, waited for so long."""
        if self._thread is None:
            return
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("The last backup to %s was not finished within %.0f s.", self.repo, seconds)
        self._thread = None

    def status(self) -> dict[str, Any]:
        """``last_success``: seconds since 1970, or None; ``pending``: something here is not there yet; ``last_error``: or None."""
        pending = self._pushed is None or self._fingerprint() != self._pushed
        running = self._thread is not None and self._thread.is_alive()
        return {
            "repo": self.repo,
            "running": running,
            "last_success": self._last_success,
            "pending": pending,
            "last_error": self._error,
        }

    def _run(self) -> None:
        wait = 0.0
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            last = self._stopping.is_set()  # asked before the push, so that all that was written before is in it
            wait = self._push_if_needed()
            if last:
                return

    def _push_if_needed(self) -> float:
        """→ how long to wait until the next time: after failures an eighth of the usual, then twice as long each time."""
        if self._pushed is not None and self._fingerprint() == self._pushed:
            return self.every_seconds
        try:
            self.push()
        except EmotionOmniError as error:
            wait = self.every_seconds * min(LONGEST_BACKOFF, 2 ** (min(self._failures, 10) - 3))
            self._failures += 1
            log.warning("%s Next try in %.0f s.", error, wait)
            return wait
        self._failures = 0
        return self.every_seconds

    # -- errors

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Whatever the client raises becomes one error, with the token in neither its words nor its cause."""
        try:
            yield
        except FAILURES as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            told = told.replace(self._token, "[token]") if self._token else told
            raise EmotionOmniError(
                f"The backup {self.repo} cannot be used now ({told[:300]}). Check the network, the name and the token's rights.",
                "mirror",
            ) from None

    def _diverged(self, reason: str) -> EmotionOmniError:
        return EmotionOmniError(
            f"The log here and its backup {self.repo} have grown apart: {reason}. To keep the log here, set STUDIO_REPO to a new name. "
            "To take the backup, stop the studio, move the folder 'log' and the file 'studio.db' away, and start it again.",
            "diverged",
        )

    def _damaged(self, reason: str) -> EmotionOmniError:
        return EmotionOmniError(
            f"The backup {self.repo} is damaged: {reason}. Nothing was changed here. Go back to an earlier version of the repository, "
            "or set STUDIO_REPO to a new name.",
            "mirror-damaged",
        )


def _contents(segments: Mapping[str, Path], wanted: Iterable[str] | None = None) -> dict[str, bytes]:
    """Segments, all or those ``wanted``, up to the last newline; the newest up to its last whole operation. More is being written."""
    found = {path: segments[path].read_bytes() for path in (segments if wanted is None else wanted)}
    found = {path: data[: data.rfind(b"\n") + 1] for path, data in found.items()}
    newest = max(segments, default="")
    lines = found.get(newest, b"").splitlines(keepends=True)
    while lines and "more" in decode(lines[-1].rstrip(b"\n"), f"{newest}, line {len(lines)}"):
        lines.pop()
    return found | ({newest: b"".join(lines)} if newest in found else {})


def _sounds_held(segments: Mapping[str, bytes]) -> set[str]:
    """The hashes of the sounds in all items that were added and not erased, in studies that were not deleted."""
    held: dict[str, set[str]] = {}
    for path, data in sorted(segments.items()):
        for number, line in enumerate(data.splitlines(), 1):
            if b'"items.added"' in line or b'"study.deleted"' in line:
                event = decode(line, f"{path}, line {number}")
                if event["event"] == "items.added":
                    held.setdefault(event["study"], set()).update(re.findall(r'"([0-9a-f]{64})"', line.decode()))
                elif event["event"] == "study.deleted":
                    held.pop(event["study"], None)
    return set().union(*held.values())


def _stamp(path: Path) -> Seen | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_named(data: bytes, name: str) -> bool:
    """Is this the content with that id: 64 digits of SHA-256 (large files), or 40 of git's own, SHA-1 of "blob", length, content?"""
    if len(name) == 64:
        return hashlib.sha256(data).hexdigest() == name
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == name


def _is_file(data: bytes, file: File) -> bool:
    return len(data) == file[0] and _is_named(data, file[1])


def _continues(data: bytes, file: File) -> bool:
    """Does the content begin with that file?"""
    return len(data) >= file[0] and _is_named(data[: file[0]], file[1])


def _file(path: str, data: bytes | Path) -> File:
    if isinstance(data, Path):  # a sound: its name is its hash
        return data.stat().st_size, data.stem
    return len(data), hashlib.sha256(data).hexdigest()
