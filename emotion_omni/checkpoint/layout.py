"""The files of a checkpoint, by name, and how repositories, revisions and hashes are written."""

from __future__ import annotations

import re

CONFIG, ABOUT, CARD, ORIGIN = "config.json", "about.json", "README.md", "origin.json"
BEST = "best"  # the best checkpoint of a training run
TENSORS = {"understand": "understand.safetensors", "speak": "speak.safetensors"}  # the file of each stage, in order
FILES = (CONFIG, *TENSORS.values(), ABOUT, CARD)  # all that is pushed; origin.json is local to a pulled checkpoint
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
