"""What a plan covers before anything is spent: counts of every property, and where the built-in texts run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emotion_omni.data.exchange_writer import assign
from emotion_omni.data.plan import CorpusPlan, ServerWriter
from emotion_omni.data.scenarios import Scenario, coverage
from emotion_omni.train import exchanges

SHOWN = ("domain", "emotion", "kind", "split", "turns")


def report(plan: CorpusPlan, rows: Sequence[Scenario]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": plan.name, "dialogues": len(rows), "plan_sha256": plan.sha256}
    found["coverage"] = coverage(rows)
    cells = found["coverage"]["cells"]
    every = len(plan.chosen_domains) * len(plan.chosen_emotions)
    found["cells"] = {"filled": len(cells), "of": every, "fewest": min(cells.values()), "most": max(cells.values())}
    if not isinstance(plan.writer, ServerWriter):
        found["without_text"] = _without_text(plan, rows)
    return found


def _without_text(plan: CorpusPlan, rows: Sequence[Scenario]) -> dict[str, Any]:
    """Scenarios for which no written exchange is left; they will be rejected."""
    assert not isinstance(plan.writer, ServerWriter)
    folder = Path(plan.writer.folder) if plan.writer.folder else exchanges.FOLDER
    given = assign(rows, exchanges.read(folder), plan.seed)
    missing = [row for row in rows if row.index not in given]
    return {"dialogues": len(missing), "by_emotion": dict(sorted(Counter(row.emotion for row in missing).items()))}


def as_text(found: dict[str, Any]) -> str:
    cells = found["cells"]
    lines = [
        f"{found['name']}: {found['dialogues']} dialogues",
        f"domain × emotion: {cells['filled']} of {cells['of']} cells, {cells['fewest']} to {cells['most']} in each",
    ]
    for name in SHOWN:
        counts = found["coverage"][name]
        lines.append(f"{name:9} " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    lines.append(f"voices    {len(found['coverage']['voice'])}")
    missing = found.get("without_text", {"dialogues": 0})
    if missing["dialogues"]:
        tones = ", ".join(f"{name} {count}" for name, count in missing["by_emotion"].items())
        lines.append(
            f"There is no written exchange for {missing['dialogues']} of them ({tones}); they will be rejected. "
            "Plan fewer, or name a server as writer."
        )
    return "\n".join(lines)
