"""Proof of hearing: what a listener earns, and what a forger does not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from annotation.rating.playback import FASTEST, MOST_SEGMENTS, NEEDED, SLACK_SECONDS, PlaybackProof, add_span
from emotion_omni.types import EmotionOmniError

SECRET = b"a secret of the server"
LENGTHS = (10.0, 4.0)


def part(start: Any = 0.0, end: Any = 10.0, clip: Any = 0, **more: Any) -> dict[str, Any]:
    return {"clip": clip, "from": start, "to": end, "rate": 1, "muted": False, "visible": True} | more


class Listener:
    """Somebody with an item of two clips, of 10 and 4 seconds."""

    def __init__(self, playback: PlaybackProof | None = None) -> None:
        self.playback, self.now = playback or PlaybackProof(SECRET), 1000.0
        self.receipt, self.proofs = self.playback.start("item", LENGTHS), {}
        self.fetch(0, 1)

    def fetch(self, *clips: int) -> None:
        for clip in clips:
            self.proofs[str(clip)] = self.playback.fetch_proof("Ann", "item", clip, self.now)

    def play(self, *parts: Any, after: float = 20.0) -> dict[str, float]:
        """Report, so many seconds later → the share heard of each clip."""
        self.now += after
        self.receipt, heard = self.playback.extend(self.receipt, "Ann", "item", self.proofs, list(parts), self.now)
        return heard

    def check(self) -> dict[str, float]:
        return self.playback.check(self.receipt, "item", LENGTHS)


def refused(code: str, call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(EmotionOmniError) as caught:
        call(*arguments, **more)
    assert caught.value.code == code
    return str(caught.value)


def test_both_clips_played_to_the_end_are_enough() -> None:
    one = Listener()
    assert one.play(part(), part(0, 4, clip=1)) == {"0": 1.0, "1": 1.0}
    assert one.check() == {"0": 1.0, "1": 1.0}


def test_the_clip_that_is_missing_is_named() -> None:
    one = Listener()
    one.play(part())
    assert "Recording 2 of 2 was heard to 0%" in refused("unheard", one.check)


def test_a_jump_to_the_end_counts_only_what_was_played() -> None:
    one = Listener()
    assert one.play(part(9.5, 10.0))["0"] == pytest.approx(0.05)
    refused("unheard", one.check)


@pytest.mark.parametrize(
    "inattentive",
    [
        {"muted": True},
        {"visible": False},
        {"rate": 1.5},
        {"rate": 0},
        {"rate": -1},
        {"rate": float("nan")},
        {"muted": 0},
        {"visible": 1},
        {"visible": "true"},
    ],
)
def test_what_is_muted_hidden_or_too_fast_does_not_count(inattentive: dict[str, Any]) -> None:
    assert Listener().play(part(**inattentive))["0"] == 0.0


def test_a_little_faster_counts() -> None:
    assert Listener().play(part(rate=FASTEST), after=8.0)["0"] == 1.0


def test_nobody_hears_faster_than_time_passes() -> None:
    one = Listener()
    heard = one.play(part(), part(0, 4, clip=1), after=4.0)
    assert heard["0"] == pytest.approx((4.0 * FASTEST + SLACK_SECONDS) / 10, abs=0.001)
    assert heard["1"] == 0.0


def test_time_is_spent_once_for_all_clips_and_reports() -> None:
    one = Listener()
    one.play(part(), after=10.0)
    assert (
        one.play(part(), part(0, 4, clip=1), after=0.0)["1"] < 0.7
    )  # the second hearing of the first clip took time as well


@pytest.mark.parametrize("step", [0.05, 0.04, 0.0501])
def test_many_short_parts_do_not_hear_the_gaps_between_them(step: float) -> None:
    one = Listener()
    crumbs = [part(number * step, number * step + 0.0006) for number in range(int(10 / step))]
    heard = one.play(*crumbs, after=1.0)
    assert heard["0"] * 10 <= 1.0 * FASTEST + SLACK_SECONDS + 0.05


def test_the_small_gaps_of_an_honest_player_are_closed() -> None:
    one = Listener()
    parts = [part(number / 4 + 0.02, number / 4 + 0.25) for number in range(40)]
    assert one.play(*parts, after=10.0)["0"] >= 0.99


def test_a_clip_that_was_never_fetched_was_not_heard() -> None:
    one = Listener()
    one.proofs = {"0": "0" * 20}
    assert one.play(part(), part(0, 4, clip=1)) == {"0": 0.0, "1": 0.0}


def test_the_proof_of_one_clip_or_item_is_none_for_another() -> None:
    one = Listener()
    one.proofs = {"0": one.proofs["1"], "1": one.playback.fetch_proof("Ann", "other item", 1, one.now)}
    assert one.play(part(), part(0, 4, clip=1)) == {"0": 0.0, "1": 0.0}


@pytest.mark.parametrize("proof", ["\ud800", "ä", None, 5, ["x"]])
def test_a_proof_of_a_strange_kind_proves_nothing(proof: Any) -> None:
    one = Listener()
    one.proofs = {"0": proof}
    assert one.play(part())["0"] == 0.0


def test_the_receipt_of_another_item_is_refused() -> None:
    one = Listener()
    one.play(part(), part(0, 4, clip=1))
    refused("unheard", one.playback.check, one.receipt, "another", LENGTHS)
    refused("unheard", one.playback.extend, one.receipt, "Ann", "another", one.proofs, [part()], one.now)


def test_the_receipt_for_other_clips_is_refused() -> None:
    one = Listener()
    one.play(part(), part(0, 4, clip=1))
    refused("unheard", one.playback.check, one.receipt, "item", (10.0,))


@pytest.mark.parametrize("forged", ["", "x.y", None, 7, "eyJ9.abc", ["a"], {"id": "item"}])
def test_what_is_no_receipt_is_refused(forged: Any) -> None:
    refused("unheard", PlaybackProof(SECRET).check, forged, "item", LENGTHS)


def test_a_receipt_signed_by_somebody_else_is_refused() -> None:
    told = {"id": "item", "since": 0, "lengths": list(LENGTHS), "played": 0, "spans": {"0": [[0, 10]], "1": [[0, 4]]}}
    for signer in (URLSafeSerializer(b"guessed", salt="heard"), URLSafeSerializer(SECRET, salt="session")):
        refused("unheard", PlaybackProof(SECRET).check, signer.dumps(told), "item", LENGTHS)


def test_a_receipt_that_was_changed_is_refused() -> None:
    one = Listener()
    body, _, signature = one.receipt.rpartition(".")
    refused("unheard", one.playback.check, f"{body[:-2]}AA.{signature}", "item", LENGTHS)


def test_a_receipt_survives_a_restart_of_the_server() -> None:
    one = Listener()
    one.play(part(0, 5), after=5.0)
    one.playback = PlaybackProof(SECRET)
    one.play(part(5, 10), part(0, 4, clip=1), after=9.0)
    assert PlaybackProof(SECRET).check(one.receipt, "item", LENGTHS) == {"0": 1.0, "1": 1.0}


@pytest.mark.parametrize("clip", [2, -1, 10**40])
def test_a_clip_that_there_is_not_is_refused_or_counts_nothing(clip: int) -> None:
    one = Listener()
    try:
        heard = one.play(part(clip=clip))
    except EmotionOmniError as error:
        assert error.code == "bad-report"
    else:
        assert heard == {"0": 0.0, "1": 0.0}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (float("nan"), 10),
        (0, float("nan")),
        (-1, 10),
        (5, 5),
        (8, 2),
        (float("-inf"), 10),
        (float("inf"), float("inf")),
        (11, 12),
    ],
)
def test_places_that_no_player_reports_count_nothing(start: float, end: float) -> None:
    assert Listener().play(part(start, end))["0"] == 0.0


def test_an_end_beyond_the_clip_is_its_end() -> None:
    assert Listener().play(part(0, float("inf")))["0"] == 1.0


@pytest.mark.parametrize(
    "segment",
    [
        None,
        5,
        "x",
        [],
        {},
        {"clip": 0},
        part(clip="x"),
        part(start=None),
        part(start=[0]),
        part(rate={}),
        part(clip=float("inf")),
        part(start=10**400),
    ],
)
def test_a_part_of_a_strange_kind_is_refused(segment: Any) -> None:
    refused("bad-report", Listener().play, segment)


@pytest.mark.parametrize(
    ("proofs", "played"), [({}, None), ({}, {}), ([], []), (None, []), ({}, [part()] * (MOST_SEGMENTS + 1))]
)
def test_a_report_of_a_strange_kind_is_refused(proofs: Any, played: Any) -> None:
    one = Listener()
    refused("bad-report", one.playback.extend, one.receipt, "Ann", "item", proofs, played, one.now + 20)


def test_what_is_heard_twice_counts_once() -> None:
    assert Listener().play(part(0, 6), part(2, 6), part(0, 3), after=30.0)["0"] == pytest.approx(0.6)


@pytest.mark.parametrize(("share", "enough"), [(NEEDED - 0.002, False), (NEEDED, True)])
def test_the_line_lies_at_95_percent(share: float, enough: bool) -> None:
    one = Listener()
    one.play(part(0, 10 * share), part(0, 4, clip=1))
    if enough:
        assert one.check()["0"] == NEEDED
    else:
        assert "heard to 94%; 95% are needed" in refused("unheard", one.check)


def test_a_clock_that_is_set_back_gives_nothing_away() -> None:
    one = Listener()
    assert one.play(part(), after=-3600.0)["0"] == 0.0


def test_an_item_without_clips_needs_no_receipt() -> None:
    assert PlaybackProof(SECRET).check(None, "item", ()) == {}


SPANS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SPANS, st.floats(0, 12))
def test_whatever_is_reported_no_more_is_heard_than_there_was_time_for(
    spans: list[tuple[float, float]], seconds: float
) -> None:
    one = Listener()
    heard = one.play(*[part(start, end) for start, end in spans], after=seconds)
    assert heard["0"] * 10 <= seconds * FASTEST + SLACK_SECONDS + 0.02


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SPANS)
def test_joined_spans_are_apart_and_in_order(spans: list[tuple[float, float]]) -> None:
    joined: list[list[float]] = []
    for span in spans:
        add_span(joined, min(span), max(span), budget=1e9)
    assert all(earlier[1] < later[0] for earlier, later in zip(joined, joined[1:], strict=False))


# --- clocks -----------------------------------------------------------------------------------------------------


class Others:
    """One rater with several items of one clip of 10 seconds, all fetched at the same moment."""

    def __init__(self, *names: str) -> None:
        self.playback, self.now = PlaybackProof(SECRET), 1000.0
        self.receipts = {name: self.playback.start(name, [10.0]) for name in names}
        self.proofs = {name: {"0": self.playback.fetch_proof("Ann", name, 0, self.now)} for name in names}

    def play(self, name: str, *parts: Any, after: float = 0.0, keep: bool = True) -> float:
        """→ the share heard. ``keep`` False: the answer is lost on its way."""
        self.now += after
        receipt, heard = self.playback.extend(
            self.receipts[name], "Ann", name, self.proofs[name], list(parts or [part()]), self.now
        )
        if keep:
            self.receipts[name] = receipt
        return heard["0"]


def test_waiting_before_the_download_earns_nothing() -> None:
    one = Listener()
    one.now += 60
    one.fetch(0)
    assert one.play(part(), after=0.0)["0"] == pytest.approx(SLACK_SECONDS / 10, abs=0.001)


def test_a_clip_fetched_later_has_less_time() -> None:
    one = Listener()
    one.now += 8
    one.fetch(1)
    heard = one.play(part(), part(0, 4, clip=1), after=0.0)
    assert heard["0"] == 1.0 and heard["1"] < 0.2


def test_two_items_are_not_heard_in_the_time_of_one() -> None:
    two = Others("a", "b")
    assert two.play("a", after=8.0) == 1.0
    assert two.play("b") == pytest.approx(SLACK_SECONDS / 10, abs=0.001)
    assert two.play("b", after=8.0) == 1.0


def test_many_items_are_not_heard_in_the_time_of_one() -> None:
    names = [f"item{number}" for number in range(30)]
    many = Others(*names)
    shares = [many.play(name, after=0.1) for name in names]
    assert sum(shares) * 10 <= 3.0 * FASTEST + SLACK_SECONDS + 0.2  # shares are rounded


def test_slack_is_lent_once() -> None:
    names = [f"item{number}" for number in range(30)]
    many = Others(*names)
    assert sum(many.play(name) for name in names) * 10 <= SLACK_SECONDS + 0.2


def test_turns_between_two_items_count_for_both() -> None:
    two = Others("a", "b")
    two.play("a", part(0, 5), after=5.0)
    two.play("b", part(0, 5), after=5.0)
    assert two.play("a", part(5, 10), after=5.0) == 1.0
    assert two.play("b", part(5, 10), after=5.0) == 1.0


def test_a_report_whose_answer_was_lost_may_be_sent_again() -> None:
    two = Others("a", "b")
    assert two.play("a", after=10.0, keep=False) == 1.0
    assert two.play("a") == 1.0


def test_an_empty_report_spends_nothing() -> None:
    two = Others("a", "b")
    two.play("b", after=10.0, keep=False)
    two.playback.extend(two.receipts["a"], "Ann", "a", {}, [], two.now)
    assert two.play("b") == 1.0


def test_the_proof_of_another_rater_proves_nothing() -> None:
    two = Others("a")
    two.proofs["a"] = {"0": two.playback.fetch_proof("Bob", "a", 0, two.now)}
    assert two.play("a", after=20.0) == 0.0


def test_a_proof_with_another_time_proves_nothing() -> None:
    two = Others("a")
    _, _, signature = two.proofs["a"]["0"].rpartition(".")
    two.proofs["a"] = {"0": f"1.000.{signature}"}
    assert two.play("a", after=20.0) == 0.0


def test_a_receipt_of_the_last_release_goes_on() -> None:
    one = Listener()
    old = {"id": "item", "since": 1000.0, "lengths": list(LENGTHS), "played": 5.0, "spans": {"0": [[0, 5]]}}
    one.receipt = URLSafeSerializer(SECRET, salt="heard").dumps(old)
    assert one.play(part(5, 10), after=4.5)["0"] == pytest.approx((5 + 0.5 * FASTEST + SLACK_SECONDS) / 10, abs=0.001)
    assert one.play(part(5, 10), part(0, 4, clip=1), after=9.0) == {"0": 1.0, "1": 1.0}


def test_crafted_reports_are_handled_quickly() -> None:
    """400 parts far apart, under a receipt that has thousands of spans: the cost must not grow with their product."""
    playback, now = PlaybackProof(SECRET), 1000.0
    receipt, proofs = playback.start("item", [600.0]), {"0": playback.fetch_proof("Ann", "item", 0, 1.0)}
    slowest = 0.0
    for report in range(20):
        crumbs = [part((report * 400 + n) * 0.07, (report * 400 + n) * 0.07 + 0.002) for n in range(400)]
        began = time.process_time()
        receipt, _ = playback.extend(receipt, "Ann", "item", proofs, crumbs, now)
        slowest = max(slowest, time.process_time() - began)
    assert slowest < 0.3
