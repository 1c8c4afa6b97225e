"""Several processes learn the same as one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from tiny_training import (
    TINY,
    command,
    environment,
    same_steps,
)

from emotion_omni import checkpoint, cli
from emotion_omni.omni.model import UNDERSTAND

SHARDED = """
import os, sys
os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
                  FSDP_TRANSFORMER_CLS_TO_WRAP="Qwen2DecoderLayer,Block", FSDP_CPU_RAM_EFFICIENT_LOADING="false")
from accelerate import PartialState
from accelerate.utils import DistributedType
PartialState(cpu=True)  # accelerate shards on accelerators only; pretend that these are such
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
from emotion_omni import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["replicated", "sharded"])
def test_two_processes_learn_the_same_as_one(sounds, tmp_path, way):
    config, program = tmp_path / "config.json", tmp_path / "sharded.py"
    config.write_text(TINY.to_json())
    program.write_text(SHARDED)
    more = (
        "--batch-size",
        "3",
        "--epochs",
        "2",
        "--gradient-accumulation-steps",
        "2",
    )  # batches of 3 and 1: the second process has an empty micro-batch
    what = ["-m", "emotion_omni"] if way == "replicated" else [str(program)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *what]
    subprocess.run(
        [*launch, *command(sounds, tmp_path / "two", config, *more)], env=environment(), check=True, capture_output=True
    )
    assert cli.main(command(sounds, tmp_path / "one", config, *more)) == 0
    same_steps(tmp_path / "one", tmp_path / "two", 1e-5)
    assert json.loads((tmp_path / "two" / "report.json").read_text())["processes"] == 2
    one, two = (checkpoint.load(tmp_path / name / "last")[0].trained_state_dict(UNDERSTAND) for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], atol=2e-4) for name, value in one.items())
