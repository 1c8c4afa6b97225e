"""The pictures of the Results tab: what they show, what they refuse, and that data cannot inject HTML."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from annotation.ui import plots

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
NAN = float("nan")


def interval(label="Full", mean=3.84, low=3.5, high=4.18, n=480, reason=""):
    return {
        "label": label,
        "mean": mean,
        "low": low,
        "high": high,
        "naive_low": 3.75,
        "naive_high": 3.93,
        "n": n,
        "reason": reason,
    }


def agreement(scale="fit", value=0.71, low=0.6, high=0.82, reason=""):
    return {
        "scale": scale,
        "name": "α (ordinal)",
        "value": value,
        "low": low,
        "high": high,
        "items": 120,
        "raters": 5,
        "reason": reason,
    }


def rank(system="Full", strength=1.2, low=0.9, high=1.5, votes=812, status="listed", reason=""):
    return {
        "system": system,
        "strength": strength,
        "low": low,
        "high": high,
        "votes": votes,
        "status": status,
        "reason": reason,
    }


def rater(name="r1", effect=0.4, low=0.2, high=0.6, outcome="kept", reason=""):
    return {"rater": name, "effect": effect, "low": low, "high": high, "outcome": outcome, "reason": reason}


def part(label="Naturalness", done=812, wanted=1000, raters=12, eta="2 days left"):
    return {"label": label, "done": done, "wanted": wanted, "raters": raters, "eta": eta}


BIAS = {"mean": 0.21, "low": 0.05, "high": 0.37}
HOURS = [("2025-11-21T10:00Z", 3), ("2025-11-21T11:00Z", None), ("2025-11-21T12:00Z", 40)]
POWER = [{"raters": 8, "power": 0.43}, {"raters": 20, "power": 0.82}, {"raters": 12, "power": 0.61}]

NORMAL = {
    "interval_plot": lambda: plots.interval_plot(
        [interval(), interval("Words only", 3.2, 2.7, 3.7)], 1, 5, "Fit", "points"
    ),
    "confusion_matrix": lambda: plots.confusion_matrix(["calm", "sad"], [[30, 10], [0, 20]]),
    "histogram": lambda: plots.histogram(["bad", "good"], {"Full": [4, 12], "Words only": [9, 1]}, "Fit"),
    "agreement_panel": lambda: plots.agreement_panel([agreement(), agreement("emotion", -0.05, -0.3, 0.1)]),
    "ranking_plot": lambda: plots.ranking_plot(
        [rank(), rank("Words only", -1.2, -1.5, -0.9, 211, "preliminary")], BIAS
    ),
    "progress_bars": lambda: plots.progress_bars([part(), part("Emotion", 5, 5)]),
    "timeline": lambda: plots.timeline(HOURS, "Ratings", "ratings an hour"),
    "power_curve": lambda: plots.power_curve(POWER),
    "scatter_severity": lambda: plots.scatter_severity([rater(), rater("r2", -1.1, -1.5, -0.7, "flagged")]),
    "stat_tiles": lambda: plots.stat_tiles([("Ratings", 1204, "of 2,000"), ("Agreement", None, "too early")]),
}
SINGLE = {
    "interval_plot": lambda: plots.interval_plot([interval()], 1, 5, "Fit"),
    "confusion_matrix": lambda: plots.confusion_matrix(["calm"], [[3]]),
    "histogram": lambda: plots.histogram(["bad"], {"Full": [4]}, "Fit"),
    "agreement_panel": lambda: plots.agreement_panel([agreement()]),
    "ranking_plot": lambda: plots.ranking_plot([rank(strength=0.0, low=0.0, high=0.0)]),
    "progress_bars": lambda: plots.progress_bars([part()]),
    "timeline": lambda: plots.timeline(HOURS[:1], "Ratings", "ratings an hour"),
    "power_curve": lambda: plots.power_curve(POWER[:1]),
    "scatter_severity": lambda: plots.scatter_severity([rater(effect=0.0, low=0.0, high=0.0)]),
    "stat_tiles": lambda: plots.stat_tiles([("Ratings", 1204, "of 2,000")]),
}
UNDEFINED = {
    "interval_plot": lambda: plots.interval_plot(
        [interval(low=None, high=None), interval("New", NAN, NAN, None, 0)], 1, 5, "Fit"
    ),
    "confusion_matrix": lambda: plots.confusion_matrix(["calm", "sad"], [[3, NAN], [None, 0]]),
    "histogram": lambda: plots.histogram(["bad", "good"], {"Full": [4, NAN], "Nothing yet": [0, None]}, "Fit"),
    "agreement_panel": lambda: plots.agreement_panel([agreement(value=None, low=None, high=None), agreement(low=NAN)]),
    "ranking_plot": lambda: plots.ranking_plot(
        [rank(strength=None, low=None, high=math.inf)], {"mean": NAN, "low": None, "high": None}
    ),
    "progress_bars": lambda: plots.progress_bars(
        [part(None, None, None, None, None), part(done=3, wanted=0, raters=NAN)]
    ),
    "timeline": lambda: plots.timeline(
        [("2025-11-21T10:00Z", NAN), ("2025-11-21T12:00Z", 4)], "Ratings", "ratings an hour"
    ),
    "power_curve": lambda: plots.power_curve(
        [{"raters": 4, "power": None}, {"raters": None, "power": 0.5}, {"raters": 9, "power": 0.4}]
    ),
    "scatter_severity": lambda: plots.scatter_severity(
        [rater(effect=None, low=None, high=None), rater(low=NAN, outcome=None)]
    ),
    "stat_tiles": lambda: plots.stat_tiles([("Agreement", NAN, None), (None, math.inf, "")]),
}
FOREIGN = {
    "interval_plot": lambda: plots.interval_plot([interval(HOSTILE, low=None, reason=HOSTILE)], 1, 5, HOSTILE, HOSTILE),
    "confusion_matrix": lambda: plots.confusion_matrix([HOSTILE, "sad"], [[3, 1], [1, 3]], HOSTILE, HOSTILE),
    "histogram": lambda: plots.histogram([HOSTILE], {HOSTILE: [3]}, HOSTILE),
    "agreement_panel": lambda: plots.agreement_panel([agreement(HOSTILE, None, reason=HOSTILE) | {"name": HOSTILE}]),
    "ranking_plot": lambda: plots.ranking_plot(
        [rank(HOSTILE, status=HOSTILE, low=None, reason=HOSTILE)], {"mean": HOSTILE, "reason": HOSTILE}
    ),
    "progress_bars": lambda: plots.progress_bars([part(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)]),
    "timeline": lambda: plots.timeline([(HOSTILE, 3), ("2025-11-21T10:00Z", 5)], HOSTILE, HOSTILE),
    "power_curve": lambda: plots.power_curve(
        [{"raters": 8, "power": HOSTILE}, {"raters": HOSTILE, "power": 1}, *POWER]
    ),
    "scatter_severity": lambda: plots.scatter_severity(
        [rater(HOSTILE, outcome=HOSTILE), rater(HOSTILE, None, reason=HOSTILE)]
    ),
    "stat_tiles": lambda: plots.stat_tiles([(HOSTILE, HOSTILE, HOSTILE)]),
}
EMPTY = {
    "interval_plot": lambda: plots.interval_plot([], 1, 5, "Fit"),
    "confusion_matrix": lambda: plots.confusion_matrix([], []),
    "confusion_matrix of zeros": lambda: plots.confusion_matrix(["calm"], [[0]]),
    "histogram": lambda: plots.histogram(["bad"], {}, "Fit"),
    "histogram of zeros": lambda: plots.histogram(["bad"], {"Full": [0]}, "Fit"),
    "agreement_panel": lambda: plots.agreement_panel([]),
    "ranking_plot": lambda: plots.ranking_plot([], BIAS),
    "progress_bars": lambda: plots.progress_bars([]),
    "timeline": lambda: plots.timeline([], "Ratings", "ratings an hour"),
    "power_curve": lambda: plots.power_curve([]),
    "scatter_severity": lambda: plots.scatter_severity([]),
    "stat_tiles": lambda: plots.stat_tiles([]),
}
KINDS = {"normal": NORMAL, "single": SINGLE, "undefined": UNDEFINED, "foreign": FOREIGN}
EVERY = [(f"{kind}: {name}", draw) for kind, cases in KINDS.items() for name, draw in cases.items()]
every = pytest.mark.parametrize("draw", [draw for _, draw in EVERY], ids=[name for name, _ in EVERY])


class Words(HTMLParser):
    """The tags and attributes of a page as a browser reads them, refusing what is not balanced."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], set(), set(), ""
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def numbers_of(page: str) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(page).iter("tr")]


def widths(page: str, style: str) -> list[float]:
    return [float(width) for width in re.findall(rf'class="{style}" style="(?:left:[\d.]+%;)?width:([\d.]+)%', page)]


@every
def test_a_picture_is_well_formed_and_keeps_to_its_own_tags(draw):
    page = draw()
    root, read = ElementTree.fromstring(page), Words(page)
    assert root.tag == "figure"
    layout, numbers = (
        {"figure", "figcaption", "div", "span", "p", "b"},
        {"details", "summary", "table", "thead", "tbody", "tr", "th", "td"},
    )
    assert read.tags <= layout | numbers | {"svg", "path"}
    assert not [name for name in read.attributes if name.startswith("on") or name in ("src", "href")]


@every
def test_a_picture_is_named_in_words_and_has_its_numbers_beside_it(draw):
    root = ElementTree.fromstring(draw())
    image, details = root.find("div[@role='img']"), root.find("details")
    assert len(image.get("aria-label")) > 20 and image.get("aria-label").rstrip().endswith(".")
    assert details.find("summary").text == "Show the numbers"
    assert len(list(details.iter("tr"))) >= 2
    assert not list(image.iter("details")), "what is inside an image is not read aloud"


@every
def test_no_picture_says_nan_or_reaches_another_host(draw):
    page = draw()
    assert not re.search(r"\b(nan|inf|None)\b", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and "url(" not in page


@every
def test_everything_drawn_lies_within_its_track(draw):
    placed = re.findall(r"left:(-?[\d.]+)%(?:;width:(-?[\d.]+)%)?", draw())
    assert all(float(left) >= 0 and float(left) + float(width or 0) <= 100.01 for left, width in placed)


@pytest.mark.parametrize("name", FOREIGN)
def test_html_in_the_data_is_escaped(name):
    page = FOREIGN[name]()
    assert "<img" not in page
    if name != "power_curve":  # it shows numbers only
        assert HOSTILE in Words(page).text


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_picture_explains_itself(name):
    page = EMPTY[name]()
    assert page.startswith('<div class="empty">') and len(ElementTree.fromstring(page).text) > 20


def test_the_clustered_and_the_naive_interval_are_both_drawn_to_scale():
    page = NORMAL["interval_plot"]()
    assert widths(page, "plot-bar") == [17.0, 25.0]  # 0.68 and 1.0 of the four points from 1 to 5
    assert widths(page, "plot-naive") == [4.5, 4.5]
    assert 'class="plot-mean" style="left:71.00%"' in page
    assert numbers_of(page)[1] == ["Full", "3.84", "3.50 to 4.18", "3.75 to 3.93", "480", ""]


def test_an_interval_that_leaves_the_axis_is_marked_as_cut_and_a_mean_off_the_axis_is_not_drawn():
    page = plots.interval_plot([interval(mean=5.5, low=4.5, high=6.5)], 1, 5, "Fit")
    assert "plot-bar cut-high" in page and "cut-low" not in page
    assert 'class="plot-mean" style' not in page and "5.50 (4.50 to 6.50)" in page


def test_a_missing_interval_says_why_and_draws_no_bar():
    page = plots.interval_plot([interval(low=None, high=None, reason="it has fewer than two raters")], 1, 5, "Fit")
    assert "not defined because it has fewer than two raters" in page
    assert not widths(page, "plot-bar") and 'class="plot-mean" style' in page


def test_a_reason_that_already_says_not_defined_is_not_said_twice():
    page = plots.agreement_panel([agreement(value=None, reason="not defined because every rating is the same value")])
    assert "not defined because every rating is the same value" in page and "because not defined" not in page


@pytest.mark.parametrize(("low", "high"), [(5, 1), (1, 1), (NAN, 5)])
def test_an_axis_with_low_above_high_is_refused(low, high):
    with pytest.raises(ValueError, match="lower to a higher"):
        plots.interval_plot([interval()], low, high, "Fit")


def test_confusion_shades_by_share_of_the_row_and_shows_the_share_on_the_diagonal():
    page = NORMAL["confusion_matrix"]()
    shades = [float(shade) for shade in re.findall(r"--shade:([\d.]+)%", page)]
    assert shades[0] == pytest.approx(3 * shades[1]) and shades[2] == 0 and shades[3] == max(shades)
    assert numbers_of(page)[1:] == [["calm", "30", "10", "75 %"], ["sad", "0", "20", "100 %"]]
    assert "50 of 60" in page


def test_confusion_takes_a_table_and_a_row_without_counts_has_no_share():
    page = plots.confusion_matrix(["calm", "sad"], pd.DataFrame([[3, 1], [0, 0]]))
    assert numbers_of(page)[2] == ["sad", "0", "0", "–"]


@pytest.mark.parametrize("counts", [[[1, 2]], [[1], [2]], [[1, 2], [3, 4], [5, 6]]])
def test_counts_that_do_not_fit_the_categories_are_refused(counts):
    with pytest.raises(ValueError, match="2 categories"):
        plots.confusion_matrix(["calm", "sad"], counts)


def test_histogram_bars_are_shares_of_their_own_series():
    page = plots.histogram(["bad", "good"], {"Few": [1, 1], "Many": [100, 300]}, "Fit")
    few_bad, many_bad, few_good, many_good = (width for width in widths(page, r"plot-fill series-\d"))
    assert many_good == 100 and few_good == few_bad == pytest.approx(66.7) and many_bad == pytest.approx(33.3)
    with pytest.raises(ValueError, match="'Few' needs 2 counts, not 1"):
        plots.histogram(["bad", "good"], {"Few": [1]}, "Fit")


def test_agreement_has_both_thresholds_and_a_negative_bar_ends_at_zero():
    page = plots.agreement_panel([agreement(value=-0.1, low=-0.15, high=0.1)])
    assert 'class="plot-guide" style="left:72.25%"' in page and 'class="plot-guide" style="left:83.33%"' in page
    assert 'class="plot-amount" style="left:8.33%;width:8.33%"' in page  # from -0.1 to 0 of -0.2 to 1
    assert "120 items · 5 raters" in page


def test_a_ranking_keeps_its_order_and_hides_what_has_too_few_votes():
    rows = [rank("B", 0.2, -0.1, 0.5, 120, "preliminary"), rank("A"), rank("C", 9.87, 9, 10, 3, "hidden")]
    page = plots.ranking_plot(rows)
    assert [row[0] for row in numbers_of(page)[1:]] == ["B", "A", "C"]
    assert "badge-preliminary" in page and "badge-hidden" in page and "too few votes" in page
    assert "9.87" not in page and page.count('class="plot-mean" style') == 2


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        (BIAS, "the answer on the left is preferred for its place alone"),
        ({"mean": -0.3, "low": -0.5, "high": -0.1}, "the answer on the right is preferred"),
        ({"mean": 0.1, "low": -0.1, "high": 0.3}, "not shown, the interval holds 0"),
        (
            {"mean": 0.1, "low": None, "high": None, "reason": "there is one rater"},
            "not defined because there is one rater",
        ),
    ],
)
def test_position_bias_is_explained_in_a_line(bias, said):
    assert said in plots.ranking_plot([rank()], bias)


@pytest.mark.parametrize(
    ("done", "wanted", "share"), [(0, 10, "0 %"), (1999, 2000, "99 %"), (5, 5, "100 %"), (12, 10, "120 %"), (3, 0, "–")]
)
def test_progress_is_100_percent_only_when_everything_is_done(done, wanted, share):
    page = plots.progress_bars([part(done=done, wanted=wanted)])
    assert numbers_of(page)[1][3] == share and max(widths(page, r"plot-fill series-\d")) <= 100
    assert "2 days left" in page


def test_a_timeline_is_sorted_and_interrupted_at_missing_counts():
    page = plots.timeline(HOURS[::-1], "Ratings", "ratings an hour")
    assert [row[0] for row in numbers_of(page)[1:]] == ["21 Nov 10:00", "21 Nov 11:00", "21 Nov 12:00"]
    path = ElementTree.fromstring(page).find(".//path").get("d")
    assert path.count("M") == 2 and "L" not in path and "at most 40 (21 Nov 12:00)" in page


def test_times_of_several_zones_and_of_none_share_one_axis():
    page = plots.timeline(
        [("2025-11-21T12:00+02:00", 1), ("2025-11-21T11:00", 2), ("2025-11-21T12:00Z", 3)], "Ratings", "ratings"
    )
    assert (
        re.findall(r'chart-dot" style="left:([\d.]+)%', page) == ["0.00", "50.00", "100.00"] and "times in UTC" in page
    )


def test_times_that_cannot_be_parsed_keep_their_order():
    page = plots.timeline([("second week", 4), ("first week", 2)], "Ratings", "ratings")
    assert [row[0] for row in numbers_of(page)[1:]] == ["second week", "first week"] and "in the order given" in page


def test_power_names_the_first_number_of_raters_that_is_enough():
    assert "0.8 is first reached with 20 raters" in plots.power_curve(POWER)
    assert "0.8 is not reached" in plots.power_curve(POWER[:1])
    assert 'class="plot-aim" style="bottom:80.00%"' in plots.power_curve(POWER)


def test_labels_under_a_chart_do_not_overlap():
    page = plots.power_curve([{"raters": count, "power": count / 200} for count in range(1, 150)])
    lefts = [float(left) for left in re.findall(r'class="(?:from|amid|until|between)" style="left:([\d.]+)%"', page)]
    assert lefts[0] == 0 and lefts[-1] == 100 and 5 <= len(lefts) <= 12
    assert min(later - sooner for sooner, later in zip(lefts, lefts[1:], strict=False)) >= 8.9


def test_a_flagged_rater_differs_in_shape_colour_and_word():
    page = plots.scatter_severity([rater(), rater("r2", outcome="flagged"), rater("r3", outcome="could-not-check")])
    css = Path(plots.__file__).with_name("plots.css").read_text(encoding="utf-8")
    kept, flagged = (re.search(rf"\.plot-rater\.{style} {{([^}}]*)}}", css)[1] for style in ("kept", "flagged"))
    assert "rotate" in flagged and "rotate" not in kept
    assert re.search(r"background: ([^;]*)", flagged)[1] != re.search(r"background: ([^;]*)", kept)[1]
    assert page.count('plot-rater flagged" style') == 1 and 'badge-flagged">flagged<' in page
    assert "Flagged: r2." in page and [row[3] for row in numbers_of(page)[1:]] == [
        "kept",
        "flagged",
        "could not be checked",
    ]


def test_tiles_format_numbers():
    page = plots.stat_tiles([("a", 12345, ""), ("b", 0.7342, ""), ("c", "6.2 s", ""), ("d", None, "")])
    assert [row[1] for row in numbers_of(page)[1:]] == ["12,345", "0.73", "6.2 s", "–"]


def test_tables_and_objects_are_read_like_mappings():
    @dataclass(frozen=True)
    class Row:
        rater: str = "r1"
        effect: float = 0.4
        low: float = 0.2
        high: float = 0.6
        outcome: str = "kept"

    expected = plots.scatter_severity([rater()])
    assert plots.scatter_severity([Row()]) == expected
    assert plots.scatter_severity(pd.DataFrame([rater()])) == expected


def test_every_class_of_the_pictures_has_a_style_and_no_style_is_left_over():
    css = re.sub(
        r"/\*.*?\*/", "", Path(plots.__file__).with_name("plots.css").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    cut = plots.interval_plot([interval(low=0, high=6)], 1, 5, "Fit") + plots.ranking_plot([rank(status="hidden")])
    many = plots.histogram(["bad"], {str(place): [1] for place in range(6)}, "Fit")
    pages = "".join(draw() for _, draw in EVERY) + cut + many + plots.ranking_plot([rank(status="preliminary")])
    used = {name for names in re.findall(r'class="([^"]*)"', pages) for name in names.split()}
    styled = set(re.findall(r"\.([a-z][a-z0-9-]*)", css))
    without_rules = {
        "plot-picture",
        "badge-unchecked",
        "plot-rater",
        "amid",
    }  # placed by their parents, or the plain case
    assert used - styled <= without_rules and styled <= used


def test_the_style_sheet_contacts_no_other_host_and_uses_no_rule_that_gradio_drops():
    css = Path(plots.__file__).with_name("plots.css").read_text(encoding="utf-8")
    assert "http" not in css and "url(" not in css and "@import" not in css
    assert set(re.findall(r"^@(\w+)", css, flags=re.MULTILINE)) == {"media"} and css.count("{") == css.count("}")
