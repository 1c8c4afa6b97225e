"""What a corpus holds: what was tried and kept, by property; why the rest was rejected; how varied the texts are.

The same corpus gives the same statistics; times are not part of them.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from emotion_omni.data.audio_filter import first_words
from emotion_omni.data.shards import Corpus
from emotion_omni.data.text_filter import distinct_ngrams
from emotion_omni.train.exchanges import normalized, opening, sentences

BY = ("domain", "emotion", "kind", "split", "speaker", "channel")
COLUMNS = (
    *("dialogue", "turn", "split", "kind", "domain", "emotion", "reply_emotion", "speaker", "reply_speaker", "channel"),
    *("transcript", "reply", "strategy", "source", "query_measured", "reply_measured"),
)
SELF_BLEU_TEXTS = 200  # replies that are compared with each other


def statistics(corpus: Corpus) -> dict[str, Any]:
    """Of the finished shards."""
    kept = list(corpus.kept_rows(COLUMNS))
    rejected = list(corpus.rejected())
    first = [row for row in kept if row["turn"] == 0]
    lost = [one["rows"][0] for one in rejected]
    return {
        "tried": len(first) + len(rejected),
        "kept": len(first),
        "rejected": len(rejected),
        "keep_rate": _rate(len(first), len(rejected)),
        "turns": len(kept),
        "hours": {
            "queries": round(sum(_seconds(row, "query") for row in kept) / 3600, 4),
            "replies": round(sum(_seconds(row, "reply") for row in kept) / 3600, 4),
        },
        "reasons": dict(Counter(name for one in rejected for name in sorted(set(first_words(one["reasons"]))))
                        .most_common()),
        "keep_rates": {name: _keep_rates(first, lost, name) for name in BY},
        "least_kept_cells": _least_kept(first, lost),
        "measured": {
            "query_wer": _spread(row["query_measured"]["wer"] for row in kept),
            "meant_emotion_probability": _spread(row["query_measured"]["emotion"] for row in kept),
            "meant_emotion_is_likeliest": _share(
                row["emotion"] == row["query_measured"]["heard_as"]
                for row in kept
                if row["query_measured"]["heard_as"]
            ),
            "query_seconds": _spread(_seconds(row, "query") for row in kept),
            "reply_seconds": _spread(_seconds(row, "reply") for row in kept),
            "predicted_quality": _spread(row["query_measured"]["quality"] for row in kept),
        },
        "text": diversity([row["transcript"] for row in kept], [row["reply"] for row in kept]),
        "strategies": dict(Counter(name for row in kept for name in row["strategy"]).most_common()),
        "sources": dict(Counter(row["source"].partition(":")[0] for row in first).most_common()),
        "leaks": leaks(kept),
    }  # fmt: skip


def _seconds(row: dict[str, Any], name: str) -> float:
    return (row[f"{name}_measured"] or {}).get("seconds") or 0.0


def _rate(kept: int, lost: int) -> float | None:
    return round(kept / (kept + lost), 4) if kept + lost else None


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None


def _keep_rates(kept: Sequence[dict], lost: Sequence[dict], name: str) -> dict[str, dict[str, Any]]:
    if name == "channel":
        kept, lost = [
            [row | {"channel": "clean" if row.get("channel") == "clean" else "changed"} for row in rows]
            for rows in (kept, lost)
        ]
    good = Counter(row[name] for row in kept)
    bad = Counter(row.get(name, "(unwritten)") for row in lost)
    return {
        key: {"kept": good[key], "rejected": bad[key], "rate": _rate(good[key], bad[key])}
        for key in sorted(set(good) | set(bad))
    }


def _least_kept(kept: Sequence[dict], lost: Sequence[dict]) -> list[dict[str, Any]]:
    """The ten cells domain × emotion × voice of at least three dialogues with the lowest keep rate."""
    cells: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    for rows, is_kept in ((kept, True), (lost, False)):
        for row in rows:
            cells[row["domain"], row["emotion"], row.get("speaker", "")].append(is_kept)
    found = [(sum(held) / len(held), cell, len(held)) for cell, held in cells.items() if len(held) >= 3]
    return [{"cell": " / ".join(cell), "rate": round(rate, 3), "of": count} for rate, cell, count in sorted(found)[:10]]


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    found = sorted(value for value in values if value is not None)
    if not found:
        return None
    places = {"p5": 0.05, "p50": 0.5, "p95": 0.95}
    spread = {name: round(found[min(len(found) - 1, int(share * len(found)))], 4) for name, share in places.items()}
    return {"mean": round(sum(found) / len(found), 4)} | spread


# --- texts ----------------------------------------------------------------------------------------------------------


def diversity(queries: Sequence[str], replies: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, texts in (("queries", queries), ("replies", replies)):
        plain = [normalized(text) for text in texts]
        found[name] = {
            "different": len(set(plain)),
            **{f"distinct_{size}": round(distinct_ngrams(plain, size), 4) for size in (1, 2, 3)},
            "self_bleu": self_bleu(plain),
            "openings": dict(Counter(map(opening, texts)).most_common(5)),
            "closings": dict(Counter(normalized(sentences(text)[-1]) for text in texts if text).most_common(5)),
        }
    return found


def self_bleu(texts: Sequence[str], sample: int = SELF_BLEU_TEXTS) -> float | None:
    """Self-BLEU-4 (Zhu et al. 2018, "Texygen"): mean BLEU of each text against all the others; 0 varied, 1 all alike.

    Of at most ``sample`` texts, drawn by a fixed seed, n-grams smoothed by 1 above unigrams (Lin & Och 2004).
    """
    if len(texts) < 2:
        return None
    some = [text.split() for text in random.Random(0).sample(list(texts), min(sample, len(texts)))]
    grams = [
        [Counter(zip(*(words[at:] for at in range(size)), strict=False)) for size in range(1, 5)] for words in some
    ]
    return round(sum(_bleu(index, some, grams) for index in range(len(some))) / len(some), 4)


def _bleu(index: int, texts: list[list[str]], grams: list[list[Counter]]) -> float:
    words, logarithm = texts[index], 0.0
    for size in range(4):
        mine = grams[index][size]
        hits = sum(
            min(count, max(other[size][gram] for place, other in enumerate(grams) if place != index))
            for gram, count in mine.items()
        )
        smooth = 1 if size else 0
        total = sum(mine.values()) + smooth
        if not total or hits + smooth == 0:
            return 0.0
        logarithm += math.log((hits + smooth) / total) / 4
    nearest = min((abs(len(one) - len(words)), len(one)) for place, one in enumerate(texts) if place != index)[1]
    penalty = min(0.0, 1 - nearest / max(len(words), 1))
    return math.exp(logarithm + penalty)


def leaks(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Texts and voices of people that are in more than one split; there should be none."""
    texts, voices = defaultdict(set), defaultdict(set)
    for row in rows:
        if row["turn"] == 0:
            texts[normalized(row["transcript"])].add(row["split"])
        voices[row["speaker"]].add(row["split"])
    return {
        "texts_in_two_splits": sorted(text for text, splits in texts.items() if len(splits) > 1),
        "voices_in_two_splits": sorted(voice for voice, splits in voices.items() if len(splits) > 1),
    }
