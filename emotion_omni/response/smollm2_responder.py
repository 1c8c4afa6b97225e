"""Words, tone and news → a reply, clause by clause while it is being written.

SmolLM2 with our adapter writes; the guard of :mod:`meaning` reads each clause before it is let out.
A reply whose first clause leans the wrong way is begun again from another first word; one that goes
wrong later ends with its last good sentence; if all attempts fail, a safe reply is said.

Decoding is greedy, and a seed chooses among the likeliest first words: so one seed always gives one
reply, which sampling inside the decoder could not promise.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import ctranslate2
import tokenizers

from emotion_omni.response import smollm2
from emotion_omni.response.guard import Meaning, is_crisis
from emotion_omni.response.safe_replies import CRISIS, act_of, fixed_reply, follow_up, safe_reply
from emotion_omni.types import Exchange

SHIPPED = Path(__file__).parent / "weights" / "responder.safetensors"  # trained by us, with its card
REMEMBERED = 4  # earlier exchanges in the prompt
LONGEST_WORDS = 60  # of one earlier turn in the prompt; a monologue must not push out the rest
LONGEST_REPLY = 64  # tokens: about three spoken sentences
ATTEMPTS = 4
SPREAD = 1.5  # how far a seed may depart from the likeliest first word, in nats of Gumbel noise

_FIRST_CLAUSE = re.compile(r"^\s*\S+\s+\S+.*?[,.!?;:](?=\s)", re.S)
_ENDS = re.compile(r"[.!?]\s*$")
_SENTENCE = re.compile(r"^.*?[.!?](?=\s)", re.S)


def _plain(text: str) -> str:
    """A person's words can never be control tokens, nor fill the memory."""
    return " ".join(text.replace("<|", "< |").split()[:LONGEST_WORDS])


def prompt_of(text: str, emotion: str, event: str, earlier: tuple[Exchange, ...] = ()) -> str:
    """What the decoder sees: the last exchanges, then the words with their tone and what they tell of."""
    turns = [
        f"{smollm2.BEGIN}user\n({turn.heard}) {_plain(turn.transcript)}{smollm2.END}\n"
        f"{smollm2.BEGIN}assistant\n{_plain(turn.reply)}{smollm2.END}\n"
        for turn in earlier[-REMEMBERED:]
    ]
    turns.append(f"{smollm2.BEGIN}user\n({emotion}, {event}) {_plain(text)}{smollm2.END}\n{smollm2.BEGIN}assistant\n")
    return "".join(turns)


def _sentence_and_question(opening: str, pieces: Iterator[str], ask: bool) -> Iterator[str]:
    """The rest of the opening's sentence and, if it may ask, the first question after it. The statements in between
    are where a small model errs, and a person who tells of a feeling wants to be heard, not lectured. To bad news
    it may not ask either: a clumsy question hurts there, and follow-ups of our own are at hand."""
    begun = not _ENDS.search(opening)
    if not begun and not ask:
        return
    for piece in pieces:
        question = piece.rstrip().endswith("?")
        if begun or (question and ask):
            yield piece
        if question or not ask:
            return  # one sentence, or one with its question
        begun = False


def _joined(sentence: str, unfinished: bool) -> str:
    """A sentence to go on with: small at its start where it ends another."""
    small = unfinished and not sentence.startswith("I'")
    return " " + (sentence[0].lower() + sentence[1:] if small else sentence)


class Writer:
    """The language model with its guard."""

    def __init__(self, folder: Path, meaning: Meaning, threads: int) -> None:
        """``folder``: as :func:`smollm2.write_ctranslate2` leaves it."""
        self._generator = ctranslate2.Generator(
            str(folder), compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._meaning = meaning

    def reply(
        self, text: str, tone: str, event: str, earlier: tuple[Exchange, ...] = (), *, seed: int = 0
    ) -> Iterator[str]:
        """Pieces that join to the reply; the first is a clause, so that its sound can start early."""
        fixed = CRISIS[0] if is_crisis(text) else fixed_reply(text, event, seed + len(earlier))
        if fixed:
            yield fixed
            return
        said = {turn.reply.strip() for turn in earlier}
        feeling = act_of(text) == "tell" and (event != "neutral" or tone not in ("neutral", "calm"))
        for first in self._first_words(text, tone, event, earlier, seed):
            pieces = self._guarded(prompt_of(text, tone, event, earlier), first, event)
            opening = next(pieces, "")
            if not opening or opening.strip() in said:
                continue
            if feeling and event == "bad" and _ENDS.search(opening):
                pieces.close()  # nothing more is wanted: the voice may have the cores
            yield opening
            rest = _sentence_and_question(opening, pieces, ask=event != "bad") if feeling else pieces
            last = opening
            for last in rest:
                yield last
            unfinished = not _ENDS.search(last)
            if unfinished or (feeling and not last.rstrip().endswith("?")):
                yield _joined(follow_up(tone, event, len(said) + seed), unfinished)
            return
        yield safe_reply(text, tone, event, seed + len(said))

    def _first_words(self, text: str, tone: str, event: str, earlier: tuple[Exchange, ...], seed: int) -> Iterator[str]:
        """First tokens to try, each once. With seed 0 the likeliest comes first, unsearched ("")."""
        if seed == 0:
            yield ""
        prompt = self._tokenizer.encode(prompt_of(text, tone, event, earlier)).tokens
        (found,) = self._generator.generate_batch(
            [prompt],
            max_length=1,
            num_hypotheses=2 * ATTEMPTS,
            return_alternatives=True,
            return_scores=True,
            include_prompt_in_result=False,
            end_token=smollm2.END,
        )
        rng = random.Random(seed)
        noise = SPREAD if seed else 0.0
        ranked = sorted(
            (
                (score - noise * math.log(-math.log(rng.random())), tokens[0])
                for score, tokens in zip(found.scores, found.sequences, strict=True)
                if tokens and tokens[0] != smollm2.END
            ),
            reverse=True,
        )
        for _, token in ranked[1 if seed == 0 else 0 : ATTEMPTS]:
            yield token

    def _guarded(self, prompt: str, first: str, event: str) -> Iterator[str]:
        """Clauses of one attempt for as long as the guard lets them pass."""
        whole, started = "", False
        for piece in self._pieces(prompt, first):
            if not self._meaning.allows(whole + piece, event) or (whole and not self._meaning.allows(piece, event)):
                return
            if not started and not any(letter.isalpha() for letter in piece):
                return
            whole, started = whole + piece, True
            yield piece

    def _pieces(self, prompt: str, first: str) -> Iterator[str]:
        """The decoder's text: its first clause, then whole sentences. An unfinished last one is dropped."""
        tokens = self._tokenizer.encode(prompt).tokens + ([first] if first else [])
        ids = [self._tokenizer.token_to_id(first)] if first else []
        given = 0
        steps = self._generator.generate_tokens(
            tokens, max_length=LONGEST_REPLY, sampling_topk=1, no_repeat_ngram_size=5, end_token=smollm2.END
        )
        try:
            for step in steps:
                if step.token == smollm2.END:
                    continue
                ids.append(step.token_id)
                written = self._tokenizer.decode(ids)
                match = (_SENTENCE if given else _FIRST_CLAUSE).search(written[given:])
                if match and not written.endswith("�"):
                    yield match[0]
                    given += match.end()
        finally:
            steps.close()  # abandoned: the decoder stops at its next token
        rest = self._tokenizer.decode(ids)[given:]
        if rest.strip() and (len(ids) < LONGEST_REPLY or rest.rstrip()[-1] in ".!?"):
            yield rest.rstrip()
