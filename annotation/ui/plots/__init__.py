"""A listening study's results as pictures: HTML and SVG that follow the page's light or dark theme.

Every function takes plain values and returns text. Rows are mappings, objects with the named attributes, or a whole
table (pandas). Every picture has a summary for screen readers and its numbers in a table below it. The pictures do
not know how the numbers were estimated: they draw the intervals and repeat the reasons they are given.
"""

from annotation.ui.plots.agreement import agreement_panel
from annotation.ui.plots.confusion import confusion_matrix
from annotation.ui.plots.histogram import histogram
from annotation.ui.plots.intervals import interval_plot
from annotation.ui.plots.power import power_curve
from annotation.ui.plots.progress import progress_bars
from annotation.ui.plots.ranking import ranking_plot
from annotation.ui.plots.severity import scatter_severity
from annotation.ui.plots.tiles import stat_tiles
from annotation.ui.plots.timeline import timeline

__all__ = [
    "agreement_panel",
    "confusion_matrix",
    "histogram",
    "interval_plot",
    "power_curve",
    "progress_bars",
    "ranking_plot",
    "scatter_severity",
    "stat_tiles",
    "timeline",
]
