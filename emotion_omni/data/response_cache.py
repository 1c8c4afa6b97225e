"""What servers and models answered, by the content of the request: nothing is paid twice, and a rebuild repeats it.

A file an answer, named by the SHA-256 of the request, written whole or not at all. Two processes that write the same
one write the same request's answer; the first stays. Needs no lock, so it works on network file systems.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from emotion_omni.data.files import write_whole


class ResponseCache:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a request; ``None`` if there is none, or a damaged one."""
        try:
            found = json.loads(self._path(request).read_bytes())
            return found["answer"] if isinstance(found["answer"], dict) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        path = self._path(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"request": request, "answer": answer}, ensure_ascii=False).encode())

    def _path(self, request: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"
