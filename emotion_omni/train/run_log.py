"""The log of a training run: log.jsonl, a progress bar, and TensorBoard where it is installed.

``log.jsonl`` has one object per line, ``{"step": 1, "loss": …}`` or ``{"step": 20, "validation": {…}}``. When a run
resumes from a saved state, lines of later steps are dropped, so that the file describes one uninterrupted run.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)

RENAMED = {"held_out": "validation"}  # keys of release 0.1


class RunLog:
    """Of one run; only the main process writes."""

    def __init__(self, folder: Path, done: int, total: int, writes: bool = True) -> None:
        self._file, self._tensorboard, self._bar = None, None, tqdm(disable=True)
        if not writes:
            return
        path = folder / "log.jsonl"
        _keep_steps(path, done)
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = _summary_writer(folder, done)
        interval = 1 if sys.stderr.isatty() else 30
        self._bar = tqdm(total=total, initial=done, unit="step", file=sys.stderr, mininterval=interval)

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """One training step: its losses, learning rate factor and gradient norm."""
        self._write(number, dict(values), values)
        self._bar.set_postfix_str(f"loss {values['loss']:.4f}", refresh=False)
        self._bar.update()

    def validation(self, number: int, values: Mapping[str, float]) -> None:
        """Validation losses after this step."""
        scalars = {f"validation/{name}": value for name, value in values.items()}
        self._write(number, {"validation": dict(values)}, scalars)
        if self._file is not None:
            self._bar.write(f"step {number}: validation loss {values['loss']:.4f}", file=sys.stderr)

    def _write(self, number: int, line: dict[str, Any], scalars: Mapping[str, float]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"step": number} | line) + "\n")
            self._file.flush()
        if self._tensorboard is not None:
            for name, value in scalars.items():
                self._tensorboard.add_scalar(name, value, number)

    def close(self) -> None:
        self._bar.close()
        for file in (self._file, self._tensorboard):
            if file is not None:
                file.close()


def _keep_steps(path: Path, done: int) -> None:
    """Keep the lines of the first ``done`` steps. A last line that a crash cut off is dropped too."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
            step = values["step"]
        except (json.JSONDecodeError, KeyError):
            continue
        if step <= done and done:
            kept.append(json.dumps({RENAMED.get(key, key): value for key, value in values.items()}) + "\n")
    part = path.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    os.replace(part, path)


def _summary_writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed, so only log.jsonl is written. To see curves: pip install tensorboard.")
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
