"""Where the reports of engines lie, for the page that links them: ``reports`` in the home folder. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emotion_omni.home import home_folder

PAGE, DATA = "report.html", "report.json"


def home() -> Path:
    return home_folder() / "reports"


def folder_of(engine: str) -> Path:
    """A folder for any name, readable and never the same for two."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", engine).strip("._")[:60]
    return home() / f"{plain}-{hashlib.sha256(engine.encode()).hexdigest()[:8]}"


def page_of(engine: str) -> Path | None:
    """The page of an engine's newest report."""
    path = folder_of(engine) / PAGE
    return path if path.is_file() else None


def save(engine: str, report: Mapping[str, Any], page: str) -> Path:
    """Replaces an older report of the engine → the page."""
    folder = folder_of(engine)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / DATA, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write(folder / PAGE, page)
    return folder / PAGE


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
