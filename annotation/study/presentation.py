"""How an item is presented: which clips a rater hears, which texts are shown, and so what is judged from.

A mode is part of an item's content. Of a recording: ``words`` (the transcript alone), ``voice`` (the words masked) or
``both``. Of an answer: ``words`` (the query is heard, the answers are read) or ``voice``, which is also what no mode
means: all is heard and nothing shown. Ratings of words and of voice are different ratings: people's preferences on
text and on sound agree near chance on the same content (arXiv 2602.22710).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.study.templates import Template
from emotion_omni.rating_contract import BOTH, SOUND, TEXT

Content = Mapping[str, Any]


def mode_of(content: Content) -> str:
    return content.get("mode", "both")


def is_about_answers(form: Template) -> bool:
    return "query" in form.clips


def heard_roles(form: Template, content: Content) -> tuple[str, ...]:
    """The roles that are played, in the order of the template."""
    if mode_of(content) != "words":
        return form.clips
    return ("query",) if is_about_answers(form) else ()


def read_roles(form: Template, content: Content) -> tuple[str, ...]:
    """The roles whose words are shown, beside those that a question is filled in with."""
    mode = mode_of(content)
    if is_about_answers(form):
        return form.judged if mode == "words" else ()
    return form.judged if len(form.modes) > 1 and mode in ("words", "both") else ()


def judged_from(form: Template, content: Content) -> str:
    """What raters had of what they judged, one of :data:`emotion_omni.rating_contract.JUDGED_FROM`."""
    hears = not set(form.judged).isdisjoint(heard_roles(form, content))
    reads = bool(read_roles(form, content)) or "rewrite" in form.scales  # the page offers the answer to be rewritten
    return BOTH if hears and reads else SOUND if hears else TEXT
