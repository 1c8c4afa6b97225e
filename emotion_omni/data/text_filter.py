"""Which written dialogues may be spoken: form, safety, over-pleasing, and nothing twice.

Dialogues are judged in the order of the plan, so the same texts give the same verdicts. Duplicates: exactly, nearly
(MinHash: Broder 1997; locality-sensitive hashing in bands: Leskovec et al., "Mining of Massive Datasets", 3.4) and by
meaning (cosine of sentence vectors).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from emotion_omni.data.dialogue import WrittenDialogue
from emotion_omni.data.plan import Filters
from emotion_omni.data.scenarios import Scenario
from emotion_omni.response.reply_faults import advises, agrees_with_blame
from emotion_omni.train.exchanges import normalized, text_faults

PERMUTATIONS, BANDS = 64, 16  # four rows a band: pairs of Jaccard index 0.8 meet in some band with 99.98 %
SHINGLE = 3  # words

TOXIC = re.compile(
    r"\b(fuck\w*|cunt\w*|bitch\w*|whore\w*|slut\w*|retard\w*|nigg\w+|fagg\w+|kike\w*|spic|tranny|"
    r"kill yourself|go die|hate you|you(?:'re| are) (?:stupid|an idiot|worthless|pathetic|disgusting))\b",
    re.IGNORECASE,
)
PLEASING = re.compile(
    r"\b(great question|excellent (?:question|point)|you(?:'re| are) (?:absolutely|totally|completely) right|"
    r"i completely understand|i couldn't agree more|what an amazing|you(?:'re| are) (?:amazing|incredible|the best)|"
    r"anything for you|whatever you say|i'd be (?:happy|delighted|honou?red) to)\b",
    re.IGNORECASE,
)


class TextFilter:
    """``encode``: texts → unit vectors [B, D], for duplicates by meaning; needed where the plan asks for them.

    ``held_out``: texts that no dialogue may repeat.
    """

    def __init__(
        self,
        filters: Filters,
        encode: Callable[[list[str]], np.ndarray] | None = None,
        held_out: Iterable[str] = (),
    ) -> None:
        self._filters, self._encode = filters, encode
        self._exact: dict[str, str] = {}  # normalized words → group
        self._bands: dict[tuple[int, bytes], list[int]] = {}
        self._signatures: list[np.ndarray] = []
        self._vectors: list[np.ndarray] = []
        self._groups: list[str] = []
        self._held_out = {normalized(text) for text in held_out}

    def reject(self, scenario: Scenario, dialogue: WrittenDialogue) -> str:
        """Why a dialogue may not be spoken, ``reason`` or ``reason: detail``; empty if it may, and it then counts."""
        return self._form(dialogue) or self._leak(dialogue) or self._duplicate(scenario.group, dialogue)

    def _form(self, dialogue: WrittenDialogue) -> str:
        for turn in dialogue.turns:
            if found := TOXIC.search(turn.reply):
                return f"toxic: {found[0]!r}"
            if found := PLEASING.search(turn.reply):
                return f"over-pleasing: {found[0]!r}"
            if agrees_with_blame(turn.reply, turn.text):
                return "agrees with self-blame"
            if advises(turn.reply):
                return "dangerous advice"
            if self._filters.form and (faults := text_faults(_plain(turn.text), _plain(turn.reply))):
                return f"form: {faults[0]}"
        return ""

    def _leak(self, dialogue: WrittenDialogue) -> str:
        found = next((one.text for one in dialogue.turns if normalized(one.text) in self._held_out), None)
        return f"held out: {found!r} is a text of a named test set" if found else ""

    def _duplicate(self, group: str, dialogue: WrittenDialogue) -> str:
        """The tones of a set share their words on purpose: within a group only equal replies count."""
        said = " ".join(normalized(turn.text) for turn in dialogue.turns)
        replies = " ".join(normalized(turn.reply) for turn in dialogue.turns)
        if self._exact.get(said, group) != group:
            return "duplicate: the same words were said"
        if replies in self._exact:
            return "duplicate: the same reply was given"
        signature = minhash(said + " " + replies)
        bands = [(band, signature[band::BANDS].tobytes()) for band in range(BANDS)]
        near = {index for band in bands for index in self._bands.get(band, ())}
        for index in sorted(near):
            share = float(np.mean(self._signatures[index] == signature))
            if self._filters.near and share >= self._filters.near and self._groups[index] != group:
                return f"near duplicate: {share:.2f} of its word triples"
        if self._filters.meaning and (reason := self._same_meaning(group, said)):
            return reason
        self._exact |= {said: group, replies: group}
        for band in bands:
            self._bands.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(signature)
        self._groups.append(group)
        return ""

    def _same_meaning(self, group: str, said: str) -> str:
        assert self._encode is not None, "duplicates by meaning need a sentence encoder"
        vector = self._encode([said])[0].astype(np.float32)
        if self._vectors:
            cosines = np.stack(self._vectors) @ vector
            for index in np.flatnonzero(cosines >= self._filters.meaning):
                if self._groups[index] != group:
                    return f"same meaning: cosine {cosines[index]:.2f}"
        self._vectors.append(vector)
        return ""


def _plain(text: str) -> str:
    return text.translate(str.maketrans("\u2018\u2019\u201c\u201d\u2026\u2014", "''\"\".-"))


def shingles(text: str) -> set[str]:
    """Every three words in a row; of a shorter text, its words."""
    words = text.split()
    return {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}


def _permutations() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(20_261_128)
    factors, summands = rng.integers(0, 1 << 63, (2, PERMUTATIONS), np.uint64)
    return factors | np.uint64(1), summands


_A, _B = _permutations()


def minhash(text: str) -> np.ndarray:
    """Signature uint64 [64]; the share of equal places estimates the Jaccard index of two texts' shingles.

    h_i(x) = ((a_i x + b_i) mod 2^64) >> 32 with odd a_i (multiply-shift: Dietzfelbinger et al. 1997).
    """
    hashes = np.array(
        [int.from_bytes(hashlib.sha256(one.encode()).digest()[:8]) for one in sorted(shingles(text))],
        np.uint64,
    )
    return ((hashes[:, None] * _A + _B) >> np.uint64(32)).min(axis=0)


def distinct_ngrams(texts: Sequence[str], size: int) -> float:
    """distinct-n (Li et al. 2016): different n-grams as a share of all."""
    grams = [tuple(words[at : at + size]) for words in map(str.split, texts) for at in range(len(words) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
