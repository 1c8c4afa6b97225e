"""A GPU on loan, as on a ZeroGPU Space, without one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
ANNOUNCED = """
import sys, torch
# a build without CUDA passes for one with it
torch.version.cuda, torch._C._cuda_init, torch.cuda._is_in_bad_fork = "12.8", lambda: None, bool
from emotion_omni import zero_gpu
zero_gpu.begin()
"""


def give(patch: pytest.MonkeyPatch) -> None:
    """From here on a call is lent a GPU, which the CPU stands for."""
    spaces = ModuleType("spaces")
    spaces.GPU = lambda task=None, duration=None: task or lend
    patch.setitem(sys.modules, "spaces", spaces)
    patch.setenv("SPACES_ZERO_GPU", "true")
    patch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "")  # so that it is restored at the end
    patch.setattr(torch, "set_num_threads", lambda count: None)  # or later tests would have one thread


def lend(task):
    """What ZeroGPU does with a generator: runs it in a thread of a forked process, and pickles arguments and items."""

    def lent(*arguments):
        context = multiprocessing.get_context("fork")
        queue, pickled = context.SimpleQueue(), pickle.dumps(arguments)

        def work():
            for item in task(*pickle.loads(pickled)):
                queue.put(item)
            queue.put(None)

        def child():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        process = context.Process(target=child)
        process.start()
        try:
            while True:
                assert queue._reader.poll(60), "the forked process hangs"
                item = queue.get()
                if item is None:
                    return
                yield item
        finally:
            process.kill()
            process.join()

    return lent


def announced(code: str, *arguments: str) -> str:
    """Run ``code`` where a GPU is announced by the package ``spaces`` itself → the last line it prints."""
    pytest.importorskip("spaces", reason="spaces is not installed (requirements-dev.txt)")
    environment = {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ANNOUNCED + code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]
