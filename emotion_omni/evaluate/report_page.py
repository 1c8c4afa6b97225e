"""The report of an evaluation as one self-contained page, parent beside child."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from emotion_omni.evaluate import paper_table, svg_charts
from emotion_omni.evaluate.measure import SECTIONS
from emotion_omni.evaluate.page_parts import document, escape, table
from emotion_omni.evaluate.recognition_turns import KS
from emotion_omni.evaluate.suite import value_text

Report = Mapping[str, Any]

STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: .5rem; padding: .6rem .75rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; line-height: 1.2; }
.tile span { color: var(--quiet); font-size: .8rem; display: block; line-height: 1.35; }
.worse { color: var(--bad); } .better { color: var(--good); }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: .5rem 2rem;
  align-items: start; } .row svg { max-width: 26rem; } .row .wide { grid-column: 1 / -1; }
.measure { border-top: 1px solid var(--line); padding: .4rem 0 1rem; }
.verdict { border-left: 4px solid var(--good); background: var(--card); padding: .5rem .8rem; border-radius: .3rem; }
.verdict.refused { border-color: var(--bad); }
td.text { white-space: normal; min-width: 12rem; text-align: left; }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin: 0 .3rem 0 .8rem; }
summary { cursor: pointer; color: var(--quiet); margin: .4rem 0; }
.examples td { white-space: normal; text-align: left; vertical-align: top; min-width: 6rem; }
nav a { margin-right: 1rem; color: inherit; }
"""
TILES = (  # measure, figure
    ("recognition", "uar_k0"),
    ("replies", "sense"),
    ("replies", "direction"),
    ("tone-swap", "fits"),
    ("conflict", "asks"),
    ("crisis", "recall"),
    ("truth", "wrong"),
    ("pleasing", "agrees"),
    ("voice", "heard"),
    ("voice", "mos"),
    ("words", "wer"),
    ("speed", "first_sound"),
)


def page(report: Report) -> str:
    """The whole HTML document."""
    parent = f" beside {report['parent']}" if "parent" in report else ""
    body = [_head(report), _verdict(report), _tiles(report), _missing(report), _paper(report)]
    for section in SECTIONS:
        measures = [row for row in report["measures"] if row["section"] == section]
        if measures:
            body.append(f'<h2 id="{section.split()[0].lower()}">{section}</h2>')
            body += [_measure(row, report) for row in measures]
    body.append(_foot(report))
    return document(f"Model report: {report['engine']}{parent}", "".join(body), STYLE)


def _head(report: Report) -> str:
    date, suite = report["created"][:10], report["suite"]
    text = (
        f"Suite {suite}, {date}. Brackets and bars are 95 % intervals, by bootstrap over speakers or prompts. What "
        f"could not "
        "be measured is listed with its reason."
    )
    links = "".join(f'<a href="#{name.split()[0].lower()}">{name}</a>' for name in SECTIONS)
    key = ""
    if "parent" in report:
        blue, orange = svg_charts.SERIES_COLORS[:2]
        key = (
            f'<p class="key"><i style="background:{blue}"></i>{escape(report["engine"])}'
            f'<i style="border:2px solid {orange}"></i>{escape(report["parent"])}. '
            "★: they differ beyond noise (the interval of the difference on the same items does not hold 0).</p>"
        )
    return f"<p>{escape(text)}</p>{key}<nav>{links}</nav>"


def _verdict(report: Report) -> str:
    """What the gate would say of a child beside its parent."""
    if "parent" not in report:
        return ""
    lost = [(row, one) for row, one in _figures(report) if one.get("loses")]
    if not lost:
        return '<p class="verdict">No guarded figure is worse beyond noise.</p>'
    items = "; ".join(
        f"{row['title']}: {one['title']} {one['value']:.3f}, the parent's {one['parent']['value']:.3f}"
        for row, one in lost
    )
    return f'<p class="verdict refused">Worse beyond noise on guarded figures: {escape(items)}.</p>'


def _figures(report: Report) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for row in report["measures"]:
        for one in row.get("figures", ()):
            yield row, one


def _tiles(report: Report) -> str:
    by_name = {(row["name"], one["name"]): (row, one) for row, one in _figures(report)}
    tiles = []
    for row, one in (by_name[key] for key in TILES if key in by_name):
        beside = f"parent {_shown(one['parent']['value'], one['unit'])}{_star(one)}" if "parent" in one else ""
        shown, title = _shown(one["value"], one["unit"]), f"{row['title']}: {one['title']}"
        tiles.append(
            f'<div class="tile"><b>{shown}</b><span>{escape(title)}</span>'
            f'<span class="{_side(one)}">{escape(beside)}</span></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _shown(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.2f} {unit}".strip()


def _star(one: Mapping[str, Any]) -> str:
    return " ★" if (one.get("difference") or {}).get("beyond_noise") else ""


def _side(one: Mapping[str, Any]) -> str:
    found = one.get("difference") or {}
    if not found.get("beyond_noise") or one["better"] == "neither":
        return ""
    return "better" if (found["value"] > 0) == (one["better"] == "higher") else "worse"


def _missing(report: Report) -> str:
    rows = [(row["title"], row["why_not"]) for row in report["measures"] if "why_not" in row]
    rows += [
        (f"{row['title']}: {what}", why) for row in report["measures"] for what, why in row.get("not_run", {}).items()
    ]
    if not rows:
        return ""
    items = "".join(f"<li>{escape(what)}: {escape(why)}</li>" for what, why in rows)
    return f"<details><summary>{len(rows)} things were not measured, with reasons</summary><ul>{items}</ul></details>"


def _paper(report: Report) -> str:
    head, rows = paper_table.rows(report)
    note = "".join(f"<li>{escape(text)}</li>" for text in paper_table.notes(report))
    return f"<h2>The paper's table</h2>{table(head, rows)}<ul>{note}</ul>"


# --- one measure --------------------------------------------------------------------------------------------------


def _measure(row: Mapping[str, Any], report: Report) -> str:
    text = f"<h3>{escape(row['title'])}</h3><p>{escape(row['text'])}</p>"
    if "why_not" in row:
        return f'<div class="measure">{text}<p><b>Not measured:</b> {escape(row["why_not"])}</p></div>'
    shares = [one for one in row["figures"] if one["unit"] == "share" and -0.001 <= one["value"] <= 1]
    charts = [_chart(shares)] if shares else []
    charts += [draw(row["details"]) for draw in _PLOTS.get(row["name"], ())]
    figures = "".join(f"<div>{chart}</div>" for chart in charts if chart)
    numbers = f'<div class="wide">{_table(row["figures"])}</div>'
    return f'<div class="measure">{text}<div class="row">{figures}{numbers}</div>{_examples(row["details"])}</div>'


def _chart(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in figures[:12]:
        parent = one.get("parent")
        text = f"{one['value']:.3f}" + (f" · {parent['value']:.3f}{_star(one)}" if parent else "")
        title = one["title"] if len(one["title"]) <= 40 else f"{one['title'][:39]}…"
        rows.append((title, text, _interval(one), _interval(parent) if parent else None))
    return svg_charts.comparison_chart(rows, "; ".join(f"{one['title']} {one['value']:.3f}" for one in figures))


def _interval(one: Mapping[str, Any]) -> svg_charts.Interval:
    return one["value"], one.get("low"), one.get("high")


def _table(figures: Sequence[Mapping[str, Any]]) -> str:
    beside = any("parent" in one for one in figures)
    head = [
        "figure",
        "better",
        "value [95 %]",
        "items",
        "clusters",
        *(["parent", "difference [95 %]"] if beside else []),
    ]
    rows = []
    for one in figures:
        guarded = " (guarded)" if one["guarded"] else ""
        row = [one["title"] + guarded, one["better"], f"{value_text(one)} {_unit(one)}", one["items"], one["clusters"]]
        if beside:
            row += [value_text(one["parent"]) if "parent" in one else "–", _difference(one)]
        rows.append(row)
    return table(head, rows) if rows else ""


def _unit(one: Mapping[str, Any]) -> str:
    return "" if one["unit"] == "share" else one["unit"]


def _difference(one: Mapping[str, Any]) -> str:
    found = one.get("difference")
    return "–" if not found else value_text(found) + _star(one) + (" loses" if one.get("loses") else "")


def _examples(details: Mapping[str, Any]) -> str:
    """Lists of rows and of texts among the details."""
    parts = []
    for name, rows in details.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and set(rows[0]) & {"reply", "heard", "text"}:
            head = list(rows[0])
            inner = table(head, [[row.get(key, "") for key in head] for row in rows], "examples")
            parts.append(f"<details><summary>{escape(name)} ({len(rows)})</summary>{inner}</details>")
    return "".join(parts)


def _reliability(details: Mapping[str, Any]) -> str:
    found = details.get("pooled", {}).get("calibration", {}).get("k0")
    if not found or not found["reliability"]:
        return ""
    caption = f"Share of right answers over confidence, a stranger's first turn: ECE {found['ece']:.3f}"
    return f"{svg_charts.reliability_chart(found['reliability'], caption)}<p>{escape(caption)}</p>"


def _known_voice(details: Mapping[str, Any]) -> str:
    corpora = details.get("corpora", {})
    names = [f"k{count}" for count in KS]
    if "k5" not in details.get("conditions", {}):
        return ""
    lines = {name: [row["uar"].get(one, {}).get("value") for one in names] for name, row in corpora.items()}
    chart = svg_charts.line_chart([str(count) for count in KS], lines, "UAR over earlier turns of the person")
    return f"<p>UAR over the earlier turns of the person that it knows</p>{chart}"


def _left_out(details: Mapping[str, Any]) -> str:
    found = details.get("leave_one_corpus_out")
    if not isinstance(found, Mapping):
        return ""
    rows = [
        (name, float(value["unweighted_average_recall"]) if isinstance(value, Mapping) else float(value))
        for name, value in found.items()
        if isinstance(value, int | float) or (isinstance(value, Mapping) and "unweighted_average_recall" in value)
    ]
    if not rows:
        return ""
    chart = svg_charts.interval_chart([(name, value, None, None) for name, value in rows], "UAR of corpora left out")
    return f"<p>From the card: UAR of a corpus that was left out of training</p>{chart}"


def _confusion(details: Mapping[str, Any]) -> str:
    found = details.get("second recognizer", {}).get("confusion")
    if not found:
        return ""
    names = list(found)
    rows = [[label, *(found[label][name] for name in names)] for label in names]
    return f"<p>Meant (rows) and heard (columns)</p>{table(['', *(name[:4] for name in names)], rows, 'matrix')}"


_PLOTS: dict[str, tuple[Callable[[Mapping[str, Any]], str], ...]] = {
    "recognition": (_reliability, _known_voice, _left_out),
    "voice": (_confusion,),
}


def _foot(report: Report) -> str:
    machine = report["machine"]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, Python "
        f"{machine['python']}; " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        "Parts: " + ", ".join(f"{part} {identity}" for part, identity in report["identities"].items()),
    ]
    if "same_parts" in report:
        parts.append(f"The same in both: {', '.join(report['same_parts']) or 'none'}.")
        parts.append(
            f"A guarded figure counts as lost when its interval of {100 * report['guard_level']:.2f} % (95 % over "
            f"all guarded "
            "figures together) does not hold 0."
        )
    return "<h2>How it was measured</h2>" + "".join(f"<p>{escape(text)}</p>" for text in parts)
