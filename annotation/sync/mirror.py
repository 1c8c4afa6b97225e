"""A private copy of the studio on Hugging Face: the event log and the sounds, from which all else can be rebuilt.

A Space forgets its disk at every restart. So the log's segments and the clips are mirrored to a private dataset
repository, in commits of what changed, and fetched again at the start. The repository's listing gives the length and
the hash of every file, which is enough to see whether the log here continues the one there without fetching it. When
a person withdraws, their traces are erased there as here, from past versions too.

It knows two things about events: an erased one takes the place of another, and which sounds items hold. The signing key
and the database are not mirrored.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation.store.files import replace_file
from annotation.sync import local_files, restoring
from annotation.sync.difference import Contradiction, Difference, find_difference
from annotation.sync.local_files import SOUND, File, Fingerprint, Stamp, describe, fingerprint, is_same, stamp
from annotation.sync.repository import Repository
from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

LONGEST_BACKOFF = 8  # times the usual wait
ERASING = "ERASING"  # in the repository while a person is erased from the head, but not yet from the past
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


class Mirror:
    """Keeps the dataset repository ``repo`` ("owner/name") the same as the folder ``home``.

    ``push`` and ``restore`` raise ``EmotionOmniError``: ``public-repo``, ``diverged``, ``mirror-damaged``, or
    ``mirror`` where the Hub cannot be reached or refuses. The background thread raises nothing; see ``status``.
    """

    def __init__(
        self, home: Path, repo: str, token: str | None, endpoint: str | None = None, every_seconds: float = 300.0
    ) -> None:
        self.home, self.every_seconds = home, every_seconds
        self.repository = Repository(repo, token, endpoint)
        self._head: str | None = None  # the commit that is known, and what it holds
        self._files: dict[str, File] = {}
        self._last_success: float | None = None
        self._load_state()
        self._compared: dict[str, Stamp | None] = {}  # segments as they were when last compared
        self._pushed: Fingerprint | None = None
        self._error: str | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_environment(cls, home: Path) -> Mirror | None:
        """The mirror ``STUDIO_REPO``, with the token ``STUDIO_HF_TOKEN`` or ``HF_TOKEN``; None where no name is set."""
        repo = os.environ.get("STUDIO_REPO", "").strip()
        if not repo:
            return None
        token = (os.environ.get("STUDIO_HF_TOKEN") or os.environ.get("HF_TOKEN") or "").strip()
        if not token:
            raise EmotionOmniError(
                f"STUDIO_REPO asks for a backup to {repo[:80]}, but there is no token. Set HF_TOKEN to one that may "
                "write there.",
                "bad-setting",
            )
        return cls(home, repo, token)

    # -- restore

    def restore(self) -> int:
        """Before the store is opened: fetch the copy if the log here is empty, or a beginning of the one there.

        Returns the number of events fetched: 0 where the log here has all events. Nothing changes on error. If the Hub
        cannot be reached, an empty studio does not start (it would diverge from its backup); one with events does.
        """
        with self._lock:
            restoring.tidy(self.home)
            segments = local_files.contents(local_files.segments(self.home))
            try:
                with self.repository.plain_errors():
                    return self._restore(segments)
            except EmotionOmniError as error:
                if error.code != "mirror" or not any(segments.values()):
                    raise
                self._error = str(error)
                log.warning("Started without asking the backup. %s", error)
                return 0
            finally:
                restoring.tidy(self.home)

    def _restore(self, segments: Mapping[str, bytes]) -> int:
        head = self.repository.private_head()
        self._list_files(head)
        difference = self._difference(head, segments, set(segments))
        if difference.newer_here and difference.newer_there:
            raise self._diverged("each has something that the other lacks")
        if not difference.newer_there:
            return 0
        events = restoring.fetch_into(self.home, self.repository, head, self._files)
        self._save_state()
        return events - sum(data.count(b"\n") for data in segments.values())

    # -- push

    def push(self) -> bool:
        """Make the copy what is here now, in one commit (more for over 10,000 files) → whether anything was sent."""
        with self._lock:
            try:
                with self.repository.plain_errors():
                    before = fingerprint(self.home)
                    changed = self._push(before)
                    self._last_success = time.time()
                    self._save_state()
            except EmotionOmniError as error:
                self._error, self._head = str(error), None  # how far it came is unknown: list the files again
                raise
            self._error, self._pushed = None, before
            return changed

    def _push(self, before: Fingerprint) -> bool:
        head = self.repository.private_head()
        if head != self._head:
            self._list_files(head)
        # The order matters. A segment that exists when the folder is listed is read after all those before it were
        # full, and a sound is there before the event that names it: what is sent is always a state the studio was in.
        segments = local_files.segments(self.home)
        changed = local_files.contents(segments, [path for path in segments if self._has_changed(path, segments[path])])
        sounds = local_files.sounds(self.home)
        difference = self._difference(head, changed, set(segments))
        if difference.newer_there:
            raise self._diverged("the backup has events that the log here lacks")
        missing = [path for path in self._files if SOUND.fullmatch(path) and path not in sounds]
        gone = self._no_longer_held(segments, missing)
        new = {path: file for path, file in sounds.items() if path not in self._files}
        sent = self._send(head, changed, new, gone, difference.rewritten)
        self._compared = {path: now for path, now in before if path in segments}
        return sent

    def _has_changed(self, path: str, segment: Path) -> bool:
        return path not in self._compared or stamp(segment) != self._compared[path]

    def _no_longer_held(self, segments: Mapping[str, Path], missing: Sequence[str]) -> list[str]:
        """Of the sounds missing here, those that no item holds. The others were lost; the backup keeps them."""
        held = local_files.sounds_held(local_files.contents(segments)) if missing else set()
        gone = [path for path in missing if Path(path).stem not in held]
        if len(gone) < len(missing):
            lost, name = len(missing) - len(gone), self.repository.name
            log.warning("%d sounds that items hold are missing here; the backup %s keeps them.", lost, name)
        return gone

    def _send(
        self, head: str, segments: Mapping[str, bytes], new: Mapping[str, Path], gone: Sequence[str], rewritten: bool
    ) -> bool:
        adds: dict[str, bytes | Path] = dict(new)
        for path, data in {**segments, "README.md": CARD}.items():
            if data and (path not in self._files or not is_same(data, self._files[path])):
                adds[path] = data
        erases = rewritten or bool(gone) or ERASING in self._files
        if erases and ERASING not in self._files:
            adds = {ERASING: ERASING_TEXT, **adds}  # first, in case there is more than one commit
        self._commit(head, adds, gone, "Erase who has withdrawn" if erases else "Backup")
        if erases:
            self._erase_past()
        return bool(adds or gone or erases)

    def _commit(self, head: str, adds: Mapping[str, bytes | Path], deletes: Sequence[str], title: str) -> None:
        self._head = self.repository.commit(head, adds, deletes, title)
        self._files |= {path: describe(data) for path, data in adds.items()}
        for path in deletes:
            del self._files[path]

    def _erase_past(self) -> None:
        """Delete past versions and the large files that only they used; last the mark that this is still to be done."""
        self.repository.squash()
        head = self.repository.private_head()
        self._list_files(head)
        self.repository.delete_stale_objects(self._files, ("log/", "audio/"))
        self._commit(head, {}, [ERASING], "Backup")

    def _list_files(self, head: str) -> None:
        """Ask the repository for its files; what was remembered no longer counts."""
        self._files = self.repository.files(head)
        self._head, self._compared = head, {}

    def _difference(self, head: str, segments: Mapping[str, bytes], names: set[str]) -> Difference:
        try:
            return find_difference(segments, names, self._files, lambda paths: self.repository.fetch(head, paths))
        except Contradiction as error:
            raise self._diverged(str(error)) from None

    def _diverged(self, reason: str) -> EmotionOmniError:
        return EmotionOmniError(
            f"The log here and its backup {self.repository.name} have diverged: {reason}. To keep the log here, set "
            "STUDIO_REPO to a new name. To take the backup, stop the studio, move the folder 'log' and the file "
            "'studio.db' away, and start it again.",
            "diverged",
        )

    # -- what was sent last: the id of a commit stands for its whole content, so files are listed only when it changes

    def _load_state(self) -> None:
        try:
            state = json.loads((self.home / "mirror.json").read_text())
            if state["repo"] == self.repository.name:
                files = {path: (length, name) for path, (length, name) in state["files"].items()}
                self._head, self._files, self._last_success = state["head"], files, state["last_success"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # the repository is asked instead

    def _save_state(self) -> None:
        state = {"head": self._head, "files": self._files, "last_success": self._last_success}
        replace_file(self.home / "mirror.json", json.dumps({"repo": self.repository.name} | state).encode())

    # -- in the background

    def start(self) -> None:
        """Push now, then whenever something has changed, at most once in ``every_seconds``."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="mirror")
        self._thread.start()

    def flush(self) -> None:
        """Push soon; returns at once. Only for events such as a withdrawal: the Hub limits the commits an hour."""
        self._wake.set()

    def stop(self, seconds: float = 60.0) -> None:
        """Push a last time, waiting at most so long."""
        if self._thread is None:
            return
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("The last backup to %s was not finished within %.0f s.", self.repository.name, seconds)
        self._thread = None

    def status(self) -> dict[str, Any]:
        """``last_success``: seconds since 1970 or None; ``pending``: something here is not there yet."""
        return {
            "repo": self.repository.name,
            "running": self._thread is not None and self._thread.is_alive(),
            "last_success": self._last_success,
            "pending": self._is_pending(),
            "last_error": self._error,
        }

    def _is_pending(self) -> bool:
        return self._pushed is None or fingerprint(self.home) != self._pushed

    def _run(self) -> None:
        wait = 0.0
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            last = self._stopping.is_set()  # read before the push, so that everything written before is in it
            wait = self._push_if_needed()
            if last:
                return

    def _push_if_needed(self) -> float:
        """→ seconds until the next time: after failures an eighth of the usual, then twice as long each time."""
        if not self._is_pending():
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
