"""The first sound of a reply: a short word or two that fits the tone and the news, said while the rest is written.

There is none where it could be wrong or out of place: plain questions, neutral news, an unsure voice, or words that the
voice contradicts. Danger never gets here. Openers are few and always the same, so their speech can be kept.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from emotion_omni import emotion
from emotion_omni.response.safe_replies import act_of
from emotion_omni.types import Exchange, Heard, Plan

_INTERJECTIONS = re.compile(
    r"(?:(?:oh|ah|aw|ugh|ew|eek|wow|yay|ha|hooray|yes|no|goodness)\b"
    r"(?:,? (?:no|dear|my|wow|yuck|yes|lovely|nice|good|wonderful))?(?:[,.!]+\s+|[.!]+\Z))+",
    re.IGNORECASE,
)

RECENT = 6  # earlier replies that must not have begun in the same way

_OPENERS: dict[tuple[str, str], tuple[str, ...]] = {  # (news, tone); an empty tone is for all others
    ("bad", "sad"): ("Oh no.", "Ah, no.", "Oh dear.", "Oh.", "Oh, that hurts."),
    ("bad", "angry"): ("Ugh.", "Oh, come on.", "Honestly.", "Oof.", "Unbelievable.", "Oh, for goodness' sake."),
    ("bad", "fearful"): ("Oh.", "Oh my.", "Oh dear.", "Okay.", "All right."),
    ("bad", "disgusted"): ("Ew.", "Ugh.", "Oh, yuck.", "Eek.", "Oh, no, no."),
    ("bad", "surprised"): ("What?", "Oh no!", "Oh!", "Goodness."),
    ("bad", ""): ("Oh no.", "Oh.", "Ah, no.", "Oh dear."),
    ("good", "happy"): ("Oh, lovely!", "Yes!", "Ha!", "Oh, wonderful!", "Oh, nice!", "Look at that!", "Hooray!"),
    ("good", "surprised"): ("No way!", "Wow!", "Oh!", "Would you believe it!"),
    ("good", ""): ("Oh, nice.", "Ah, good.", "Lovely.", "Oh, good."),
}


def opener(heard: Heard, plan: Plan, history: Sequence[Exchange], seed: int) -> str:
    """One that none of the last replies began with; empty where none fits."""
    if plan.conflict or plan.unsure_between or plan.news == "neutral" or act_of(heard.transcript) == "ask":
        return ""
    known = _OPENERS.get((plan.news, plan.tone)) or _OPENERS[plan.news, ""]
    recent = [exchange.reply for exchange in history[-RECENT:]]
    fresh = [one for one in known if not any(reply.startswith(one) for reply in recent)]
    if not fresh:
        return ""
    return random.Random(f"{seed} {len(history)} {heard.transcript}").choice(fresh)


def without_interjections(reply: str) -> str:
    """What is left of the first words of a reply where an opener has just been said; may be empty."""
    left = _INTERJECTIONS.sub("", reply, count=1) if _INTERJECTIONS.match(reply) else reply
    return left[:1].upper() + left[1:]


def every_opener() -> list[tuple[str, str]]:
    """(opener, emotion that it is spoken with): all that a conversation can need."""
    pairs: dict[tuple[str, str], None] = {}
    for (news, tone), known in _OPENERS.items():
        named = {other for of, other in _OPENERS if of == news}
        tones = [tone] if tone else [name for name in emotion.NAMES if name not in named]
        pairs |= {(one, emotion.answer_with(each, news)): None for each in tones for one in known}
    return list(pairs)
