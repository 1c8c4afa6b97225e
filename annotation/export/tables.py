"""The rows of ratings, items, skips and surveys: all raters and all items, flagged or not, of the labels asked for.

The table of ratings is the source of every other table of an export.
"""

from __future__ import annotations

from annotation.analysis.reports import DISTRESSING
from annotation.export.columns import source_column
from annotation.export.fields import (
    about_json,
    audio_path,
    audio_sha256,
    iso_time,
    rounded,
    source_file,
    source_value,
    text_or_none,
)
from annotation.export.labels import MEASURING, chosen, label_kind
from annotation.export.source import Source
from annotation.store.tables import Row
from annotation.study.scales import SCALES, SURVEY

_ORDER = {name: index for index, name in enumerate(SCALES)}  # questions in the order of the schema


def rating_rows(source: Source) -> list[Row]:
    """One row for each answer to each question, of the labels that are exported; and of all checks."""
    consenting = {source.results.pseudonym(rater) for rater in source.consents}
    table = source.results.table
    kinds = table["guess_shown"].map(label_kind)
    exported = kinds.isin(chosen(source.labels)) | ~table["kind"].isin(MEASURING)
    table = table.assign(anchoring=kinds)[exported].astype(object).to_dict("records")
    rows = [_rating_row(row, row["rater"] in consenting) | _rated_file(source, row["item"]) for row in table]
    return sorted(rows, key=lambda row: (row["item"], row["rater"], row["at"], row["rating"], _ORDER[row["scale"]]))


def _rating_row(row: Row, consent: bool) -> Row:
    value = row["value"]
    right = rounded(row["right"])
    return row | {
        "value": str(value),
        "value_number": float(value) if SCALES[row["scale"]].kind == "points" else None,
        "value_on_page": _value_on_page(row),
        "at": iso_time(row["at"]),
        "consent": consent,
        "system": text_or_none(row["system"]),
        "guess": text_or_none(row["guess"]),
        "guess_probability": rounded(row["guess_probability"]),
        "seconds": rounded(row["seconds"]),
        "heard": rounded(row["heard"]),
        "right": None if right is None else bool(right),
    }


def _rated_file(source: Source, item: str) -> Row:
    """The researcher's file that a rating is about: the recording or the reply; in a comparison, the query."""
    roles = source.results.rules.form.clips
    role = "reply" if "reply" in roles else roles[0]
    return {f"source_{name}": value for name, value in source_file(source.results.items[item]["content"], role).items()}


def _value_on_page(row: Row) -> str:
    """What the rater clicked; of swapped answers, the page showed b as a."""
    swapped = {"a": "b", "b": "a"} if row["scale"] == "preference" and row["side"] == "swapped" else {}
    return swapped.get(row["value"], str(row["value"]))


def own_columns(source: Source) -> list[str]:
    """The columns of the researcher's own table, in its order."""
    rows = [(item["content"].get("source") or {}).get("row") or {} for item in source.items]
    return list(dict.fromkeys(name for row in rows for name in row))


def item_rows(source: Source) -> list[Row]:
    own = own_columns(source)
    return [
        _item_row(source, item) | {source_column(name): source_value(item["content"], name) for name in own}
        for item in source.items
    ]


def _item_row(source: Source, item: Row) -> Row:
    content, rules = item["content"], source.results.rules
    guess, decision = content.get("guess") or {}, source.adjudicated.get(item["id"])
    row = {
        "item": item["id"],
        "family": item["family"],
        "role": item["role"],
        "mode": content.get("mode", "both"),
        "split": rules.split,
        "guess": guess.get("label"),
        "guess_probability": rounded(guess.get("probability")),
        "contributed": bool(item["contributor"]),
        "adjudicated": decision and str(decision["value"]),
        "adjudicated_reason": decision and decision["reason"],
        "about": about_json(content),
    }
    for role in rules.form.clips:
        row |= {
            f"{role}_text": content.get("texts", {}).get(role),
            f"{role}_system": content.get("systems", {}).get(role),
            f"{role}_file_name": audio_path(content, role),
            f"{role}_sha256": audio_sha256(content, role),
        }
        row |= {f"{role}_source_{name}": value for name, value in source_file(content, role).items()}
    return row


def skip_rows(source: Source) -> list[Row]:
    """One row for each time that an item was skipped, with the rater's reason."""
    rows = [
        {name: skip[name] for name in ("item", "family", "kind", "reason", "block", "slot")}
        | {
            "rater": source.results.pseudonym(skip["rater"]),
            "distressing": skip["reason"] == DISTRESSING,
            "at": iso_time(skip["at"]),
        }
        for skip in source.reports.skips
    ]
    return sorted(rows, key=lambda row: (row["item"], row["rater"], row["at"]))


def survey_rows(source: Source) -> list[Row]:
    """One row for each answer to the closing survey, comments included."""
    rows = [
        {"rater": source.results.pseudonym(rater)} | {scale.name: given.get(scale.name) for scale in SURVEY}
        for rater, given in source.reports.surveys.items()
    ]
    return sorted(rows, key=lambda row: row["rater"])
