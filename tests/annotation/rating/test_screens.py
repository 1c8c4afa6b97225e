"""What raters must not learn from a screen."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from typing import Any

import pytest
import raters
from raters import Clock, Rater
from sessions import PLAIN, at_task, known

from annotation.studio import Studio
from annotation.study.templates import TEMPLATES

pytest_plugins = ("databases",)


MARK = "Zaphod"


def marked(studio: Studio, template: str, number: int) -> dict[str, Any]:
    """An item whose every secret has a mark in it."""
    one = raters.item(studio, template, number, family=f"{MARK}-family-{number}", contributor=f"{MARK}-code-{number}")
    secrets = {
        "systems": {"reply": f"{MARK}-engine"},
        "about": {"engine": f"{MARK}-engine", "seed": 7},
        "planned": f"{MARK}-plan",
        "source": {
            "file": {role: f"{MARK}-{role}-{number}.wav" for role in TEMPLATES[template].clips},
            "sha256": {role: f"{MARK}-{role}-hash" for role in TEMPLATES[template].clips},
            "row": {f"{MARK}-column": f"{MARK}-cell"},
            "place": f"{MARK}-items.csv, row {number + 2}",
        },
    }
    guess = {"guess": {"label": f"{MARK}-guess", "probability": 0.5}}
    return one | {"id": f"{MARK}-item-{number}", "content": one["content"] | secrets | guess}


def unpacked(screen: Any) -> str:
    """All that can be read in a screen, what is merely encoded included."""
    text = json.dumps(screen)
    if isinstance(screen, dict) and "receipt" in screen:
        packed, body = screen["receipt"].startswith("."), screen["receipt"].lstrip(".").split(".")[0]
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        text += (zlib.decompress(raw) if packed else raw).decode()
    return text


def shape(value: Any) -> Any:
    """Keys and kinds of values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_no_screen_gives_away_what_a_rater_must_not_know(studio: Studio, clock: Clock, template: str) -> None:
    made = [marked(studio, template, number) for number in range(6)]
    raters.study(studio, template, made, block_size=3, guess_hidden_share=1.0, training_right=1)
    rater = Rater(studio, "s1", clock)
    rater.walk()
    told = "".join(map(unpacked, rater.screens))
    assert MARK.casefold() not in told.casefold()
    with studio.store.read() as view:
        stored = view.items("s1")
    for row in stored:
        assert row["id"] not in told
        for clip in row["content"]["clips"].values():
            assert clip["sha"] not in told and clip["played"] not in told
    hidden = (
        "flip",
        "expected",
        "systems",
        "about",
        "family",
        "item",
        "mode",
        "planned",
        "source",
        "sha256",
        "contributor",
        "gold",
        "trap",
        "repeat",
    )
    assert not any(f'"{word}"' in told for word in hidden)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_traps_gold_and_repeats_look_like_any_other_item(studio: Studio, clock: Clock, template: str) -> None:
    raters.study(
        studio,
        template,
        items=6,
        block_size=6,
        training_right=0,
        traps_per_block=2,
        gold_per_block=2,
        repeats_per_block=2,
    )
    rater = Rater(studio, "s1", clock)
    screens = rater.walk()
    kinds = [rater.given(screen)["kind"] for screen in screens]
    assert Counter(kinds) == {"rate": 6, "trap": 2, "gold": 2, "repeat": 2}
    for screen in screens:
        assert screen["kind"] == "rate" and screen["title"] == TEMPLATES[template].title
    shapes = {
        kind: {json.dumps(shape(s), sort_keys=True) for s, k in zip(screens, kinds, strict=True) if k == kind}
        for kind in set(kinds)
    }
    for kind in ("trap", "gold", "repeat"):
        assert shapes[kind] <= shapes["rate"], kind


def test_a_trap_tells_as_little_when_it_was_answered_as_any_other_item(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=6, block_size=6, training_right=0)
    rater, screen = at_task(studio, clock)
    answers = {}
    while screen["screen"] == "rate":
        told = rater.submit(rater.filled(screen))
        answers.setdefault(rater.given(screen)["kind"], set()).add(json.dumps(told | {"id": "", "at": 0}))
        screen = rater.until("rate", "survey")
    assert len({frozenset(found) for found in answers.values()}) == 1 and len(answers) == 4


def test_the_bar_runs_on_evenly_over_traps_and_repeats(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=10, block_size=5, training_right=0)
    rater = Rater(studio, "s1", clock)
    screens = rater.walk()
    assert [screen["progress"]["done"] for screen in screens] == list(range(16))
    assert {screen["progress"]["wanted"] for screen in screens} == {16}


def test_a_guess_is_shown_to_some_and_hidden_from_others(studio: Studio, clock: Clock) -> None:
    made = [marked(studio, "emotion-recognition", number) for number in range(24)]
    raters.study(studio, items=made, block_size=24, guess_hidden_share=0.3, **PLAIN)
    screens = known(studio, clock).walk()
    assert 0.5 < sum(bool(screen["guess"]) for screen in screens) / len(screens) < 0.9
    for screen in screens:
        assert ("guess_right" in [scale["name"] for scale in screen["scales"]]) == bool(screen["guess"])


def test_later_raters_learn_nothing_of_earlier_answers(studio: Studio, clock: Clock) -> None:
    raters.study(studio, items=3, **PLAIN)
    first = Rater(studio, "s1", clock, values=lambda screen: raters.first_values(screen) | {"note": MARK})
    second = Rater(studio, "s1", clock)
    first.walk(), second.walk()
    assert MARK not in json.dumps(second.screens)


def with_guesses(studio, template: str) -> list[dict]:
    items = [raters.item(studio, template, number) for number in range(10)]
    for row in items:
        row["content"]["guess"] = {"label": "sad", "probability": 0.8}
    return items


def test_a_trap_comes_with_a_guess_where_the_items_do(studio, clock):
    """Else its absence would tell a trap before it is heard."""
    raters.study(
        studio,
        items=with_guesses(studio, "emotion-recognition"),
        guess_hidden_share=0.0,
        block_size=5,
        training_right=0,
    )
    shown = Rater(studio, "s1", clock).walk()
    assert len(shown) > 10 and all(screen["guess"] for screen in shown)
    assert all({"guess_right"} <= {scale["name"] for scale in screen["scales"]} for screen in shown)


def test_a_guess_is_shown_only_where_it_is_asked_about(studio, clock):
    raters.study(studio, "empathy", items=with_guesses(studio, "empathy"), guess_hidden_share=0.0, training_right=0)
    assert not any(screen["guess"] for screen in Rater(studio, "s1", clock).walk())
