"""Blind reading of replies: shuffled sheets for readers who do not know which system wrote what, and their summary.

``python -m emotion_omni evaluate --only replies --responders embedded NAME=FILE.yaml --out FOLDER`` writes
``replies.jsonl``, one ``sheet-N.csv`` for each reader and ``key.json``, which readers must not see. A second call with
filled sheets in the folder prints the summary.
"""

from __future__ import annotations

import csv
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion_omni import emotion, engine, json_lines
from emotion_omni.cascade.parts import load_responder
from emotion_omni.cascade.resolve import resolve
from emotion_omni.loading import find_device
from emotion_omni.response.guard import Guard
from emotion_omni.response.planner import Planner
from emotion_omni.response.responder import Responder
from emotion_omni.types import EmotionOmniError, Exchange, Heard

PROMPTS = Path(__file__).with_name("reply_prompts.jsonl")
READERS = 2
GIVEN = ("number", "earlier", "tone", "said", "reply")
JUDGED = {
    "score": ("1", "2", "3", "4", "5"),
    "sense": ("yes", "no"),
    "direction": ("yes", "no"),
    "anyone": ("yes", "no"),
}
RUBRIC = """Each row is one moment of a spoken conversation: what somebody said (and how it sounded), and a reply.
Judge each reply by itself; the order of the rows is random.
score      1 unrelated or wrong, 2 weak or partly wrong, 3 recognises what was said but stays shallow,
           4 good and particular, 5 deep, specific and genuine, what a good friend would say
sense      yes if the reply makes sense as an answer, else no
direction  yes if it leans the right way (no cheers for bad news, no comfort for good news) and asserts no wrong fact
anyone     yes if it could be said to anyone about anything, no if it belongs to this moment
"""

Prompt = dict[str, Any]  # id, text, tone, kind, earlier


def prompts(limit: int = 0) -> list[Prompt]:
    """All prompts, or ``limit`` of them spread evenly; pairs of the same words in two tones stay together."""
    rows = [row for _, row in json_lines.read_file(PROMPTS)]
    pairs: dict[str, list[Prompt]] = {}
    for row in rows:
        pairs.setdefault("-".join(row["id"].split("-")[:2]), []).append(row)
    groups = list(pairs.values())
    if not limit or limit >= len(rows):
        return rows
    share = limit / len(rows)
    chosen, due = [], 0.0
    for group in groups:
        due += share * len(group)
        if due >= len(group) - 1e-9:
            chosen += group
            due -= len(group)
    return chosen


def reply_to(prompt: Prompt, responder: Responder, planner: Planner, seed: int = 0) -> str:
    """The tone is given, as if it had been heard with certainty."""
    history = [Exchange(one["text"], one["tone"], one["reply"]) for one in prompt["earlier"]]
    heard = Heard(prompt["text"], emotion.one_hot(prompt["tone"]))
    return "".join(responder.reply(heard, planner.plan(heard, history), history, seed=seed)).strip()


def load(name: str) -> tuple[Responder, Planner]:
    """``embedded``, ``embedded:FOLDER``, ``cascade:FILE``, ``hub``: the two parts that write."""
    parsed = engine.parse(name)
    config = resolve(parsed.kind, parsed.source)[1]
    guard = Guard.load(config.planner.weights)
    device = find_device(config.device if config.uses_device else "cpu")
    planner = Planner(guard if config.planner.news == "guard" else None)
    return load_responder(config.responder, device, guard), planner


def replies_of(name: str, chosen: Sequence[Prompt], folder: Path, seed: int = 0) -> dict[str, str]:
    """Prompt id → reply. They are kept in ``replies.jsonl`` with the seconds that each took."""
    path, known = folder / "replies.jsonl", {}
    if path.exists():
        rows = [row for _, row in json_lines.read_file(path)]
        known = {row["prompt"]: row["reply"] for row in rows if row["system"] == name}
    missing = [prompt for prompt in chosen if prompt["id"] not in known]
    if missing:
        responder, planner = load(name)
    folder.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for prompt in missing:
            started = time.perf_counter()
            known[prompt["id"]] = reply_to(prompt, responder, planner, seed)
            row = {"system": name, "prompt": prompt["id"], "reply": known[prompt["id"]]}
            file.write(json.dumps(row | {"seconds": round(time.perf_counter() - started, 3)}) + "\n")
            file.flush()
    return known


def write(
    chosen: Sequence[Prompt], replies: Mapping[str, Mapping[str, str]], folder: Path, seed: int = 0
) -> dict[str, Any]:
    """``replies``: system → prompt id → reply. Each reader has an order of their own; replies that are the same word
    for word are read once. → counts."""
    folder.mkdir(parents=True, exist_ok=True)
    key: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, str]] = {}
    pairs = [(prompt, reply) for prompt in chosen for reply in sorted({one[prompt["id"]] for one in replies.values()})]
    random.Random(seed).shuffle(pairs)
    for number, (prompt, reply) in enumerate(pairs, 1):
        systems = [name for name, texts in replies.items() if texts[prompt["id"]] == reply]
        key[str(number)] = {"prompt": prompt["id"], "systems": systems}
        earlier = " / ".join(f"{one['tone']}: {one['text']} -> {one['reply']}" for one in prompt["earlier"])
        given = (str(number), earlier, prompt["tone"], prompt["text"], reply)
        rows[str(number)] = dict(zip(GIVEN, given, strict=True))
    for reader in range(1, READERS + 1):
        order = list(rows)
        random.Random(f"{seed}-{reader}").shuffle(order)
        with open(folder / f"sheet-{reader}.csv", "w", newline="", encoding="utf-8") as file:
            sheet = csv.DictWriter(file, [*GIVEN, *JUDGED], restval="")
            sheet.writeheader()
            sheet.writerows(rows[number] for number in order)
    (folder / "rubric.txt").write_text(RUBRIC, encoding="utf-8")
    (folder / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")
    return {"prompts": len(chosen), "systems": list(replies), "rows": len(rows), "readers": READERS}


def read_sheets(folder: Path) -> list[dict[str, dict[str, str]]]:
    """For each filled sheet: number → judgements. Raises :class:`EmotionOmniError` (code ``data``) for a wrong cell."""
    found = []
    for path in sorted(folder.glob("sheet-*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not any((row.get("score") or "").strip() for row in rows):
            continue
        for row in rows:
            for name, allowed in JUDGED.items():
                row[name] = (row.get(name) or "").strip().lower()
                if row[name] not in allowed:
                    raise EmotionOmniError(
                        f"{path.name}, number {row['number']}: {name} is {row[name]!r}. "
                        f"Write one of: {', '.join(allowed)}.",
                        "data",
                    )
        found.append({row["number"]: row for row in rows})
    return found


def summary(folder: Path) -> dict[str, Any]:
    """Means by system over all readers, and how far the readers agree (Pearson's r of their scores)."""
    sheets = read_sheets(folder)
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    systems: dict[str, list[dict[str, str]]] = {}
    for sheet in sheets:
        for number, row in sheet.items():
            for name in key[number]["systems"]:
                systems.setdefault(name, []).append(row)
    found: dict[str, Any] = {"readers": len(sheets), "systems": {}}
    for name, rows in systems.items():
        scores = [float(row["score"]) for row in rows]
        shares = {one: _share(rows, one) for one in JUDGED if one != "score"}
        found["systems"][name] = {"rows": len(rows), "score": round(sum(scores) / len(scores), 3)} | shares
    if len(sheets) == READERS:
        numbers = sorted(set(sheets[0]) & set(sheets[1]))
        one, two = ([float(sheet[number]["score"]) for number in numbers] for sheet in sheets)
        found["agreement"] = round(correlation(one, two), 3)
    return found


def _share(rows: Sequence[Mapping[str, str]], name: str) -> float:
    return round(sum(row[name] == "yes" for row in rows) / len(rows), 3)


def correlation(one: Sequence[float], two: Sequence[float]) -> float:
    """Pearson's r; NaN where one of them does not vary."""
    mean_one, mean_two = sum(one) / len(one), sum(two) / len(two)
    covariance = sum((a - mean_one) * (b - mean_two) for a, b in zip(one, two, strict=True))
    spread = math.sqrt(sum((a - mean_one) ** 2 for a in one) * sum((b - mean_two) ** 2 for b in two))
    return covariance / spread if spread else math.nan


def as_text(found: Mapping[str, Any]) -> str:
    lines = [f"{found['readers']} readers, agreement r {found.get('agreement', 'unknown')}"]
    for name, row in sorted(found["systems"].items(), key=lambda item: -item[1]["score"]):
        shares = ", ".join(f"{one} {row[one]:.2f}" for one in JUDGED if one != "score")
        lines.append(f"  {name}: {row['score']:.2f} of 5, {shares} ({row['rows']} judgements)")
    return "\n".join(lines)
