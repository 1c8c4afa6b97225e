"""What a training run tells while it goes: log.jsonl, a progress bar, and TensorBoard where it is installed.

``log.jsonl`` has one object a line, ``{"step": 1, "loss": …}`` or ``{"step": 20, "held_out": {…}}``. When a
run goes on from a saved state, lines of later steps are dropped, so that the file is that of one run.
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


class Journal:
    """Of one run; only the first process has one that writes."""

    def __init__(self, folder: Path, done: int, total: int, writes: bool = True) -> None:
        self._file, self._board, self._bar = None, None, tqdm(disable=True)
        if not writes:
            return
        path = folder / "log.jsonl"
        _cut(path, done)
        self._file = path.open("a", encoding="utf-8")
        self._board = _board(folder, done)
        self._bar = tqdm(
            total=total, initial=done, unit="step", file=sys.stderr, mininterval=1 if sys.stderr.isatty() else 30
        )

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """One step of training: its losses, rate and gradient norm."""
        self._write(number, dict(values), values)
        self._bar.set_postfix_str(f"loss {values['loss']:.4f}", refresh=False)
        self._bar.update()

    def held_out(self, number: int, values: Mapping[str, float]) -> None:
        """Losses on the held-out rows after this step."""
        self._write(number, {"held_out": dict(values)}, {f"held_out/{name}": value for name, value in values.items()})
        if self._file is not None:
            self._bar.write(f"step {number}: held-out loss {values['loss']:.4f}", file=sys.stderr)

    def _write(self, number: int, line: dict[str, Any], scalars: Mapping[str, float]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"step": number} | line) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, number)

    def close(self) -> None:
        self._bar.close()
        for file in (self._file, self._board):
            if file is not None:
                file.close()


def _cut(path: Path, done: int) -> None:
    """Keep the lines of the first ``done`` steps. A last line that was cut off by a crash goes too."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            step = json.loads(line)["step"]
        except (json.JSONDecodeError, KeyError):
            continue
        if step <= done and done:
            kept.append(line + "\n")
    part = path.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    os.replace(part, path)


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info(
            "TensorBoard is not installed, so the run is written to log.jsonl only. To see curves: pip install tensorboard."
        )
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
