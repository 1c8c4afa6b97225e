"""A recognized emotion as pictures: HTML and SVG that follow the page's light or dark theme.

Every function takes plain values and returns text. Every picture has a text alternative for screen readers.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from emotion_omni import emotion
from emotion_omni.types import SURE, Emotion, Heard

CERTAIN = 0.70  # probability of the first label from which it is "quite sure"; it is "probably" from SURE on
UNSURE = f"No emotion reaches {SURE:.0%}, so the answer names none. You can choose the right one under Tone."
WELL_KNOWN = 10  # turns from which more add little

_WIDTH, _HEIGHT = 360, 64  # of the drawing over time, in its own units


def in_words(felt: Emotion) -> str:
    """For example "Sad, quite sure (82%)" or "Not sure: sad (38%) or calm (31%)"."""
    (first, p), (second, q) = ranked(felt)[:2]
    if p >= CERTAIN:
        return f"{first.capitalize()}, quite sure ({p:.0%})"
    if p >= SURE:
        return f"Probably {first} ({p:.0%}), perhaps {second} ({q:.0%})"
    return f"Not sure: {first} ({p:.0%}) or {second} ({q:.0%})"


def ranked(felt: Emotion) -> list[tuple[str, float]]:
    return sorted(felt.probabilities.items(), key=lambda item: -item[1])


def heard_chart(heard: Heard, corrected: bool, known_turns: int = 0) -> str:
    """A sentence, a bar for each label, valence and arousal, and the emotion over time.

    ``known_turns``: of this voice that the recognizer has heard; 0 where it does not learn voices.
    """
    felt = heard.emotion
    title = f"{felt.label.capitalize()} (you said so)" if corrected else in_words(felt)
    notes = [] if felt.is_sure else [UNSURE]
    notes += [known_voice(known_turns)] if known_turns else []
    rows = "".join(_bar(name, share) for name, share in ranked(felt))
    scales = _scale("Valence", felt.valence, "unpleasant", "pleasant") + _scale(
        "Arousal", felt.arousal, "quiet", "excited"
    )
    course = "" if len(heard.trajectory) < 2 else over_time(heard.trajectory, heard.turning_point)
    said = "".join(f'<p class="heard-sub">{note}</p>' for note in notes)
    return f'<div class="heard"><p class="heard-title">{html.escape(title)}</p>{said}{rows}{scales}{course}</div>'


def known_voice(turns: int) -> str:
    """How far the recognizer has got to know the speaker."""
    count = "1 turn" if turns == 1 else f"{turns} turns"
    if turns < WELL_KNOWN:
        return (
            f"Getting to know your voice ({count}): how you usually sound, so that your moods stand out. "
            "Kept in memory for this conversation only; New forgets it."
        )
    return f"Knows your voice from {count}, for this conversation only; New forgets it."


def _bar(name: str, share: float) -> str:
    color = emotion.find(name).colour
    return (
        f'<div class="bar" role="img" aria-label="{name} {share:.0%}"><span class="bar-name">{name}</span>'
        f'<span class="bar-track"><span class="bar-fill" style="width:{share:.1%};background:{color}"></span></span>'
        f'<span class="bar-share">{share:.0%}</span></div>'
    )


def _scale(name: str, value: float, low: str, high: str) -> str:
    return (
        f'<div class="bar scale" role="img" aria-label="{name} {value:+.2f}, from {low} to {high}">'
        f'<span class="bar-name">{name}</span><span class="bar-track" title="{low} … {high}">'
        f'<span class="scale-mark" style="left:{50 + 50 * value:.1f}%"></span></span>'
        f'<span class="bar-share">{value:+.2f}</span></div>'
    )


def over_time(trajectory: Sequence[tuple[float, Emotion]], turning_point: float | None = None) -> str:
    """A stacked band: at each moment the height of a colour is the probability of its label.

    ``turning_point``: in seconds, marked by a line.
    """
    start, end = trajectory[0][0], trajectory[-1][0]
    xs = [_WIDTH * (at - start) / (end - start) for at, _ in trajectory]
    below = [0.0] * len(xs)
    bands = []
    for label in emotion.TABLE:
        above = [base + felt.probabilities[label.name] for base, (_, felt) in zip(below, trajectory, strict=True)]
        upper = [f"{x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in zip(xs, above, strict=True)]
        lower = [f"{x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in zip(xs, below, strict=True)]
        points = " ".join(upper + lower[::-1])
        bands.append(f'<polygon points="{points}" fill="{label.colour}"><title>{label.name}</title></polygon>')
        below = above
    mark, change = "", ""
    if turning_point is not None:
        share = min(1.0, max(0.0, (turning_point - start) / (end - start)))
        mark, change = _mark(share), _change(trajectory, turning_point, share)
    summary = _course(trajectory)
    return (
        f'<p class="heard-sub">Over time: {html.escape(summary)}</p>'
        f'<svg class="course" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Emotion over time: {html.escape(summary)}">{"".join(bands)}{mark}</svg>'
        f'<div class="course-axis"><span>{start:.1f} s</span><span>{end:.1f} s</span></div>{change}'
    )


def _mark(share: float) -> str:
    """A vertical line, light on dark, at this share of the width: seen on every colour, in both themes."""
    x = f'x1="{_WIDTH * share:.1f}" x2="{_WIDTH * share:.1f}" y1="0" y2="{_HEIGHT}" vector-effect="non-scaling-stroke"'
    return f'<line class="course-mark-edge" {x}/><line class="course-mark" {x}/>'


def _change(trajectory: Sequence[tuple[float, Emotion]], seconds: float, share: float) -> str:
    """A caption that begins below the line, or further left where it would not fit."""
    before, after = emotion.labels_around(trajectory, seconds)
    labels = f": {before} → {after}" if before != after else ""
    return (
        f'<div class="course-change"><span style="flex:0 1 {share:.1%}"></span>'
        f"<span>changed here{labels}, {seconds:.1f} s</span></div>"
    )


def _course(trajectory: Sequence[tuple[float, Emotion]]) -> str:
    labels = [felt.label for _, felt in trajectory]
    changes = [labels[0]] + [now for before, now in zip(labels, labels[1:], strict=False) if now != before]
    return " → ".join(changes[:6]) + (" → …" if len(changes) > 6 else "")


def timings_table(timings: Mapping[str, float]) -> str:
    """The stages of an answer and their seconds."""
    names = {
        "voice_activity": "find the speech",
        "encode": "encode it",
        "words": "words",
        "tone": "tone",
        "heard": "heard, in all",
        "planned": "planned",
        "first_text": "first words written",
        "first_speech": "first sound",
        "done": "done",
    }
    rows = "".join(
        f"<tr><td>{names.get(stage, html.escape(stage))}</td><td>{seconds:.2f} s</td></tr>"
        for stage, seconds in timings.items()
    )
    return f'<table class="timings"><tbody>{rows}</tbody></table>'
