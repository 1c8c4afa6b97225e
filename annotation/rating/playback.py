"""Proof of hearing: the server's own account of which parts of which clip a rater has heard.

The server hands out a signed *receipt* with each item; the browser returns it with every report of what was played,
and gets it back with those parts added. A part counts if

- the clip was fetched: its bytes come with a signed *proof* of the rater and the time, which a report must contain;
- it was played at no more than 1.25 times its speed, not muted, on a visible page;
- it fits in the time since the clip was fetched, times 1.25, that no other hearing has spent. A rater has one clock for
  all items of all studies: a forger has to wait as long as a listener does, for every clip.

A rating needs 95 % of every clip (:data:`NEEDED`). Times are seconds. Receipts are the lasting record; the clocks are
kept in memory, and a restart of the server forgets only what was spent on other items.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

from emotion_omni.types import EmotionOmniError

NEEDED = 0.95  # share of each clip
FASTEST = 1.25  # times the clip's own speed
SLACK_SECONDS = 0.35  # difference of the two machines' clocks, and the time a request takes
GAP_SECONDS = 0.05  # between two parts: shorter gaps are inaudible, and are closed
MOST_SEGMENTS = 400  # in one report
ROUNDING_SECONDS = 0.001
MOST_RATERS, MOST_ITEMS_EACH = 20_000, 8  # whose clocks are kept

Span = list[float]  # [from, to]


class RaterClocks:
    """Until when each rater's time is spent, by item. Within an item its receipt counts, so a resent report is free."""

    def __init__(self) -> None:
        self._spent: OrderedDict[str, dict[str, float]] = OrderedDict()  # rater → assignment → a time

    def free_from(self, rater: str, assignment: str) -> float:
        """Up to this time the rater has heard other items."""
        return max((until for name, until in self._spent.get(rater, {}).items() if name != assignment), default=0.0)

    def spend(self, rater: str, assignment: str, until: float) -> None:
        items = self._spent.pop(rater, {})
        items[assignment] = max(until, items.get(assignment, 0.0))
        if len(items) > MOST_ITEMS_EACH:
            items.pop(min(items, key=lambda name: items[name]))  # the earliest never decides
        self._spent[rater] = items
        if len(self._spent) > MOST_RATERS:
            self._spent.popitem(last=False)


class PlaybackProof:
    """Issues, extends and checks receipts under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._signer = URLSafeSerializer(secret, salt="heard")
        self._secret = secret
        self._clocks, self._lock = RaterClocks(), Lock()

    def start(self, assignment: str, lengths: Sequence[float]) -> str:
        """A receipt under which nothing has been heard yet. ``lengths``: seconds of each clip."""
        return self._signer.dumps({"id": assignment, "lengths": list(lengths), "free_from": 0.0, "spans": {}})

    def fetch_proof(self, rater: str, assignment: str, clip: int, now: float) -> str:
        """Sent with the clip's bytes: this rater has fetched the clip at this time."""
        fetched = f"{now:.3f}"
        return f"{fetched}.{self._signature(rater, assignment, clip, fetched)}"

    def extend(
        self, receipt: str, rater: str, assignment: str, proofs: Any, played: Any, now: float
    ) -> tuple[str, dict[str, float]]:
        """Add what was played → the new receipt, and the share heard of each clip.

        A part that exceeds the time left is cut. Hearing something again takes time as well.
        """
        state = self._open(receipt, assignment)
        parts = _counted_parts(state["lengths"], proofs, played)
        fetched = {clip: self._fetch_time(rater, assignment, clip, proofs) for clip in {clip for clip, _, _ in parts}}
        with self._lock:
            free_from = max(state["free_from"], self._clocks.free_from(rater, assignment))
            for clip, start, end in parts:
                if (since := fetched[clip]) is not None:
                    began = max(free_from, since)
                    spans = state["spans"].setdefault(str(clip), [])
                    if spent := add_span(spans, start, end, (now - began) * FASTEST + SLACK_SECONDS):
                        free_from = state["free_from"] = began + spent / FASTEST
                        self._clocks.spend(rater, assignment, free_from)
        extended = {name: state[name] for name in ("id", "lengths", "free_from", "spans")}
        return self._signer.dumps(extended), _shares(extended)

    def check(self, receipt: Any, assignment: str, lengths: Sequence[float]) -> dict[str, float]:
        """The share heard of each clip, or an error (``unheard``) that names the clip that is missing."""
        if not lengths:
            return {}
        state = self._open(receipt, assignment)
        if len(state["lengths"]) != len(lengths):
            raise EmotionOmniError("This receipt belongs to other clips. Open the item again.", "unheard")
        shares = _shares(state)
        for clip, share in shares.items():
            if share < NEEDED:
                which = "The recording" if len(shares) == 1 else f"Recording {int(clip) + 1} of {len(shares)}"
                raise EmotionOmniError(
                    f"{which} was heard to {int(share * 100)}%; {NEEDED:.0%} are needed. "
                    "Play it to the end with the sound on, on a visible page.",
                    "unheard",
                )
        return shares

    def _open(self, receipt: Any, assignment: str) -> dict[str, Any]:
        try:
            state = self._signer.loads(receipt if isinstance(receipt, str) else "")
        except BadSignature:
            raise EmotionOmniError(
                "There is no valid record of what you heard. Open the item again and listen.", "unheard"
            ) from None
        if state["id"] != assignment:
            raise EmotionOmniError("This record of hearing belongs to another item.", "unheard")
        if "free_from" not in state:  # a receipt of the last release: since when, and how much was played
            state["free_from"] = state["since"] + state["played"] / FASTEST
        return state

    def _fetch_time(self, rater: str, assignment: str, clip: int, proofs: Mapping) -> float | None:
        """When the rater fetched a clip; ``None`` without a valid proof of it."""
        fetched, _, signature = str(proofs.get(str(clip), "")).rpartition(".")
        expected = self._signature(rater, assignment, clip, fetched)
        is_valid = hmac.compare_digest(signature.encode(errors="replace"), expected.encode())
        return float(fetched) if is_valid else None

    def _signature(self, rater: str, assignment: str, clip: int, fetched: str) -> str:
        signed = f"clip:{rater}:{assignment}:{clip}:{fetched}".encode(errors="replace")
        return hmac.new(self._secret, signed, hashlib.sha256).hexdigest()[:20]


def add_span(spans: list[Span], start: float, end: float, budget: float) -> float:
    """Add a span to sorted ones that lie apart, as far as the budget allows → what it cost.

    It costs its own length, and at least what it adds: gaps that are closed cost time as well. O(log n).
    """
    end = min(end, math.floor((start + budget) * 1000) / 1000)
    if not start < end:
        return 0.0
    first = bisect_left(spans, start - GAP_SECONDS, key=lambda span: span[1])
    last = bisect_right(spans, end + GAP_SECONDS, key=lambda span: span[0])
    touched = spans[first:last]
    joined = [start, end]
    if touched:
        joined = [min(start, touched[0][0]), max(end, touched[-1][1])]
    cost = max(end - start, joined[1] - joined[0] - _total(touched))
    if cost > budget + ROUNDING_SECONDS:
        return 0.0
    spans[first:last] = [joined]
    return cost


def _counted_parts(lengths: Sequence[float], proofs: Any, played: Any) -> list[tuple[int, float, float]]:
    """(clip, from, to) of the parts of a report that count."""
    if not isinstance(played, list) or not isinstance(proofs, Mapping) or len(played) > MOST_SEGMENTS:
        raise EmotionOmniError(
            f"A report is a list of at most {MOST_SEGMENTS} played parts, with proofs.", "bad-report"
        )
    parts = [_counted_part(lengths, segment) for segment in played]
    return [part for part in parts if part]


def _counted_part(lengths: Sequence[float], segment: Any) -> tuple[int, float, float] | None:
    try:
        clip, start, end = int(segment["clip"]), float(segment["from"]), float(segment["to"])
        is_audible = segment["visible"] is True and segment["muted"] is False
        is_in_speed = 0 < float(segment["rate"]) <= FASTEST
        length = lengths[clip] if clip >= 0 else 0.0
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise EmotionOmniError("A played part needs clip, from, to, rate, muted and visible.", "bad-report") from None
    if not (is_audible and is_in_speed and 0 <= start < end):  # comparisons with NaN are false
        return None
    return clip, round(min(start, length), 3), round(min(end, length), 3)


def _total(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in spans)


def _shares(state: Mapping[str, Any]) -> dict[str, float]:
    lengths = enumerate(state["lengths"])
    return {str(clip): _share(state["spans"].get(str(clip), []), length) for clip, length in lengths}


def _share(spans: Sequence[Span], length: float) -> float:
    return round(min(1.0, _total(spans) / length), 3) if length > 0 else 1.0
