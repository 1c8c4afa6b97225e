"""All texts of a plan, written and judged, none spoken: how many pass, why others do not, how varied they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from emotion_omni.data.audio_filter import first_words
from emotion_omni.data.build import load_text_filter, load_writer, texts
from emotion_omni.data.dialogue import WrittenDialogue
from emotion_omni.data.plan import CorpusPlan
from emotion_omni.data.scenarios import scenarios
from emotion_omni.data.statistics import diversity


def judge_texts(plan: CorpusPlan, cache: Path) -> dict[str, Any]:
    """``cache``: folder for the answers of servers and models; a build that is given it pays for none again."""
    writer, judge = load_writer(plan, cache), load_text_filter(plan)
    reasons: Counter[str] = Counter()
    cells: dict[str, list[bool]] = defaultdict(list)
    elsewhere, kept = 0, []
    for scenario, text in texts(writer, scenarios(plan), plan.dialogues):
        written = isinstance(text, WrittenDialogue)
        reason = judge.reject(scenario, text) if isinstance(text, WrittenDialogue) else "unwritten"
        domain = (isinstance(text, WrittenDialogue) and text.domain) or scenario.domain
        elsewhere += written and domain != scenario.domain
        cells[f"{domain}/{scenario.emotion}"].append(not reason)
        if reason:
            reasons.update(first_words([reason]))
        elif isinstance(text, WrittenDialogue):
            kept.append(text)
    turns = [turn for one in kept for turn in one.turns]
    return {
        "tried": plan.dialogues,
        "pass": len(kept),
        "turns": len(turns),
        "reasons": dict(reasons.most_common()),
        "of_another_domain": elsewhere,
        "cells": {name: {"pass": sum(held), "of": len(held)} for name, held in sorted(cells.items())},
        "diversity": diversity([turn.text for turn in turns], [turn.reply for turn in turns]),
        "tokens": dict(writer.tokens),
    }


def as_text(found: dict[str, Any]) -> str:
    reasons = ", ".join(f"{name} {count}" for name, count in found["reasons"].items()) or "none"
    replies = found["diversity"]["replies"]
    return (
        f"texts     {found['pass']} of {found['tried']} pass; rejected: {reasons}\n"
        f"replies   {replies['different']} different of {found['turns']}, distinct-2 {replies['distinct_2']}, "
        f"self-BLEU {replies['self_bleu']}"
    )
