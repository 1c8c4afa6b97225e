"""What the Results tab shows of a study: computed here, without gradio, by the process that serves or by its own."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from annotation.analysis.item_table import item_table
from annotation.analysis.reports import Reports
from annotation.analysis.results import Results
from annotation.export.labels import count_labels
from annotation.store.queries import View
from annotation.ui.report_tables import report_tables
from annotation.ui.result_pictures import pictures


@dataclass(frozen=True)
class Drawn:
    """What the tab shows of a study, without the study's ratings. ``sequence``: of the newest event in it.
    ``raters``: (name and verdict, id).
    """

    sequence: int
    pictures: str
    items: pd.DataFrame
    raters: list[tuple[str, str]]
    labels: dict[str, int]  # ordinary ratings without and with the model's guess


def draw(view: View, study: str, kept_only: bool, secret: bytes) -> Drawn:
    """Raises :class:`EmotionOmniError` (code ``not-found``)."""
    found, reports, sequence = Results.read(view, study, secret), Reports.read(view, study), view.applied()
    people = [(f"{found.pseudonym(rater)} · {found.verdicts[rater].outcome}", rater) for rater in found.raters]
    shown = pictures(found, kept_only) + report_tables(found, reports)
    return Drawn(sequence, shown, item_table(found, kept_only), people, count_labels(found.ratings))
