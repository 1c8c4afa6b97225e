"""The gate: no child that loses beyond noise on a guarded measure takes its parent's place.

Only what depends on the parts that differ is measured. A part that no guarded measure could judge is no reason to let a
child pass: then nobody knows, and it is refused too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni.evaluate import registry, suite
from emotion_omni.evaluate.measure import Measure, Say, Sources
from emotion_omni.evaluate.subject import PARTS, Subject
from emotion_omni.evaluate.suite import Taken
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True, eq=False)
class Verdict:
    """``lost``: guarded figures in which the child is worse. ``unjudged``: parts that nothing could judge, and why."""

    report: dict[str, Any]
    lost: tuple[str, ...]
    unjudged: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return not self.lost and not self.unjudged

    @property
    def scores(self) -> dict[str, float]:
        """``measure figure`` → value."""
        return {
            f"{row['name']} {one['name']}": one["value"]
            for row in self.report["measures"]
            for one in row.get("figures", ())
        }

    def refuse(self) -> EmotionOmniError:
        reasons = []
        if self.lost:
            reasons.append(f"it loses beyond noise on: {'; '.join(self.lost)}")
        if self.unjudged:
            reasons.append(f"nothing could judge: {'; '.join(self.unjudged)}")
        parent = self.report["parent"]
        return EmotionOmniError(
            f"{self.report['engine']} does not take the place of {parent}: {'. And '.join(reasons)}.", "gate"
        )


def check(
    child: Subject,
    parent: Subject,
    size: str,
    sources: Sources,
    cache: Path,
    say: Say,
    measures: Sequence[Measure] = registry.MEASURES,
) -> Verdict:
    """Raises :class:`EmotionOmniError` (code ``gate``) if child and parent are the same."""
    changed = [part for part in PARTS if child.identities[part] != parent.identities[part]]
    if not changed:
        raise EmotionOmniError(
            f"{child.name} and {parent.name} are the same in every part: there is nothing to promote.", "gate"
        )
    chosen = [one for one in registry.depending_on(changed) if one in measures]
    mine = suite.take_all(child, chosen, size, sources, cache, say)
    theirs = suite.take_all(parent, chosen, size, sources, cache, say)
    report = suite.report(child, mine, size, parent, theirs)
    return Verdict(report, tuple(_lost(report)), tuple(_unjudged(changed, mine, theirs, report)))


def _lost(report: dict[str, Any]) -> list[str]:
    found = []
    for row in report["measures"]:
        for one in row.get("figures", ()):
            if one.get("loses"):
                gap = one["guarded_difference"]
                found.append(
                    f"{row['name']}, {one['title']}: {one['value']:.3f}, the parent's {one['parent']['value']:.3f} "
                    f"(difference {gap['low']:.3f} to {gap['high']:.3f})"
                )
    return found


def _unjudged(
    changed: Sequence[str], mine: Sequence[Taken], theirs: Sequence[Taken], report: dict[str, Any]
) -> list[str]:
    rows = {row["name"]: row for row in report["measures"]}
    found = []
    for part in changed:
        of_part = [one for one in mine if part in one.measure.parts]
        compared = [
            one
            for one in of_part
            if any("guarded_difference" in figure for figure in rows[one.measure.name].get("figures", ()))
        ]
        if not compared:
            reasons = [f"{one.measure.name}: {one.why_not}" for one in [*of_part, *theirs] if one.why_not][:3]
            found.append(f"the {part} ({' · '.join(reasons) or 'no measure has enough items'})")
    return found
