"""Proof of hearing: the server's own account of which parts of which clip a rater has heard.

The server keeps nothing between requests. It hands out a signed *receipt* with each item; the browser
returns it with every report of what was played, and gets it back with those parts added. What counts:

- the clip was fetched (its bytes came with a proof that a report must show);
- it was played at no more than 1.25 times its speed, not muted, on a visible page;
- it fits in the time: all that was ever played cannot exceed the time since the item was handed out,
  times 1.25. A forger therefore has to wait as long as a listener, for every item.

A rating needs 95 % of every clip. Times are seconds. A receipt survives a restart of the server.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

from emotion_omni.types import EmotionOmniError

NEEDED = 0.95  # share of each clip
FASTEST = 1.25  # times the clip's own speed
SLACK_SECONDS = 0.35  # the clocks of two machines, and the time a request takes
MOST_SEGMENTS = 400  # in one report

Span = list[float]  # [from, to]


class Hearing:
    """Issues, extends and checks receipts under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._signer = URLSafeSerializer(secret, salt="heard")
        self._secret = secret

    def begin(self, assignment: str, lengths: Sequence[float], now: float) -> str:
        """A receipt under which nothing has been heard yet. ``lengths``: seconds of each clip."""
        return self._signer.dumps(
            {"id": assignment, "since": round(now, 3), "lengths": list(lengths), "played": 0.0, "spans": {}}
        )

    def proof(self, assignment: str, clip: int) -> str:
        """Comes with the clip's bytes; whoever has it has fetched the clip."""
        return hmac.new(self._secret, f"clip:{assignment}:{clip}".encode(), hashlib.sha256).hexdigest()[:20]

    def extend(
        self, receipt: str, assignment: str, proofs: Any, played: Any, now: float
    ) -> tuple[str, dict[str, float]]:
        """Add what was played → the new receipt, and the share heard of each clip."""
        known = self._open(receipt, assignment)
        spans = {clip: [list(span) for span in found] for clip, found in known["spans"].items()}
        budget = (now - known["since"]) * FASTEST + SLACK_SECONDS - known["played"]
        for clip, start, end in self._heard(known, proofs, played):
            end = min(end, start + budget)
            heard = spans.get(str(clip), [])
            joined = union([*heard, [start, end]])
            cost = max(end - start, _total(joined) - _total(heard))  # gaps that are closed cost time as well
            if start < end and cost <= budget + 0.001:
                spans[str(clip)] = joined
                budget -= cost
                known["played"] += cost
        fresh = known | {"spans": spans, "played": round(known["played"], 3)}
        return self._signer.dumps(fresh), _shares(fresh)

    def check(self, receipt: str, assignment: str, lengths: Sequence[float]) -> dict[str, float]:
        """The share heard of each clip, or an error (``unheard``) that says which one is missing."""
        if not lengths:
            return {}
        known = self._open(receipt, assignment)
        if len(known["lengths"]) != len(lengths):
            raise EmotionOmniError("This receipt belongs to other clips. Open the item again.", "unheard")
        heard = _shares(known)
        for clip, share in heard.items():
            if share < NEEDED:
                which = "The recording" if len(heard) == 1 else f"Recording {int(clip) + 1} of {len(heard)}"
                told = f"{which} was heard to {int(share * 100)}%; {NEEDED:.0%} are needed."
                raise EmotionOmniError(f"{told} Play it to the end with the sound on, on a visible page.", "unheard")
        return heard

    def _open(self, receipt: Any, assignment: str) -> dict[str, Any]:
        try:
            known = self._signer.loads(receipt if isinstance(receipt, str) else "")
        except BadSignature:
            raise EmotionOmniError(
                "There is no valid record of what you heard. Open the item again and listen.", "unheard"
            ) from None
        if known["id"] != assignment:
            raise EmotionOmniError("This record of hearing belongs to another item.", "unheard")
        return known

    def _heard(self, known: Mapping[str, Any], proofs: Any, played: Any) -> list[tuple[int, float, float]]:
        """The parts of a report that count."""
        if not isinstance(played, list) or not isinstance(proofs, Mapping) or len(played) > MOST_SEGMENTS:
            raise EmotionOmniError(
                f"A report is a list of at most {MOST_SEGMENTS} played parts, with proofs.", "bad-report"
            )
        return [part for segment in played if (part := self._counts(known, proofs, segment))]

    def _counts(self, known: Mapping[str, Any], proofs: Mapping, segment: Any) -> tuple[int, float, float] | None:
        try:
            clip, start, end = int(segment["clip"]), float(segment["from"]), float(segment["to"])
            attentive = (
                segment["visible"] is True and segment["muted"] is False and 0 < float(segment["rate"]) <= FASTEST
            )
            length = known["lengths"][clip] if clip >= 0 else 0.0
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            raise EmotionOmniError(
                "A played part needs clip, from, to, rate, muted and visible.", "bad-report"
            ) from None
        fetched = hmac.compare_digest(
            str(proofs.get(str(clip), "")).encode(errors="replace"), self.proof(known["id"], clip).encode()
        )
        if not (attentive and fetched and 0 <= start < end):  # also false for what is not a number
            return None
        return clip, min(start, length), min(end, length)


def union(spans: Sequence[Span]) -> list[Span]:
    """Overlapping spans joined, in order; gaps of under 50 ms, which no ear notices, closed."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + 0.05:
            joined[-1][1] = max(joined[-1][1], round(end, 3))
        else:
            joined.append([round(start, 3), round(end, 3)])
    return joined


def _total(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in spans)


def _shares(known: Mapping[str, Any]) -> dict[str, float]:
    lengths = enumerate(known["lengths"])
    return {str(clip): _share(known["spans"].get(str(clip), []), length) for clip, length in lengths}


def _share(spans: Sequence[Span], length: float) -> float:
    return round(min(1.0, _total(spans) / length), 3) if length > 0 else 1.0
