"""Sharing the processors, and describing them. Called by the entry points, never at import."""

from __future__ import annotations

import os
import platform
import resource

THREADS = 2  # per network: the target machine has two cores


def disable_thread_spinning() -> None:
    """Let idle threads sleep instead of spin. Must run before torch or CTranslate2 are loaded.

    Spinning threads of one library take the cores from the next: two busy processes then decode ten times slower
    (measured). Variables that the user has set stay.
    """
    for name, value in (
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("GOMP_SPINCOUNT", "0"),
        ("KMP_BLOCKTIME", "0"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)


def describe() -> dict[str, str | int | float]:
    """The machine, for a benchmark's report."""
    model, memory = platform.processor() or platform.machine(), 0.0
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):  # not Linux: only the plain name is known
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def peak_megabytes() -> float:
    """Peak resident memory of this process in MB of 10⁶ bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if platform.system() == "Darwin" else 1024) / 1e6
