"""The report of recognition as one self-contained page: no script, no request, light or dark like the system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emotion_omni import emotion
from emotion_omni.evaluate import svg_charts
from emotion_omni.evaluate.page_parts import document, escape, table
from emotion_omni.evaluate.recognition_turns import KS


def page(report: Mapping[str, Any]) -> str:
    """The whole HTML document."""
    sections = [
        _head(report),
        _recall_section(report),
        _speaker_section(report),
        _calibration_section(report),
        _refusal_section(report),
        _confusion_section(report),
        _left_section(report),
    ]
    title = f"Speech emotion recognition: {report['recognizer']}"
    return document(title, "".join(sections))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _recall(row: Mapping[str, Any] | None) -> str:
    """Value, interval, and the clips where they are not all."""
    if row is None:
        return "–"
    text = _share(row["value"])
    if "low" in row:
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    return text + (f" ({row['clips']} clips; K = 0: {_share(row['k0'])})" if "clips" in row else "")


def _groups(report: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by name: all clips and each folder with eight answers, each corpus with its own."""
    folders = {f"folder {name}": row for name, row in report.get("folders", {}).items()}
    return {"all clips": report["pooled"], **folders, **report["corpora"]}


def _head(report: Mapping[str, Any]) -> str:
    machine, limit = report["machine"], f", at most {report['limit']} clips a corpus" if report["limit"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"Split {report['split']}{limit}: {report['clips']} clips of {report['speakers']} people; "
        f"{report['draws']} random orders of turns. Weights and code {report['identity']}.",
        "Unweighted average recall (UAR): the mean over emotions of the share that is recognized. A refused clip "
        "counts as wrong. For a corpus only the emotions it has can be answered; for all clips and for folders, "
        "all eight. Intervals: 95 %, "
        "bootstrap over speakers within corpora; none where each corpus has one speaker. Acted speech: not what a real "
        "conversation may expect.",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, Python "
        f"{machine['python']}; {versions}.",
    ]
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _recall_section(report: Mapping[str, Any]) -> str:
    rows = [(name, row["uar"]["k0"]) for name, row in _groups(report).items()]
    chart = svg_charts.interval_chart(
        [(name, row["value"], row.get("low"), row.get("high")) for name, row in rows],
        "UAR without earlier turns: " + ", ".join(f"{name} {row['value']:.2f}" for name, row in rows),
    )
    rows_shown = table(
        ["", "clips", "speakers", "classes", "UAR", "eight answers", "calm as neutral"],
        [
            (
                name,
                row["clips"],
                row["speakers"],
                len(row["classes"]),
                _recall(row["uar"]["k0"]),
                _recall(row.get("uar_eight_classes", row["uar"])["k0"]),
                _recall(row["uar_calm_as_neutral"]["k0"]),
            )
            for name, row in _groups(report).items()
        ],
    )
    mean = f"<p>Mean over corpora, classes each has: {_share(report['mean_over_corpora'].get('k0'))}.</p>"
    return f"<h2>A stranger's first turn</h2>{chart}{rows_shown}{mean}"


def _speaker_section(report: Mapping[str, Any]) -> str:
    names = [f"k{count}" for count in KS] + ["all"]
    if "k5" not in report["conditions"]:
        return ""
    lines = {name: [row["uar"].get(one, {}).get("value") for one in names] for name, row in _groups(report).items()}
    last = ", ".join(f"{name} {_share(values[0])} to {_share(values[-1])}" for name, values in lines.items())
    chart = svg_charts.line_chart([one.removeprefix("k") for one in names], lines, f"UAR over earlier turns: {last}")
    texts = [f"{name}: {text}" for name, text in report["conditions"].items()]
    head = ["", *report["conditions"]]
    rows = [
        (name, *(_recall(row["uar"].get(one)) for one in report["conditions"])) for name, row in _groups(report).items()
    ]
    mean = report["mean_over_corpora"]
    rows.append(("mean over corpora", *(_share(mean.get(one)) for one in report["conditions"])))
    note = f"<p>{escape('; '.join(texts))}.</p>"
    return f"<h2>When the voice is known: UAR over earlier turns</h2>{chart}{note}{table(head, rows)}"


def _calibration_section(report: Mapping[str, Any]) -> str:
    figures = []
    for name, found in report["pooled"]["calibration"].items():
        caption = f"All corpora, {report['conditions'][name]}: ECE {_share(found['ece'])}"
        chart = svg_charts.reliability_chart(found["reliability"], caption)
        figures.append(f"<figure style='margin:0'>{chart}<figcaption>{escape(caption)}</figcaption></figure>")
    rows_shown = table(
        ["", "condition", "ECE", "mean confidence", "accuracy", "right answers that are sure"],
        [
            (
                name,
                condition,
                _share(found["ece"]),
                _share(found["mean_confidence"]),
                _share(found["accuracy"]),
                _share(found["right_that_are_sure"]),
            )
            for name, row in _groups(report).items()
            for condition, found in row["calibration"].items()
        ],
    )
    note = "<p>Share of right answers over the probability they were given; on the dashed line it is true.</p>"
    return f"<h2>Is its confidence true?</h2>{note}<div class='charts'>{''.join(figures)}</div>{rows_shown}"


def _refusal_section(report: Mapping[str, Any]) -> str:
    rows = []
    for name, row in _groups(report).items():
        reasons = ", ".join(f"{code} {count}" for code, count in row["refused"]["reasons"].items()) or "–"
        rows.append((name, f"{row['refused']['share']:.1%}", reasons, _share(row["empty_words"])))
    rows_shown = table(["", "refused", "reasons", "share with empty words"], rows)
    return f"<h2>Refused clips, clips without words</h2>{rows_shown}"


def _confusion_section(report: Mapping[str, Any]) -> str:
    parts = []
    for condition in report["pooled"]["confusion"]:
        for name, row in _groups(report).items():
            heading = f"<h3>{escape(name)}, {escape(report['conditions'][condition])}</h3>"
            parts.append(f"<div>{heading}{_matrix(row['confusion'][condition])}</div>")
    note = "<p>Rows: the label. Columns: the answer among all eight. Stronger color: a larger share of the row.</p>"
    return f"<h2>Confusion</h2>{note}<div class='charts'>{''.join(parts)}</div>"


def _matrix(counts: Mapping[str, Mapping[str, float]]) -> str:
    columns = [*emotion.NAMES, *(["refused"] if any(row["refused"] for row in counts.values()) else [])]
    head = "".join(f'<th scope="col" title="{name}">{name[:4]}</th>' for name in columns)
    body = []
    for label, row in counts.items():
        total = sum(row.values()) or 1
        cells = "".join(
            f'<td style="background:rgb(var(--accent) / {0.7 * row[name] / total:.2f})">{row[name]:.0f}</td>'
            for name in columns
        )
        body.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _left_section(report: Mapping[str, Any]) -> str:
    parts = ["<h2>Speed, corpora left out of training, what was not measured</h2>"]
    if "tone_milliseconds" in report:
        text = f"Tone of a 4 s clip after the shared pass: {report['tone_milliseconds']} ms of one processor."
        parts.append(f"<p>{text}</p>")
    if "leave_one_corpus_out" in report:
        left = report["leave_one_corpus_out"]
        rows = [(name, _in_words(value)) for name, value in left.items()] if isinstance(left, dict) else [("", left)]
        parts.append("<p>From the training log: each corpus judged by a model that was not trained on it.</p>")
        parts.append(table(["left out", "UAR"], rows))
    parts += [f"<p>{escape(name)}: not run, {escape(why)}.</p>" for name, why in report["not_run"].items()]
    return "".join(parts)


def _in_words(value: Any) -> str:
    """A number, or numbers by name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items())
    return str(value)
