"""A preference that simulated raters state, and that no model is told: the hidden rubric of the circle.

"I like answers about things one can touch and times on the clock, that deny nothing": one point for a thing, one for a
time, one off for a denial. It is read off the letters of an answer by lists of words that occur nowhere else: the
reranker sees a mean of word vectors and counts of other things, of which this is no function.
"""

from __future__ import annotations

import re

STATEMENT = "Answers about things one can touch and times on the clock, that deny nothing."
_THINGS = re.compile(
    r"\b(tea|coffee|kettle|cake|bread|soup|dinner|lunch|tables?|chairs?|doors?|windows?|house|kitchen|bed|blanket|garden|"
    r"car|bus|train|shoes?|coat|hands?|eyes?|face|hair|dogs?|cats?|rain|sun|phone|letter|books?|money|bag|box|cup|plate|"
    r"floor|wall|street|shop|boss|neighbou?rs?|wallet|keys?)\b",
    re.IGNORECASE,
)
_TIMES = re.compile(
    r"\b(tonight|tomorrow|today|now|weeks?|minutes?|hours?|morning|evening|first|then|next|years?|days?|nights?|weekend)\b",
    re.IGNORECASE,
)
_DENIALS = re.compile(r"\b(not|no|never|nobody|nothing|none|cannot)\b|n't\b", re.IGNORECASE)


def points(answer: str) -> int:
    """From -1 to 2."""
    return bool(_THINGS.search(answer)) + bool(_TIMES.search(answer)) - bool(_DENIALS.search(answer))
