"""Proof of hearing: the server's own account of which parts of which clip a rater has heard.

The server keeps nothing between requests. It hands out a signed *receipt* with each item; the browser returns it
with every report of what was played, and gets it back with those parts added. A part counts if

- the clip was fetched: its bytes come with a proof that a report must contain;
- it was played at no more than 1.25 times its speed, not muted, on a visible page;
- it fits in the time: all that was ever played cannot exceed the time since the item was handed out, times 1.25.
  A forger has to wait as long as a listener does, for every item.

A rating needs 95 % of every clip (:data:`NEEDED`). Times are seconds. A receipt survives a restart of the server.
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
SLACK_SECONDS = 0.35  # difference of the two machines' clocks, and the time a request takes
GAP_SECONDS = 0.05  # between two parts: shorter gaps are inaudible, and are closed
MOST_SEGMENTS = 400  # in one report
ROUNDING_SECONDS = 0.001

Span = list[float]  # [from, to]


class PlaybackProof:
    """Issues, extends and checks receipts under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._signer = URLSafeSerializer(secret, salt="heard")
        self._secret = secret

    def start(self, assignment: str, lengths: Sequence[float], now: float) -> str:
        """A receipt under which nothing has been heard yet. ``lengths``: seconds of each clip."""
        return self._signer.dumps(
            {"id": assignment, "since": round(now, 3), "lengths": list(lengths), "played": 0.0, "spans": {}}
        )

    def fetch_proof(self, assignment: str, clip: int) -> str:
        """Sent with the clip's bytes: a report that contains it comes from somebody who has fetched the clip."""
        return hmac.new(self._secret, f"clip:{assignment}:{clip}".encode(), hashlib.sha256).hexdigest()[:20]

    def extend(
        self, receipt: str, assignment: str, proofs: Any, played: Any, now: float
    ) -> tuple[str, dict[str, float]]:
        """Add what was played → the new receipt, and the share heard of each clip.

        A part that exceeds the time left is cut. Hearing something again takes time as well.
        """
        state = self._open(receipt, assignment)
        spans = {clip: [list(span) for span in heard] for clip, heard in state["spans"].items()}
        budget = (now - state["since"]) * FASTEST + SLACK_SECONDS - state["played"]
        for clip, start, end in self._counted_parts(state, proofs, played):
            end = min(end, start + budget)
            heard = spans.get(str(clip), [])
            joined = union([*heard, [start, end]])
            cost = max(end - start, _total(joined) - _total(heard))  # gaps that are closed cost time as well
            if start < end and cost <= budget + ROUNDING_SECONDS:
                spans[str(clip)] = joined
                budget -= cost
                state["played"] += cost
        extended = state | {"spans": spans, "played": round(state["played"], 3)}
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
        return state

    def _counted_parts(self, state: Mapping[str, Any], proofs: Any, played: Any) -> list[tuple[int, float, float]]:
        """(clip, from, to) of the parts of a report that count."""
        if not isinstance(played, list) or not isinstance(proofs, Mapping) or len(played) > MOST_SEGMENTS:
            raise EmotionOmniError(
                f"A report is a list of at most {MOST_SEGMENTS} played parts, with proofs.", "bad-report"
            )
        parts = [self._counted_part(state, proofs, segment) for segment in played]
        return [part for part in parts if part]

    def _counted_part(self, state: Mapping[str, Any], proofs: Mapping, segment: Any) -> tuple[int, float, float] | None:
        try:
            clip, start, end = int(segment["clip"]), float(segment["from"]), float(segment["to"])
            is_audible = segment["visible"] is True and segment["muted"] is False
            is_in_speed = 0 < float(segment["rate"]) <= FASTEST
            length = state["lengths"][clip] if clip >= 0 else 0.0
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            raise EmotionOmniError(
                "A played part needs clip, from, to, rate, muted and visible.", "bad-report"
            ) from None
        proof = str(proofs.get(str(clip), "")).encode(errors="replace")
        is_fetched = hmac.compare_digest(proof, self.fetch_proof(state["id"], clip).encode())
        if not (is_audible and is_in_speed and is_fetched and 0 <= start < end):  # comparisons with NaN are false
            return None
        return clip, min(start, length), min(end, length)


def union(spans: Sequence[Span]) -> list[Span]:
    """Overlapping spans joined, in order, with inaudible gaps closed."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + GAP_SECONDS:
            joined[-1][1] = max(joined[-1][1], round(end, 3))
        else:
            joined.append([round(start, 3), round(end, 3)])
    return joined


def _total(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in spans)


def _shares(state: Mapping[str, Any]) -> dict[str, float]:
    lengths = enumerate(state["lengths"])
    return {str(clip): _share(state["spans"].get(str(clip), []), length) for clip, length in lengths}


def _share(spans: Sequence[Span], length: float) -> float:
    return round(min(1.0, _total(spans) / length), 3) if length > 0 else 1.0
