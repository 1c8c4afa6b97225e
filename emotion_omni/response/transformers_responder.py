"""A responder for GPUs: a large language model of transformers, clause by clause while it is being written.

Axes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

import torch
import transformers

from emotion_omni.chat_prompt import ChatPrompt, slot
from emotion_omni.loading import explained, load, load_tokenizer
from emotion_omni.response.chat import ReplyFilter, ReplyGuard, clauses
from emotion_omni.response.config import TransformersResponderConfig
from emotion_omni.response.prompt import messages
from emotion_omni.sampling import sample_one
from emotion_omni.types import EmotionOmniError, Exchange, Heard, Plan


class TransformersResponder:
    """Keeps nothing between replies but counts, in ``net``."""

    openers = False

    def __init__(self, model: Any, tokenizer: Any, config: TransformersResponderConfig, guard: ReplyGuard) -> None:
        self.filter = ReplyFilter(guard)
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._chat = ChatPrompt(tokenizer, config.name)
        eos = model.generation_config.eos_token_id
        self.eos = {tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None}
        control = [token for token in tokenizer.get_added_vocab().values() if token not in self.eos]
        vocabulary = model.config.get_text_config().vocab_size
        self.suppressed = torch.zeros(vocabulary, device=model.device)  # [V], added to the logits
        self.suppressed[len(tokenizer) :] = -torch.inf  # rows that only pad the table
        self.suppressed[control] = -torch.inf

    @classmethod
    def load(
        cls, config: TransformersResponderConfig, device: torch.device, guard: ReplyGuard
    ) -> TransformersResponder:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``missing-package``, ``memory``, ``config``)."""
        options = _four_bit(config, device) if config.four_bit else {}
        model = load(transformers.AutoModelForCausalLM, config.name, config.revision, config.dtype, device, **options)
        tokenizer = load_tokenizer(config.name, config.revision)
        if not tokenizer.chat_template:
            raise EmotionOmniError(
                f"{config.name!r} has no chat template. Choose a language model tuned for conversation.", "config"
            )
        return cls(model, tokenizer, config, guard)

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`."""

        def write(attempt: int, refused: str) -> Generator[str, None, None]:
            return self._clauses(self.prompt(heard, plan, history, seed + attempt, refused), seed + attempt)

        return self.filter.reply(heard, plan, history, seed, write)

    def prompt(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), seed: int = 0, refused: str = ""
    ) -> list[int]:
        """The conversation as token ids, up to the start of the reply."""
        slots: list[list[int]] = []

        def content(words: str, max_tokens: int) -> str:
            slots.append(self._chat.words(words)[:max_tokens])
            return slot(len(slots) - 1)

        return sum(self._chat.segments(messages(heard, plan, history, content, seed, refused), slots), [])

    def _clauses(self, prompt: list[int], seed: int) -> Generator[str, None, None]:
        written: list[int] = []

        def texts() -> Generator[str, None, None]:
            with closing(self._tokens(prompt, seed)) as tokens:
                for token in tokens:
                    written.append(token)
                    yield self.tokenizer.decode(written, skip_special_tokens=True)

        with closing(texts()) as growing:
            yield from clauses(growing, lambda: len(written) < self.config.max_new_tokens)

    @torch.inference_mode()
    def _tokens(self, prompt: list[int], seed: int) -> Generator[int, None, None]:
        """One token at a time. The kv cache lives in this generator: closing it frees the memory."""
        generator = torch.Generator().manual_seed(seed)
        kv_cache, step = None, prompt
        for _ in range(self.config.max_new_tokens):
            input_ids = torch.tensor([step], device=self.model.device)
            out = self.model(input_ids=input_ids, cache=kv_cache, use_cache=True, logits_to_keep=1)
            kv_cache = out.cache
            token = sample_one(out.logits[0, -1].float() + self.suppressed, self.config, generator)
            if token in self.eos:
                return
            yield token
            step = [token]


def _four_bit(config: TransformersResponderConfig, device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        raise EmotionOmniError("responder.four_bit needs a GPU, and the device is the CPU. Set it to false.", "config")
    with explained(config.name):
        dtype = getattr(torch, config.dtype)
        settings = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    return {"quantization_config": settings}
