"""Written exchanges: what somebody says to a device, in a tone, and what a good friend would answer.

``python -m emotion_omni.train.exchanges`` reads ``train/exchanges/*.jsonl``, prints counts and lists faults (exit code
1 if there are any). A row holds 1 to 4 turns; its kind and news are those of the last one. Rows whose ids share their
first two parts (``contrast-0012-sad``, ``contrast-0012-happy``) are one group: their first words are the same and
their split is too.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni import json_lines
from emotion_omni.emotion import NAMES, NEWS

FOLDER = Path(__file__).with_name("exchanges")
KINDS = [
    "feeling",
    "remark",
    "question",
    "thanks",
    "joke",
    "rant",
    "conflict",
    "contrast",
    "unsure",
    "smalltalk",
    "advice",
    "crisis-lookalike",
    "self-blame",
]
STRATEGIES = [
    "reflect",
    "validate",
    "ask",
    "encourage",
    "share_joy",
    "offer",
    "give_room",
    "answer",
    "dont_know",
    "joke",
    "disagree",
    "chat",
]
TONES = NAMES
ROW_KEYS = {"id", "kind", "news", "turns"}
TURN_KEYS = {"text", "tone", "intensity", "reply", "strategy"}
MAX_TURNS = 4
PROMPT_WORDS = (1, 40)
REPLY_WORDS = (6, 35)
MAX_SENTENCES = 3
MAX_OPENING_SHARE = 0.01  # of replies that begin with the same three words
MAX_QUESTION_SHARE = 0.5  # of replies that end in a question
MAX_OVERLAP = 0.8  # Jaccard index of the words of two prompts, groups aside
DEV_TENTHS = 1

BANNED = {
    "claims to know a feeling": r"\bi (?:know|understand) (?:exactly )?(?:how|what) (?:you|it|that)(?:'re| are)? feel",
    "names the tone back": r"\byou(?:'re| are| sound| seem| feel) (?:so |very |really )?"
    r"(?:angry|sad|happy|fearful|disgusted|surprised|calm|afraid)\b[.!,]",
    "a human life": r"\b(?:my (?:mum|mom|dad|mother|father|dog|cat|wife|husband|kids?|son|daughter|sister|brother|boss|"
    r"childhood|family|friends?)|when i was|i used to|i once|me too|same here|i(?:'ve| have) been there|"
    r"i remember when|i had (?:a|an|one))\b",
    "a stock phrase": r"\b(?:here for you|sorry for your loss|everything happens for a reason|silver lining|"
    r"stay strong|how does that make you feel|deep breath|that's a lot of|sending you|your feelings are valid|as an ai|"
    r"thank you for sharing|it's okay to not be okay|time heals|better place|i hear you|sit with (?:that|it))\b",
}

GENDERED = {
    "he": r"\b(?:he|him|his|himself|he's|he'd|he'll)\b",
    "she": r"\b(?:she|her|hers|herself|she's|she'd|she'll)\b",
}
GENDERS_OF = {  # words that allow "he" or "she" in a reply, beside names and the pronouns themselves
    "he": "dad daddy father grandfather grandpa grandad brother brothers uncle nephew son sons stepson husband "
    "boyfriend fiance man men boy boys guy guys bloke lad mister sir priest king prince waiter landlord stepdad twins "
    "groom monk "
    "dude gentleman papa pa pope widower actor repairman handyman policeman postman milkman santa salesman godfather "
    "stepfather",
    "she": "mum mom mother mummy grandmother grandma nan nana granny gran sister sisters aunt auntie niece daughter "
    "granddaughter "
    "daughters wife girlfriend fiancee woman women girl girls lady ladies nun queen princess waitress landlady stepmum "
    "bride midwife mama ma widow actress godmother stepmother hen cow mare ewe",
}


@dataclass(frozen=True)
class WrittenTurn:
    """``intensity`` is between 0 and 1. ``unsure_between`` holds two tones where the recognizer could not decide."""

    text: str
    tone: str
    intensity: float
    reply: str
    strategy: tuple[str, ...]
    unsure_between: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenExchange:
    id: str
    kind: str
    news: str
    turns: tuple[WrittenTurn, ...]

    @property
    def group(self) -> str:
        return "-".join(self.id.split("-")[:2])

    @property
    def theme(self) -> str:
        return self.id.split("-")[0]

    @property
    def split(self) -> str:
        """``train`` or ``dev``, by a hash of the group."""
        return "dev" if int(hashlib.sha256(self.group.encode()).hexdigest(), 16) % 10 < DEV_TENTHS else "train"


def read(folder: Path = FOLDER) -> list[WrittenExchange]:
    """The exchanges of all files, in order. Raises ``EmotionOmniError`` for lines that are no JSON objects, and
    ``KeyError`` or ``TypeError`` for rows that :func:`row_faults` would list."""
    return [exchange_of(row) for _, row in rows_of(folder)]


def rows_of(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Places (``work.jsonl:12``) and rows of all files."""
    for path in sorted(folder.glob("*.jsonl")):
        for number, row in json_lines.read_file(path):
            yield f"{path.name}:{number}", row


def exchange_of(row: dict[str, Any]) -> WrittenExchange:
    turns = []
    for turn in row["turns"]:
        lists = {"strategy": tuple(turn["strategy"]), "unsure_between": tuple(turn.get("unsure_between", ()))}
        turns.append(WrittenTurn(**turn | lists))
    return WrittenExchange(row["id"], row["kind"], row["news"], tuple(turns))


# --- one row ------------------------------------------------------------------------------------------------------


def row_faults(row: dict[str, Any]) -> list[str]:
    """What is wrong with a row by itself; empty if nothing is."""
    if set(row) != ROW_KEYS:
        return [f"has the keys {sorted(row)}, not {sorted(ROW_KEYS)}"]
    faults = []
    if not re.fullmatch(r"[a-z]+-\d{4}(?:-[a-z]+)?", str(row["id"])):
        faults.append(f"id {row['id']!r} is not like work-0001")
    for key, allowed in (("kind", KINDS), ("news", NEWS)):
        if row[key] not in allowed:
            faults.append(f"{key} {row[key]!r} is none of {', '.join(allowed)}")
    turns = row["turns"]
    if not isinstance(turns, list) or not 1 <= len(turns) <= MAX_TURNS:
        return [*faults, f"must have 1 to {MAX_TURNS} turns"]
    said = ""
    for turn in turns:
        said += " " + turn.get("text", "")
        faults += turn_faults(turn) + invented_gender(said, turn.get("reply", ""))
    if (row["kind"] == "unsure") != ("unsure_between" in turns[-1]):
        faults.append("must have unsure_between in its last turn if and only if its kind is unsure")
    return faults


def turn_faults(turn: dict[str, Any]) -> list[str]:
    if set(turn) - {"unsure_between"} != TURN_KEYS:
        return [f"a turn has the keys {sorted(turn)}, not {sorted(TURN_KEYS)}"]
    faults = []
    tones = [turn["tone"], *turn.get("unsure_between", [])]
    if unknown := [tone for tone in tones if tone not in TONES]:
        faults.append(f"tone {unknown[0]!r} is none of {', '.join(TONES)}")
    if "unsure_between" in turn and (len(set(tones)) != 3 or turn["tone"] != "neutral"):
        faults.append("unsure_between must hold two tones beside neutral")
    if not 0 <= turn["intensity"] <= 1:
        faults.append(f"intensity {turn['intensity']} is not between 0 and 1")
    if not turn["strategy"] or set(turn["strategy"]) - set(STRATEGIES):
        faults.append(f"strategy {turn['strategy']} is none of {', '.join(STRATEGIES)}")
    return faults + text_faults(turn["text"], turn["reply"])


def text_faults(text: str, reply: str) -> list[str]:
    faults = []
    for name, words, (fewest, most) in (("text", text, PROMPT_WORDS), ("reply", reply, REPLY_WORDS)):
        if not fewest <= len(words.split()) <= most:
            faults.append(f"{name} has {len(words.split())} words, not {fewest} to {most}: {words!r}")
        if words != " ".join(words.split()) or not words.isascii():
            faults.append(f"{name} has odd spaces or characters: {words!r}")
    if len(sentences(reply)) > MAX_SENTENCES:
        faults.append(f"reply has more than {MAX_SENTENCES} sentences: {reply!r}")
    if reply[-1:] not in ".!?":
        faults.append(f"reply does not end in . ! or ?: {reply!r}")
    return faults + [f"{name}: {reply!r}" for name, pattern in BANNED.items() if re.search(pattern, reply.lower())]


def invented_gender(said: str, reply: str) -> list[str]:
    """A "he" or "she" in the reply for somebody whose gender the words do not tell (names do, by a capital inside)."""
    names = re.search(r"(?<=[a-z,] )[A-Z][a-z]+", said)
    words = set(normalized(said.replace("'s", "")).split())
    return [
        f"{gender} is not in what was said ({said.strip()!r}): {reply!r}"
        for gender, pattern in GENDERED.items()
        if re.search(pattern, reply.lower())
        and not (names or re.search(pattern, said.lower()) or words & set(GENDERS_OF[gender].split()))
    ]


def sentences(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]


def normalized(text: str) -> str:
    """Lower case words without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


# --- all rows -----------------------------------------------------------------------------------------------------


def corpus_faults(exchanges: list[WrittenExchange]) -> list[str]:
    """What is wrong with the rows together."""
    faults = [
        f"id {one} is used {count} times" for one, count in Counter(row.id for row in exchanges).items() if count > 1
    ]
    faults += [f"ending used by {', '.join(users)}: {end!r}" for end, users in shared_endings(exchanges).items()]
    replies = [turn.reply for turn in turns_of(exchanges)]
    openings = Counter(opening(reply) for reply in replies)
    most = max(2, MAX_OPENING_SHARE * len(replies))
    faults += [f"opening used {count} times: {words!r}" for words, count in openings.items() if count > most]
    if len(replies) and (share := question_share(replies)) > MAX_QUESTION_SHARE:
        faults.append(f"{share:.0%} of the replies end in a question, more than {MAX_QUESTION_SHARE:.0%}")
    faults += [
        f"prompts of {one} and {two} share {share:.0%} of their words" for one, two, share in overlaps(exchanges)
    ]
    return faults + group_faults(exchanges)


def turns_of(exchanges: Iterable[WrittenExchange]) -> Iterator[WrittenTurn]:
    return (turn for exchange in exchanges for turn in exchange.turns)


def opening(reply: str) -> str:
    """The first three words."""
    return " ".join(normalized(reply).split()[:3])


def question_share(replies: list[str]) -> float:
    return sum(reply.endswith("?") for reply in replies) / len(replies)


def shared_endings(exchanges: list[WrittenExchange]) -> dict[str, list[str]]:
    """Last sentences that end more than one reply, with the rows' ids."""
    found = defaultdict(list)
    for exchange in exchanges:
        for turn in exchange.turns:
            found[normalized(sentences(turn.reply)[-1])].append(exchange.id)
    return {ending: ids for ending, ids in found.items() if len(ids) > 1}


def overlaps(exchanges: list[WrittenExchange]) -> list[tuple[str, str, float]]:
    """Pairs of rows from different groups with nearly the same words before the last reply: ids, Jaccard index.

    Two sets that share a share s of n words have one of the n - s n + 1 rarest words of each in common, so only those
    are looked up (prefix filtering: Chaudhuri et al. 2006, "A primitive operator for similarity joins").
    """
    words = [set(" ".join(normalized(turn.text) for turn in one.turns).split()) for one in exchanges]
    counts = Counter(word for some in words for word in some)
    rows_with: dict[str, list[int]] = defaultdict(list)
    found = []
    for index, mine in enumerate(words):
        rarest = sorted(mine, key=lambda word: (counts[word], word))
        rarest = rarest[: len(mine) - math.ceil(MAX_OVERLAP * len(mine)) + 1]
        for other in {other for word in rarest for other in rows_with[word]}:
            share = len(mine & words[other]) / len(mine | words[other])
            if share >= MAX_OVERLAP and exchanges[index].group != exchanges[other].group:
                found.append((exchanges[other].id, exchanges[index].id, share))
        for word in rarest:
            rows_with[word].append(index)
    return found


def group_faults(exchanges: list[WrittenExchange]) -> list[str]:
    """Contrast rows stand in groups of the same words in different tones."""
    groups = defaultdict(list)
    for exchange in exchanges:
        if exchange.kind == "contrast" or exchange.id.count("-") > 1:
            groups[exchange.group].append(exchange.turns)
    faults = []
    for name, rows in groups.items():
        texts = {tuple(turn.text for turn in turns) for turns in rows}
        if len(rows) < 2 or len(texts) > 1 or len({turns[-1].tone for turns in rows}) < len(rows):
            faults.append(f"group {name} must hold the same words in at least two tones")
    return faults


# --- report -------------------------------------------------------------------------------------------------------


def table(exchanges: list[WrittenExchange]) -> str:
    """Counts, as lines of text."""
    turns = list(turns_of(exchanges))
    replies = [turn.reply for turn in turns]
    lengths = sorted(len(reply.split()) for reply in replies)
    openings = Counter(opening(reply) for reply in replies).most_common(3)
    counts = {
        "theme": Counter(one.theme for one in exchanges),
        "kind": Counter(one.kind for one in exchanges),
        "news": Counter(one.news for one in exchanges),
        "turns": Counter(str(len(one.turns)) for one in exchanges),
        "split": Counter(one.split for one in exchanges),
        "tone": Counter(turn.tone for turn in turns),
        "strategy": Counter(name for turn in turns for name in turn.strategy),
    }
    lines = [f"{len(exchanges)} exchanges, {len(turns)} turns"]
    for name, counter in counts.items():
        lines.append(f"{name:9} " + ", ".join(f"{key} {count}" for key, count in counter.most_common()))
    lines.append(f"words     of a reply: median {lengths[len(lengths) // 2]}, {lengths[0]} to {lengths[-1]}")
    lines.append(f"endings   {question_share(replies):.0%} of the replies end in a question")
    lines.append("openings  " + ", ".join(f"{words!r} {count}" for words, count in openings))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Count and check the written exchanges.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args(arguments).folder
    rows = list(rows_of(folder))
    faults = [f"{place} {fault}" for place, row in rows for fault in row_faults(row)]
    if not rows:
        faults = [f"{folder} holds no rows"]
    elif not faults:
        exchanges = [exchange_of(row) for _, row in rows]
        print(table(exchanges))
        faults = corpus_faults(exchanges)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
