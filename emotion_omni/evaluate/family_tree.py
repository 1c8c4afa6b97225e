"""The family of checkpoints of parts: who comes from whom, by which method, on which data, with which scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emotion_omni.checkpoint import lineage as lineages
from emotion_omni.checkpoint import promotion
from emotion_omni.checkpoint.lineage import SHIPPED, Lineage
from emotion_omni.evaluate.page_parts import document, escape, table

WIDTH, ROW, COLUMN = 240, 92, 280  # of a card, from card to card
STYLE = """
.tree { overflow-x: auto; } .tree svg { max-width: none; width: auto; }
.card { fill: var(--card); stroke: var(--line); } .current { stroke: var(--good); stroke-width: 2; }
.small { font-size: 11px; fill: var(--quiet); }
"""


@dataclass(frozen=True)
class Member:
    """A version of a name. ``parent``: the identity that its training started from, or ``shipped``."""

    name: str
    version: str
    promoted: str
    compared_with: str
    is_current: bool
    lineage: Lineage

    def as_row(self) -> dict[str, Any]:
        about: dict[str, Any] = {"name": self.name, "version": self.version, "promoted": self.promoted}
        about |= {"compared_with": self.compared_with, "current": self.is_current}
        return about | {"lineage": lineages.as_row(self.lineage)}

    def as_text(self) -> str:
        mark = "*" if self.is_current else " "
        data = ", ".join(f"{one.name} ({one.rows} rows)" for one in self.lineage.data) or "no data named"
        parts = ", ".join(self.lineage.parts)
        origin = f"from {self.lineage.parent[:12]}: {self.lineage.method}; {data}"
        return f"{mark} {self.name}@{self.version}  {parts}, {origin}"


def read() -> list[Member]:
    """All versions of all names, in the order of promotion."""
    found = []
    for named in promotion.listed():
        for one in named.versions:
            lineage = promotion.lineage_of(named, one.version)
            current = one.version == named.current
            found.append(Member(named.name, one.version, one.promoted, one.parent, current, lineage))
    return sorted(found, key=lambda one: one.promoted)


def places(members: Sequence[Member]) -> dict[int, tuple[int, int]]:
    """Member → (generation, row): a child stands right of its parent, below its elder siblings."""
    by_identity = {one.lineage.identity: index for index, one in enumerate(members)}
    children: dict[int | None, list[int]] = defaultdict(list)
    for index, one in enumerate(members):
        parent = by_identity.get(one.lineage.parent)
        children[None if parent == index else parent].append(index)
    found: dict[int, tuple[int, int]] = {}

    def put(index: int, generation: int, row: int) -> int:
        """→ the next free row."""
        found[index] = generation, row
        free = row
        for child in children[index]:
            free = put(child, generation + 1, free)
        return max(free, row + 1)

    row = 0
    for index in children[None]:
        row = put(index, 1, row)
    return found


def page(members: Sequence[Member]) -> str:
    """The whole HTML document."""
    if not members:
        text = "No checkpoint was promoted yet: python -m emotion_omni checkpoint promote FOLDER --as NAME."
        return document("Family of checkpoints", f"<p>{escape(text)}</p>")
    head = ["name", "version", "parts", "method", "data", "on top of", "compared with", "promoted"]
    rows = [
        (
            one.name + (" (current)" if one.is_current else ""),
            one.version,
            ", ".join(one.lineage.parts),
            one.lineage.method,
            ", ".join(f"{each.name}, {each.rows} rows, {each.sha256[:12]}" for each in one.lineage.data) or "–",
            ", ".join(one.lineage.base_models.values()) or "–",
            one.compared_with,
            one.promoted[:16],
        )
        for one in members
    ]
    scores = [
        (f"{one.name}@{one.version}", name, f"{value:.3f}")
        for one in members
        for name, value in one.lineage.scores.items()
    ]
    inner = table(["version", "measure and figure", "value"], scores)
    more = f"<details><summary>Scores ({len(scores)})</summary>{inner}</details>" if scores else ""
    return document(
        "Family of checkpoints", f'<div class="tree">{_drawing(members)}</div>{table(head, rows)}{more}', STYLE
    )


def _drawing(members: Sequence[Member]) -> str:
    spots = places(members)
    by_identity = {one.lineage.identity: index for index, one in enumerate(members)}
    lines, cards = [], [_card(0, 0, ("shipped", "the weights of the package"), False)]
    for index, one in enumerate(members):
        generation, row = spots[index]
        parent = by_identity.get(one.lineage.parent, index)
        start = (0, 0) if parent == index else spots[parent]
        lines.append(_curve(start, (generation, row)))
        unknown = "" if one.lineage.parent == SHIPPED or parent != index else ", of an unknown parent"
        texts = (f"{one.name}@{one.version}", ", ".join(one.lineage.parts), one.lineage.method + unknown)
        cards.append(_card(generation, row, texts, one.is_current))
    width = COLUMN * max(generation for generation, _ in spots.values()) + WIDTH + 4
    height = ROW * (max(row for _, row in spots.values()) + 1)
    label = f"{len(members)} checkpoints"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{label}">'
        f"{''.join(lines)}{''.join(cards)}</svg>"
    )


def _card(generation: int, row: int, texts: Sequence[str], current: bool) -> str:
    x, y = COLUMN * generation + 2, ROW * row + 4
    kind = "card current" if current else "card"
    parts = [f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{ROW - 20}" rx="8" class="{kind}"/>']
    for number, text in enumerate(texts):
        shown = text if len(text) <= 36 else f"{text[:35]}…"
        look = 'class="small"' if number else 'font-size="13" fill="currentColor"'
        title = f"<title>{escape(text)}</title>"
        parts.append(f'<text x="{x + 10}" y="{y + 20 + 18 * number}" {look}>{title}{escape(shown)}</text>')
    return "".join(parts)


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = COLUMN * start[0] + WIDTH + 2, ROW * start[1] + ROW / 2 - 6
    x2, y2 = COLUMN * end[0] + 2, ROW * end[1] + ROW / 2 - 6
    middle = (x1 + x2) / 2
    return (
        f'<path d="M{x1},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2},{y2:g}" fill="none" stroke="currentColor" '
        'stroke-opacity=".4"/>'
    )
