"""Many candidate replies, one chosen: written ones that retrieval finds and, if wanted, several by SmolLM2.

The reranker chooses, the guard takes out candidates whose direction is wrong. The language model's candidates start
with different first tokens and are decoded greedily in one batch, so one seed always gives one reply.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from emotion_omni.response import smollm2
from emotion_omni.response.chat import clauses, repeats
from emotion_omni.response.config import RerankedConfig, SmolLM2Config
from emotion_omni.response.guard import Guard
from emotion_omni.response.reply_bank import ReplyBank
from emotion_omni.response.reranker import Reranker, Situation
from emotion_omni.response.safe_replies import crisis_reply, fixed_reply, safe_reply
from emotion_omni.response.sentence_encoder import load_encoder
from emotion_omni.response.smollm2_responder import MAX_TOKENS, SmolLM2Responder, prompt_of
from emotion_omni.types import Exchange, Heard, Plan

MAX_SENTENCES = 6
GUMBEL_SCALE = 0.5  # logits; how far a seed may depart from the best candidate


@dataclass(frozen=True)
class Candidate:
    """``source``: ``bank`` or ``model``. ``score``: the reranker's logit."""

    reply: str
    source: str
    score: float


class RerankedResponder:
    """``writer``: proposes too; ``None`` leaves it to retrieval."""

    openers = False

    def __init__(
        self, config: RerankedConfig, bank: ReplyBank, reranker: Reranker, guard: Guard, writer: SmolLM2Responder | None
    ) -> None:
        self.config, self.bank, self.reranker, self.guard, self.writer = config, bank, reranker, guard, writer

    @classmethod
    def load(cls, config: RerankedConfig, guard: Guard) -> RerankedResponder:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        encoder = load_encoder()
        bank, reranker = ReplyBank.load(encoder, config.bank), Reranker.load(config.reranker, encoder)
        writer = SmolLM2Responder.load(SmolLM2Config(weights=config.weights), guard) if config.written else None
        return cls(config, bank, reranker, guard, writer)

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`."""
        text = heard.transcript
        risk = self.guard.risk(text)
        fixed = crisis_reply(risk) if risk else fixed_reply(text, plan.news, seed + len(history))
        if fixed:
            yield fixed
            return
        found = self.candidates(heard, plan, history)
        if not found:
            yield safe_reply(text, plan.tone, plan.news, seed + len(history))
            return
        reply = chosen(found, seed).reply
        yield from clauses([reply] * MAX_SENTENCES, lambda: True)

    def candidates(self, heard: Heard, plan: Plan, history: Sequence[Exchange] = ()) -> list[Candidate]:
        """Those that may be said, best first; none twice, none that was said before."""
        situation = Situation.of(heard, plan, history)
        proposed = dict.fromkeys(self._written(situation), "model") | dict.fromkeys(self._retrieved(situation), "bank")
        text, news = heard.transcript, plan.news
        fresh = (reply for reply in proposed if not repeats(reply, history))
        allowed = [reply for reply in fresh if self.guard.allows(reply, news, text)]
        scores = self.reranker.scores(heard, plan, history, allowed)
        found = [Candidate(reply, proposed[reply], score) for reply, score in zip(allowed, scores, strict=True)]
        return sorted(found, key=lambda one: -one.score)

    def _retrieved(self, situation: Situation) -> Iterator[str]:
        """Replies to the nearest written turns, if near enough."""
        for turn, cosine in self.bank.nearest(situation, self.config.retrieved):
            if cosine >= self.config.min_similarity:
                yield turn.reply

    def _written(self, situation: Situation) -> Iterator[str]:
        """The language model's replies, one for each of the likeliest first tokens. Unfinished ones are dropped."""
        if not self.writer:
            return
        tokenizer, generator = self.writer.tokenizer, self.writer.generator
        prompt = prompt_of(situation.text, " or ".join(situation.tones), situation.news, situation.history)
        tokens = tokenizer.encode(prompt).tokens
        (first,) = generator.generate_batch(
            [tokens],
            max_length=1,
            num_hypotheses=self.config.written,
            return_alternatives=True,
            include_prompt_in_result=False,
            end_token=smollm2.EOS,
        )
        starts = [tokens + one for one in first.sequences if one and one[0] != smollm2.EOS]
        results = generator.generate_batch(
            starts,
            max_length=MAX_TOKENS,
            sampling_topk=1,
            no_repeat_ngram_size=5,
            include_prompt_in_result=False,
            end_token=smollm2.EOS,
        )
        for start, result in zip(starts, results, strict=True):
            ids = [tokenizer.token_to_id(start[-1]), *result.sequences_ids[0]]
            text = tokenizer.decode(ids).strip()
            if text and text[-1] in ".!?":
                yield text


def chosen(candidates: Sequence[Candidate], seed: int) -> Candidate:
    """The best; another seed than 0 may prefer one that is nearly as good (Gumbel-max)."""
    if seed == 0:
        return candidates[0]
    rng = random.Random(seed)
    return max(candidates, key=lambda one: one.score - GUMBEL_SCALE * math.log(-math.log(rng.random())))
