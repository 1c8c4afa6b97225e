"""What may be said to people who run themselves down, believe what is not so or are about to do something dangerous.

``sad_speakers.tsv``: set, the person's words, ``good`` or ``bad``, a reply. The patterns were mended by the replies of
the set ``known``; those of ``fresh`` were written afterwards and only measure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from emotion_omni.response.reply_faults import advises, agrees_with_blame
from emotion_omni.text_encoding import decode_text, split_lines

REPLIES = Path(__file__).with_name("sad_speakers.tsv")


class Judged(NamedTuple):
    set: str
    words: str
    verdict: str  # good or bad
    reply: str


def read_replies(path: Path = REPLIES) -> list[Judged]:
    return [Judged(*line.split("\t")) for line in split_lines(decode_text(path.read_bytes(), path.name)[0]) if line]


def refused(words: str, reply: str) -> bool:
    """Whether the patterns stop a reply to these words; the guard also reads its direction."""
    return agrees_with_blame(reply, words) or advises(reply, words)


def measure(replies: list[Judged], refuses: Callable[[str, str], bool] = refused) -> dict[str, Any]:
    """By set: how many bad replies are stopped, how many good ones are, and which are judged wrongly."""
    report: dict[str, Any] = {}
    for name in dict.fromkeys(one.set for one in replies):
        own = [one for one in replies if one.set == name]
        stopped = [one for one in own if refuses(one.words, one.reply)]
        wrong = [one for one in own if (one in stopped) != (one.verdict == "bad")]
        report[name] = {
            verdict: {
                "replies": sum(one.verdict == verdict for one in own),
                "stopped": sum(one.verdict == verdict for one in stopped),
            }
            for verdict in ("bad", "good")
        } | {"wrong": [f"{one.words} | {one.reply}" for one in wrong]}
    return report
