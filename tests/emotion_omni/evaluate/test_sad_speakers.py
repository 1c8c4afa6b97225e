"""Replies to people who run themselves down: bad ones are stopped, good ones pass."""

from __future__ import annotations

from collections import Counter

from emotion_omni.evaluate.sad_speakers import measure, read_replies


def test_what_the_patterns_know_is_stopped_and_good_replies_pass():
    report = measure(read_replies())
    assert report["known"]["bad"]["stopped"] >= 0.95 * report["known"]["bad"]["replies"]
    for name in ("known", "fresh"):
        assert report[name]["good"]["stopped"] <= 0.02 * report[name]["good"]["replies"], report[name]["wrong"]


def test_every_speaker_has_good_and_bad_replies():
    rows = read_replies()
    assert len({row.words for row in rows}) >= 45 and {row.verdict for row in rows} == {"good", "bad"}
    assert all(kinds["good"] and kinds["bad"] for kinds in _verdicts(rows).values())


def _verdicts(rows) -> dict[str, Counter]:
    found: dict[str, Counter] = {}
    for row in rows:
        found.setdefault(row.words, Counter())[row.verdict] += 1
    return found


def test_a_filter_that_lets_all_through_is_seen():
    report = measure(read_replies(), lambda words, reply: False)
    assert report["known"]["bad"]["stopped"] == 0 and len(report["known"]["wrong"]) == report["known"]["bad"]["replies"]
