"""Sheets for blind reading: what readers see, what they must not, and what comes of it."""

from __future__ import annotations

import csv
import json
import math

import pytest

from emotion_omni.evaluate import reply_sheets
from emotion_omni.types import EmotionOmniError

SYSTEMS = ("one", "two", "three")


def fill(folder, scores) -> None:
    """``scores``: row of a sheet → score of each reader."""
    for reader in range(reply_sheets.READERS):
        path = folder / f"sheet-{reader + 1}.csv"
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row |= {"score": scores(row)[reader], "sense": "yes", "direction": "no", "anyone": " No "}
        with open(path, "w", newline="", encoding="utf-8") as file:
            sheet = csv.DictWriter(file, rows[0])
            sheet.writeheader()
            sheet.writerows(rows)


@pytest.fixture
def folder(tmp_path):
    chosen = reply_sheets.prompts(10)
    replies = {name: {one["id"]: f"{name}, {one['text']}" for one in chosen} for name in SYSTEMS}
    replies["three"] = replies["two"]
    assert reply_sheets.write(chosen, replies, tmp_path)["rows"] == 2 * len(chosen)  # the same words are read once
    return tmp_path


def test_prompts_are_spread_over_kinds_and_pairs_stay_together():
    chosen = reply_sheets.prompts(60)
    assert 58 <= len(chosen) <= 60 and len({one["kind"] for one in chosen}) >= 10
    pairs = [one["id"] for one in chosen if one["kind"] == "contrast"]
    assert all(sum(other.rsplit("-", 1)[0] == one.rsplit("-", 1)[0] for other in pairs) == 2 for one in pairs)
    assert len(reply_sheets.prompts()) == 120


def test_readers_see_no_system_and_each_has_an_order_of_their_own(folder):
    orders = []
    for reader in (1, 2):
        with open(folder / f"sheet-{reader}.csv", newline="", encoding="utf-8") as file:
            sheet = list(csv.DictReader(file))
        assert set(sheet[0]) == {*reply_sheets.GIVEN, *reply_sheets.JUDGED}
        orders.append([row["number"] for row in sheet])
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    assert "two" not in (folder / "rubric.txt").read_text().split()


def test_the_summary_knows_which_system_wrote_what(folder):
    fill(folder, lambda row: ("4", "5") if row["reply"].startswith("one") else ("2", "1"))
    found = reply_sheets.summary(folder)
    assert [found["systems"][name]["score"] for name in SYSTEMS] == [4.5, 1.5, 1.5]
    assert (
        found["agreement"] == 1.0 and found["systems"]["one"]["sense"] == 1 and found["systems"]["one"]["anyone"] == 0
    )
    assert reply_sheets.as_text(found).splitlines()[1].startswith("  one: 4.50 of 5")


def test_a_wrong_cell_is_named(folder):
    fill(folder, lambda row: ("4", "5"))
    path = folder / "sheet-2.csv"
    path.write_text(path.read_text().replace(",5,yes", ",six,yes", 1))
    with pytest.raises(EmotionOmniError, match=r"sheet-2\.csv, number \d+: score is 'six'"):
        reply_sheets.summary(folder)


def test_correlation():
    assert reply_sheets.correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert reply_sheets.correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(reply_sheets.correlation([1, 1], [1, 2]))


def test_replies_that_are_there_are_not_written_again(tmp_path):
    chosen = reply_sheets.prompts(4)
    rows = [{"system": "embedded", "prompt": one["id"], "reply": "kept", "seconds": 1} for one in chosen]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert set(reply_sheets.replies_of("embedded", chosen, tmp_path).values()) == {"kept"}
