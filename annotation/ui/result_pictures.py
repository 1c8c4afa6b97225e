"""A study's results as pictures and sentences, in the order in which a researcher asks."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from annotation.analysis.confusion import unweighted_average_recall
from annotation.analysis.intervals import Interval, verdict
from annotation.analysis.results import Results
from annotation.study.scales import SCALES
from annotation.ui import plots
from emotion_omni import emotion


def pictures(found: Results, kept_only: bool) -> str:
    """All pictures of a study as HTML. ``kept_only``: without the ratings of flagged raters."""
    if found.answers.empty:
        return '<div class="empty">No ratings yet.</div>'
    parts = [
        _tiles(found),
        _alarm(found),
        _ranking(found, kept_only),
        _main_answers(found, kept_only),
        *_means(found, kept_only),
        _confusion(found, kept_only),
        _anchoring(found, kept_only),
        _lift(found, kept_only),
        _agreement(found, kept_only),
        _raters(found),
        plots.timeline(found.per_hour(), "Ratings an hour", "ratings"),
    ]
    return "".join(parts)


def _tiles(found: Results) -> str:
    outcomes = [verdict.outcome for verdict in found.verdicts.values()]
    rated = found.answers.ordinary
    planned = sum(item["role"] == "rate" for item in found.items.values()) * found.rules.ratings_per_item
    return plots.stat_tiles(
        [
            ("Ratings", rated, f"of {planned} planned"),
            ("Raters", len(outcomes), "with at least one rating"),
            ("Kept", outcomes.count("kept"), "passed traps or gold items"),
            ("Flagged", outcomes.count("flagged"), "left out unless you say otherwise"),
            ("Could not be checked", outcomes.count("could-not-check"), "kept: nothing counts against them"),
        ]
    )


def _alarm(found: Results) -> str:
    message = found.alarm()
    return f'<div class="status alert" role="alert">{html.escape(message)}</div>' if message else ""


def _agreement(found: Results, kept_only: bool) -> str:
    rows = [
        {
            "scale": scale,
            "name": measure.name,
            "value": measure.value,
            "low": measure.low,
            "high": measure.high,
            "items": measure.items,
            "raters": measure.raters,
            "reason": measure.reason,
        }
        for scale, measures in found.agreement(kept_only).items()
        for measure in measures
    ]
    return plots.agreement_panel(rows)


def _means(found: Results, kept_only: bool) -> list[str]:
    drawn = []
    for name, table in found.means(kept_only).items():
        scale = SCALES[name]
        rows = [
            {
                "label": row["system"],
                "mean": row["mean"],
                "low": row["clustered_low"],
                "high": row["clustered_high"],
                "naive_low": row["naive_low"],
                "naive_high": row["naive_high"],
                "n": row["n"],
                "reason": row["reason"],
            }
            for row in table.to_dict("records")
        ]
        drawn.append(plots.interval_plot(rows, scale.low, scale.high, f"{name}: {scale.question}"))
    return drawn


def _ranking(found: Results, kept_only: bool) -> str:
    ranking = found.ranking(kept_only)
    if ranking is None:
        return ""
    drawn = plots.ranking_plot(ranking.table, ranking.position_bias)
    return drawn + (_note(ranking.note) if ranking.note else "")


def _confusion(found: Results, kept_only: bool) -> str:
    counts = found.confusion(kept_only)
    if counts is None:
        return ""
    recall = unweighted_average_recall(counts)
    matrix = counts.to_numpy().tolist()
    drawn = plots.confusion_matrix(list(emotion.NAMES), matrix, "rated by people", "heard by the model")
    if recall is None:
        return drawn
    return drawn + _note(f"Unweighted average recall of the model against people: {recall:.2f}.")


def _anchoring(found: Results, kept_only: bool) -> str:
    anchoring = found.anchoring(kept_only)
    if anchoring is None:
        return ""
    gap = anchoring.gap
    number = f"Anchoring: {100 * gap.mean:+.0f} points{_points(gap)}" if gap.mean is not None else "Anchoring"
    why = gap.reason or gap.note
    return _note(
        f"{number}. Raters agree with the model in {_share(anchoring.shown)} where they see its guess and in "
        f"{_share(anchoring.hidden)} where they do not: {_effect_of_the_guess(gap)}{f' ({why})' if why else ''}."
    )


def _share(share: Interval) -> str:
    return "no ratings" if share.mean is None else f"{share.mean:.0%}"


def _points(gap: Interval) -> str:
    """Of a difference of shares, in percentage points."""
    if gap.low is None or gap.high is None:
        return ""
    return f" (95 % interval {100 * gap.low:+.0f} to {100 * gap.high:+.0f})"


def _effect_of_the_guess(gap: Interval) -> str:
    words = {
        "better": "seeing the guess pulls raters towards it",
        "worse": "seeing the guess pushes raters away from it",
    }
    return words.get(verdict(gap), "a pull towards the guess is not shown")


def _interval(share: Any) -> str:
    return "" if share.low is None else f" (95 % interval {share.low:+.0%} to {share.high:+.0%})"


def _lift(found: Results, kept_only: bool) -> str:
    lift = found.voice_lift(kept_only)
    if lift is None:
        return ""
    shares = (("words alone", lift.words), ("voice alone", lift.voice), ("both", lift.both))
    rows = [
        {"label": name, "mean": share.mean, "low": share.low, "high": share.high, "n": share.n, "reason": share.reason}
        for name, share in shares
    ]
    gain = lift.lift
    known = gain.mean is not None
    sentence = f"Voice lift: {gain.mean:+.0%}" if known else f"Voice lift is not defined: {gain.reason}"
    return plots.interval_plot(rows, 0, 1, "Share of emotions recognised") + _note(f"{sentence}{_interval(gain)}.")


def _main_answers(found: Results, kept_only: bool) -> str:
    main = SCALES[found.rules.form.main]
    if main.kind == "points":
        return ""
    counts = found.distribution(main.name, kept_only)
    return plots.histogram([str(value) for value in main.values], counts, main.question)


def _raters(found: Results) -> str:
    return _severity(found) + _retest(found) + _verdicts(found)


def _severity(found: Results) -> str:
    table, scale = found.severity(), found.first_points
    if table is None or table.empty or scale is None:
        return ""
    verdicts = {found.pseudonym(rater): verdict for rater, verdict in found.verdicts.items()}
    rows = [_severity_row(row, verdicts) for row in table.to_dict("records")]
    return plots.scatter_severity(rows) + _note(f"Measured on “{scale.question}”")


def _severity_row(row: dict, verdicts: dict) -> dict[str, Any]:
    effect, half = row["effect"], row["half_width"]
    known = effect is not None and half is not None and not pd.isna(half)
    return {
        "rater": row["rater"],
        "effect": effect,
        "low": effect - half if known else None,
        "high": effect + half if known else None,
        "outcome": verdicts[row["rater"]].outcome,
    }


def _retest(found: Results) -> str:
    table = found.retest()
    if table.empty or not table["pairs"].sum():
        return ""
    same = float((table["same"] * table["pairs"]).sum() / table["pairs"].sum())
    return _note(f"Test and retest: the same answer to {same:.0%} of {int(table['pairs'].sum())} hidden repeats.")


def _verdicts(found: Results) -> str:
    rows = "".join(
        f"<tr><td>{found.pseudonym(rater)}</td><td>{html.escape(verdict.outcome)}</td>"
        f"<td>{html.escape(', '.join(verdict.reasons))}</td></tr>"
        for rater, verdict in found.verdicts.items()
    )
    return (
        '<details class="verdicts"><summary>Verdicts on raters</summary>'
        f'<table class="timings"><tbody>{rows}</tbody></table></details>'
    )


def _note(text: str) -> str:
    return f'<p class="plot-quiet">{html.escape(text)}</p>'
