"""A responder for two CPU cores: SmolLM2 with our adapter, clause by clause, each checked by the guard.

A reply whose first clause fails the guard starts again from another first token; one that fails later ends with its
last good sentence; if all attempts fail, a fixed reply is spoken.

Decoding is greedy, and a seed chooses among the likeliest first tokens: one seed always gives one reply, which sampling
inside CTranslate2 could not promise.
"""

from __future__ import annotations

import logging
import math
import random
import re
import shutil
import tempfile
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import ctranslate2
import safetensors.numpy
import tokenizers

from emotion_omni import weights
from emotion_omni.response import smollm2
from emotion_omni.response.config import SmolLM2Config
from emotion_omni.response.guard import Guard
from emotion_omni.response.safe_replies import act_of, crisis_reply, fixed_reply, follow_up, safe_reply
from emotion_omni.types import Exchange, Heard, Plan

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights" / "responder.safetensors"  # trained by us, with its card
MAX_HISTORY = 4  # earlier exchanges in the prompt
MAX_WORDS = 60  # of one message in the prompt; a monologue must not push out the rest
MAX_TOKENS = 64  # of a reply: about three spoken sentences
ATTEMPTS = 4
GUMBEL_SCALE = 1.5  # nats; how far a seed may depart from the likeliest first token

_FIRST_CLAUSE = re.compile(r"^\s*\S+\s+\S+.*?[,.!?;:](?=\s)", re.S)
_ENDS = re.compile(r"[.!?]\s*$")
_SENTENCE = re.compile(r"^.*?[.!?](?=\s)", re.S)


class SmolLM2Responder:
    """``folder``: a model as :func:`emotion_omni.response.smollm2.write_ctranslate2` writes it."""

    openers = False

    def __init__(self, folder: Path, guard: Guard, threads: int = 1) -> None:
        loaded = [ctranslate2.Generator(str(folder), compute_type="int8", intra_threads=threads, inter_threads=1)]
        self._loaded = loaded
        # The thread that decodes outlives an abandoned reply: at exit it must end before the interpreter that it calls.
        weakref.finalize(self, loaded.clear)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.guard = guard

    @classmethod
    def load(cls, config: SmolLM2Config, guard: Guard) -> SmolLM2Responder:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        return cls(prepare_model(Path(config.weights or SHIPPED)), guard)

    @property
    def generator(self) -> ctranslate2.Generator:
        return self._loaded[0]

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`."""
        text, tone, news = heard.transcript, plan.tone, plan.news
        risk = self.guard.risk(text)
        fixed = crisis_reply(risk) if risk else fixed_reply(text, news, seed + len(history))
        if fixed:
            yield fixed
            return
        said = {exchange.reply.strip() for exchange in history}
        prompt = prompt_of(text, tone, news, history)
        tells_feeling = act_of(text) == "tell" and (news != "neutral" or tone not in ("neutral", "calm"))
        for first in self._first_tokens(prompt, seed):
            with closing(self._guarded(prompt, first, news, text)) as pieces:
                opening = next(pieces, "")
                if not opening or opening.strip() in said:
                    continue
                if tells_feeling and news == "bad" and _ENDS.search(opening):
                    pieces.close()  # nothing more is needed: free the cores for the voice
                yield opening
                last = opening
                for last in _sentence_and_question(opening, pieces, news != "bad") if tells_feeling else pieces:
                    yield last
            unfinished = not _ENDS.search(last)
            if unfinished or plan.conflict or (tells_feeling and not last.rstrip().endswith("?")):
                yield _joined(follow_up(tone, news, len(said) + seed, conflict=plan.conflict), unfinished)
            return
        yield safe_reply(text, tone, news, seed + len(said))

    def _first_tokens(self, prompt: str, seed: int) -> Iterator[str]:
        """First tokens to try, each once. With seed 0 the likeliest comes first, without a search ("")."""
        if seed == 0:
            yield ""
        (found,) = self.generator.generate_batch(
            [self.tokenizer.encode(prompt).tokens],
            max_length=1,
            num_hypotheses=2 * ATTEMPTS,
            return_alternatives=True,
            return_scores=True,
            include_prompt_in_result=False,
            end_token=smollm2.EOS,
        )
        rng = random.Random(seed)
        scale = GUMBEL_SCALE if seed else 0.0
        ranked = []
        for score, tokens in zip(found.scores, found.sequences, strict=True):
            if tokens and tokens[0] != smollm2.EOS:
                ranked.append((score - scale * math.log(-math.log(rng.random())), tokens[0]))
        ranked.sort(reverse=True)
        for _, token in ranked[1 if seed == 0 else 0 : ATTEMPTS]:
            yield token

    def _guarded(self, prompt: str, first: str, news: str, words: str) -> Generator[str, None, None]:
        """Clauses of one attempt, until the guard refuses one."""
        whole = ""
        for piece in self._clauses(prompt, first):
            allowed = self.guard.allows(whole + piece, news, words)
            if not allowed or (whole and not self.guard.allows(piece, news, words)):
                return
            if not whole and not any(letter.isalpha() for letter in piece):
                return
            whole += piece
            yield piece

    def _clauses(self, prompt: str, first: str) -> Iterator[str]:
        """The decoded text: its first clause, then whole sentences. An unfinished last one is dropped."""
        tokens = self.tokenizer.encode(prompt).tokens + ([first] if first else [])
        ids: list[int] = []
        if first:
            ids.append(self.tokenizer.token_to_id(first) or 0)  # a token of the model's own
        given = 0
        steps = self.generator.generate_tokens(
            tokens, max_length=MAX_TOKENS, sampling_topk=1, no_repeat_ngram_size=5, end_token=smollm2.EOS
        )
        with closing(steps):  # closed early, the decoder stops at its next token
            for step in steps:
                if step.token == smollm2.EOS:
                    continue
                ids.append(step.token_id)
                written = self.tokenizer.decode(ids)
                match = (_SENTENCE if given else _FIRST_CLAUSE).search(written[given:])
                if match and not written.endswith("�"):
                    yield match[0]
                    given += match.end()
        rest = self.tokenizer.decode(ids)[given:]
        if rest.strip() and (len(ids) < MAX_TOKENS or rest.rstrip()[-1] in ".!?"):
            yield rest.rstrip()


def prompt_of(text: str, tone: str, news: str, history: Sequence[Exchange] = ()) -> str:
    """The last exchanges, then the words with their tone and news, in SmolLM2's chat format."""
    turns = [
        f"{smollm2.BOS}user\n({exchange.heard}) {_plain(exchange.transcript)}{smollm2.EOS}\n"
        f"{smollm2.BOS}assistant\n{_plain(exchange.reply)}{smollm2.EOS}\n"
        for exchange in history[-MAX_HISTORY:]
    ]
    turns.append(f"{smollm2.BOS}user\n({tone}, {news}) {_plain(text)}{smollm2.EOS}\n{smollm2.BOS}assistant\n")
    return "".join(turns)


def _plain(text: str) -> str:
    """A person's words, in which nothing is a control token; at most :data:`MAX_WORDS`."""
    return " ".join(text.replace("<|", "< |").split()[:MAX_WORDS])


def _sentence_and_question(opening: str, pieces: Iterator[str], ask: bool) -> Iterator[str]:
    """The rest of the opening's sentence and, if ``ask``, the first question after it.

    The statements in between are where a small model goes wrong, and a person who reports a feeling needs to be heard,
    not lectured. After bad news it does not ask either: a clumsy question hurts there, and we have our own follow-ups.
    """
    in_sentence = not _ENDS.search(opening)
    if not in_sentence and not ask:
        return
    for piece in pieces:
        question = piece.rstrip().endswith("?")
        if in_sentence or (question and ask):
            yield piece
        if question or not ask:
            return
        in_sentence = False


def _joined(sentence: str, unfinished: bool) -> str:
    """A sentence to go on with, in lower case where it continues another."""
    if unfinished and not sentence.startswith("I'"):
        sentence = sentence[0].lower() + sentence[1:]
    return " " + sentence


def prepare_model(adapter: Path = SHIPPED) -> Path:
    """SmolLM2 with the adapter merged in, in CTranslate2's format: made once (about 15 s) and kept.

    The folder's name holds the hashes of both, so that another adapter gets another folder.
    """
    tensors, scale = read_adapter(adapter)
    source = weights.find("smollm2/smollm2-135m-instruct-q4_1.gguf")
    folder = weights.cache() / "converted" / f"smollm2-int8-{source.sha256[:8]}-{weights.sha256(adapter)[:8]}"
    with weights.locked(folder):
        if not (folder / "tokenizer.json").exists():
            log.info("Preparing the language model, once: %s", folder)
            checkpoint = smollm2.read_gguf(weights.fetch(source.name))
            smollm2.merge_adapter(checkpoint.tensors, tensors, scale)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                smollm2.write_ctranslate2(checkpoint, Path(scratch))
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(scratch, folder.with_suffix(".new"), dirs_exist_ok=True)
                folder.with_suffix(".new").replace(folder)
    return folder


def read_adapter(path: Path) -> tuple[dict[str, Any], float]:
    """LoRA tensors by name, and their scale. Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
    with weights.part_explained(path, "responder"):
        with safetensors.safe_open(path, "np") as file:
            scale = float(file.metadata()["scale"])
        return safetensors.numpy.load_file(path), scale
