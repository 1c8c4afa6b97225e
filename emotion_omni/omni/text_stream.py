"""The text of answers, one token at a time.

Axes: B batch, D width, V vocabulary.
Source: nucleus sampling, Holtzman et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emotion_omni.omni.config import TextSampling
from emotion_omni.omni.detokenizer import IncrementalDetokenizer
from emotion_omni.omni.model import Query
from emotion_omni.omni.model_runner import ModelRunner
from emotion_omni.omni.prompt import Prompt
from emotion_omni.sampling import sample

TEXT_SEED = 1_000_003  # added to a seed, so that text and speech are sampled from different numbers


@dataclass(frozen=True, eq=False)
class TextToken:
    """One token of each answer: ``ids`` and ``text``, empty where an answer has ended.

    ``hidden_state`` and ``token_embedding`` [B, D]; ``is_spoken`` [B]: 1, or 0 for EOS and after it.
    """

    ids: tuple[tuple[int, ...], ...]
    text: tuple[str, ...]
    hidden_state: Tensor
    token_embedding: Tensor
    is_spoken: Tensor


class TextStream:
    """Answers being generated, each from its own seed. Made for one batch, shares nothing with others.

    ``given``: the ids of each answer, which are then not sampled; EOS may stand at their end or not.
    """

    @torch.inference_mode()
    def __init__(
        self,
        runner: ModelRunner,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: TextSampling | None = None,
        given: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.runner, self.model = runner, runner.model
        if self.model.training:
            raise ValueError("The model is in training mode, where dropout is random. Call eval() on it first.")
        self.sampling, self.eos_token_id = sampling or TextSampling(), self.model.prompt_builder.eos_token_id
        self.max_new_tokens = max(map(len, given)) if given else self.sampling.max_new_tokens
        inputs = self.model.prepare_inputs(query.to(self.model.device, self.model.dtype), prompts, pad_left=True)
        self.position_ids = inputs.attention_mask.sum(1)  # of the next row
        self.given = self._padded(given) if given else None
        self.uniform = torch.stack([_uniform(seed, self.max_new_tokens) for seed in seeds]).to(self.model.device)
        self.detokenizers = [IncrementalDetokenizer(self.model.prompt_builder.tokenizer) for _ in seeds]
        self.active = [True] * len(seeds)
        self.alive = torch.ones(len(seeds), dtype=torch.bool, device=self.model.device)  # not yet at EOS
        self.count = 0  # tokens so far
        self.suppressed = self._suppressed()
        self.token_embedding: Tensor  # of the last token, from the first step on
        self.state, self.hidden_state = runner.prefill(inputs, self.max_new_tokens)

    def _padded(self, given: Sequence[Sequence[int]]) -> Tensor:
        ids = [torch.tensor(answer) for answer in given]
        return pad_sequence(ids, batch_first=True, padding_value=self.eos_token_id).to(self.model.device)

    def _suppressed(self) -> Tensor:
        """[V], true for ids that are no text: control tokens except EOS, and rows of the head without a token."""
        tokenizer = self.model.prompt_builder.tokenizer
        weight = self.model.causal_lm.get_output_embeddings().weight
        control = [number for number in tokenizer.added_tokens_decoder if number != self.eos_token_id]
        ids = torch.arange(len(weight), device=weight.device)
        return torch.isin(ids, torch.tensor(control, dtype=ids.dtype, device=ids.device)) | (ids >= len(tokenizer))

    @property
    def done(self) -> bool:
        return not any(self.active)

    @torch.inference_mode()
    def step(self) -> TextToken:
        """The next token of each answer. Waits for the GPU once, to read the ids."""
        if self.count:
            self.hidden_state = self.runner.decode(self.state, self.token_embedding, self.position_ids)
            self.position_ids = self.position_ids + 1
        tokens = self._sample() if self.given is None else self.given[:, self.count]
        self.token_embedding = self.model.embed_tokens(tokens)
        self.alive = self.alive & (tokens != self.eos_token_id)
        self.count += 1
        ids, text = [], []
        for index, token in enumerate(tokens.tolist()):
            own = (token,) if self.active[index] and token != self.eos_token_id else ()
            self.active[index] = bool(own) and self.count < self.max_new_tokens
            ids.append(own)
            text.append(self.detokenizers[index].push(own, last=not self.active[index]))
        return TextToken(tuple(ids), tuple(text), self.hidden_state, self.token_embedding, self.alive.long())

    def _sample(self) -> Tensor:
        logits = self.model.logits(self.hidden_state).float().masked_fill(self.suppressed, -torch.inf)
        empty = [not detokenizer.has_text for detokenizer in self.detokenizers]
        if any(empty):  # an answer must say something before it ends
            eos = logits[:, self.eos_token_id]
            logits[:, self.eos_token_id] = eos.masked_fill(torch.tensor(empty, device=eos.device), -torch.inf)
        return sample(logits, self.uniform[:, self.count], self.sampling)

    def close(self) -> None:
        """Release its buffers."""
        if self.state.kv_cache is not None:
            self.runner.release(self.state)
        self.active = [False] * len(self.active)


def _uniform(seed: int, count: int) -> Tensor:
    """[count] in [0, 1), generated on the CPU: the same on every device."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed + TEXT_SEED))
