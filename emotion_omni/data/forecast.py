"""From a pilot: how long a whole plan takes, how much it costs and weighs, each with an interval."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from emotion_omni.data.plan import CorpusPlan, ServerWriter
from emotion_omni.types import EmotionOmniError

FEWEST = 20  # dialogues of a pilot
DRAWS = 2000  # bootstrap samples (Efron 1979)
LEVEL = 0.95


def forecast(plan: CorpusPlan, pilot: Path, dialogues: int, workers: int) -> dict[str, Any]:
    """``pilot``: the folder of a finished build of the first dialogues of a plan like this one.

    Hours are those of speaking and filtering, divided by the workers; a server works meanwhile. Raises
    :class:`EmotionOmniError` (code ``pilot``) for a folder that holds too few timed dialogues.
    """
    runs = _runs(pilot)
    seconds = np.array([value for run in runs for value in run["samples"]])
    if len(seconds) < FEWEST:
        raise EmotionOmniError(
            f"{str(pilot)!r} holds {len(seconds)} timed dialogues; a forecast needs {FEWEST}. "
            "Run data build with --limit 50 into a new folder first.",
            "pilot",
        )
    size, kept, tried = _size(pilot)
    low, high = interval_of_mean(seconds)
    found: dict[str, Any] = {
        "pilot_dialogues": len(seconds),
        "dialogues": dialogues,
        "workers": workers,
        "level": LEVEL,
        "hours": _range(seconds.mean(), low, high, dialogues / 3600 / workers, 2),
        "keep_rate": _keep(kept, tried),
        "gigabytes": round(size / max(tried, 1) * dialogues / 1e9, 3),
    }
    tokens = {name: sum(run["tokens"].get(name, 0) for run in runs) for name in ("in", "out")}
    if isinstance(plan.writer, ServerWriter) and any(tokens.values()):
        each = {name: count / len(seconds) for name, count in tokens.items()}
        found["tokens"] = {name: round(count * dialogues) for name, count in each.items()}
        cost = (each["in"] * plan.writer.price_in + each["out"] * plan.writer.price_out) * dialogues / 1e6
        found["cost"] = round(cost, 2)
    return found


def interval_of_mean(values: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / total
    centre, spread = share + z * z / (2 * total), z * math.sqrt((share * (1 - share) + z * z / (4 * total)) / total)
    return (centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total)


def as_text(found: dict[str, Any]) -> str:
    hours, kept = found["hours"], found["keep_rate"]
    lines = [
        f"Forecast for {found['dialogues']} dialogues on {found['workers']} workers, from {found['pilot_dialogues']}:",
        f"hours     {hours['mean']} [{hours['low']}, {hours['high']}]",
        f"kept      {kept['mean']:.0%} [{kept['low']:.0%}, {kept['high']:.0%}]",
        f"disk      {found['gigabytes']} GB",
    ]
    if "tokens" in found:
        lines.append(f"tokens    {found['tokens']['in']} in, {found['tokens']['out']} out; cost {found['cost']}")
    return "\n".join(lines)


def _range(mean: float, low: float, high: float, factor: float, digits: int) -> dict[str, float]:
    return {name: round(value * factor, digits) for name, value in (("mean", mean), ("low", low), ("high", high))}


def _keep(kept: int, tried: int) -> dict[str, float]:
    low, high = wilson(kept, max(tried, 1))
    return {"mean": round(kept / max(tried, 1), 4), "low": round(low, 4), "high": round(high, 4)}


def _runs(pilot: Path) -> list[dict[str, Any]]:
    try:
        return [run for run in json.loads((pilot / "times.json").read_bytes()) if run.get("samples")]
    except (OSError, ValueError) as error:
        raise EmotionOmniError(
            f"{str(pilot)!r} holds no times.json. Run data build with --limit 50 into it first.", "pilot"
        ) from error


def _size(pilot: Path) -> tuple[int, int, int]:
    """Bytes of data, dialogues kept, dialogues tried, of the finished shards."""
    ledgers = [json.loads(path.read_bytes()) for path in sorted((pilot / "ledger").glob("*.json"))]
    size = sum(path.stat().st_size for path in (pilot / "data").glob("*.parquet"))
    return size, sum(one["kept"] for one in ledgers), sum(one["tried"] for one in ledgers)
