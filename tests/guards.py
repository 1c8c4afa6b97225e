"""A guard without models, for tests of what is around it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ListGuard:
    """``refused``: text in a reply → its fault; ``risks``: words of a person → their danger."""

    refused: dict[str, str] = field(default_factory=dict)
    risks: dict[str, str] = field(default_factory=lambda: {"I want to kill myself.": "crisis"})

    def risk(self, text: str) -> str:
        return self.risks.get(text, "")

    def alike(self, text, others, /) -> float:
        return 0.0

    def fault(self, reply: str, news: str, words: str = "") -> str:
        return next((fault for text, fault in self.refused.items() if text in reply), "")
