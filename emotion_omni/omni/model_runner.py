"""How the language model and the speech decoder run: their buffers, static shapes, compiled steps.

One runner for a model, shared by all its replies. Between replies it keeps empty buffers only; the first
reply of a new size pays for allocating or compiling.

Axes: B batch, S rows of the language model, K keys, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, StaticCache

from emotion_omni.omni.config import SpeechSampling
from emotion_omni.omni.model import LanguageModelInputs, Omni
from emotion_omni.omni.speech_generation import SpeechStream
from emotion_omni.omni.transformer import KVCache

STATIC_ROWS = 256  # static buffers of the language model are multiples of this, so that similar queries share one
SPEECH_ROWS = 2048  # of a static buffer of the speech decoder: 500 text tokens and a minute of speech
MAX_GRAPHS = 64


@dataclass(eq=False)
class LanguageModelState:
    """What the language model has read of a batch.

    ``attention_mask`` [B, K]: as long as what was read or, for a static cache, as the buffer. ``length``: rows read.
    """

    kv_cache: Any
    attention_mask: Tensor
    length: int


class ModelRunner:
    """Prefill and decode steps of a model.

    ``static``: buffers of a fixed size, so that every step has the same shapes. ``compiled``: that, and steps
    go through ``torch.compile``; with ``inductor`` on CUDA as CUDA graphs.
    """

    def __init__(self, model: Omni, *, static: bool = False, compiled: bool = False, backend: str = "inductor") -> None:
        self.model, self.static, self.compiled = model, static or compiled, compiled
        self._decode_text: Callable[..., Tensor] = model.hidden_states
        self._decode_speech: Callable[..., Tensor] = model.speech_decoder.run_blocks
        if compiled:
            # each length of a conversation is a graph of its own; beyond the limit steps would silently run slowly
            limit = max(torch._dynamo.config.recompile_limit, MAX_GRAPHS)
            torch._dynamo.config.recompile_limit = limit
            self._decode_text = _compile(self._decode_text, backend)
            self._decode_speech = _compile(self._decode_speech, backend)
        self._free_text_caches: dict[tuple[int, int], list[StaticCache]] = {}
        self._free_speech_caches: dict[int, list[KVCache]] = {}

    # --- the language model -------------------------------------------------------------------------------------

    def prefill(self, inputs: LanguageModelInputs, max_new_tokens: int) -> tuple[LanguageModelState, Tensor]:
        """Inputs padded on the left → the state after them, and the last hidden states [B, D]."""
        if self.static:
            return self._static_prefill(inputs, max_new_tokens)
        mask = inputs.attention_mask
        state = LanguageModelState(DynamicCache(config=self.model.causal_lm.config), mask, mask.shape[1])
        hidden_states = self.model.hidden_states(
            inputs.inputs_embeds, None if bool(mask.all()) else mask, inputs.position_ids, state.kv_cache
        )
        return state, hidden_states[:, -1]

    def _static_prefill(self, inputs: LanguageModelInputs, max_new_tokens: int) -> tuple[LanguageModelState, Tensor]:
        batch, count = inputs.attention_mask.shape
        size = -(-(count + max_new_tokens) // STATIC_ROWS) * STATIC_ROWS
        free = self._free_text_caches.setdefault((batch, size), [])
        kv_cache = free.pop() if free else StaticCache(config=self.model.causal_lm.config, max_cache_len=size)
        state = LanguageModelState(kv_cache, F.pad(inputs.attention_mask, (0, size - count)), count)
        causal = torch.ones(count, size, dtype=torch.bool, device=state.attention_mask.device).tril()
        mask = _additive_mask(causal & state.attention_mask[:, None, None], inputs.inputs_embeds.dtype)
        return state, self.model.hidden_states(inputs.inputs_embeds, mask, inputs.position_ids, kv_cache)[:, -1]

    def decode(self, state: LanguageModelState, embeddings: Tensor, position_ids: Tensor) -> Tensor:
        """One more token each: embeddings [B, D], position_ids [B] → hidden states [B, D]."""
        mask: Tensor | None
        if self.static:
            state.attention_mask[:, state.length] = True
            mask = _additive_mask(state.attention_mask[:, None, None], embeddings.dtype)
        else:
            state.attention_mask = F.pad(state.attention_mask, (0, 1), value=True)
            mask = state.attention_mask if len(state.attention_mask) > 1 else None  # a single row has no padding
        state.length += 1
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        hidden_states = self._decode_text(embeddings[:, None], mask, position_ids[:, None], state.kv_cache)[:, 0]
        return hidden_states.clone() if self.compiled else hidden_states  # a graph overwrites its output when it reruns

    @torch.inference_mode()
    def release(self, state: LanguageModelState) -> None:
        """Drop the state. A static buffer is emptied and kept for the next reply."""
        if isinstance(state.kv_cache, StaticCache):
            batch, size = state.attention_mask.shape
            state.kv_cache.reset()
            self._free_text_caches[batch, size].append(state.kv_cache)
        state.kv_cache = None

    # --- the speech decoder -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def start_speech(self, seeds: Sequence[int], sampling: SpeechSampling, chunked: bool) -> SpeechStream:
        """A stream of speech tokens; return its buffers with :meth:`release_speech`."""
        stream = SpeechStream(
            self.model.speech_decoder,
            seeds,
            sampling,
            chunked=chunked,
            static=self.static,
            run_step=self._speech_step if self.compiled else None,
        )
        if self.compiled:
            free = self._free_speech_caches.setdefault(len(seeds), [])
            stream.kv_cache = _at_fixed_address(stream.kv_cache, free.pop() if free else None)
        return stream

    def _speech_step(self, *inputs: Any) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return self._decode_speech(*inputs)

    @torch.inference_mode()
    def release_speech(self, stream: SpeechStream) -> None:
        if self.compiled and stream.kv_cache.capacity == SPEECH_ROWS:
            for buffer in (stream.kv_cache.keys, stream.kv_cache.values):
                buffer.zero_()
            self._free_speech_caches[len(stream.generators)].append(stream.kv_cache)


def _compile(run: Callable[..., Tensor], backend: str) -> Callable[..., Tensor]:
    mode = "reduce-overhead" if backend == "inductor" else None
    return torch.compile(run, backend=backend, dynamic=False, mode=mode)


def _at_fixed_address(own: KVCache, buffer: KVCache | None) -> KVCache:
    """The content of ``own`` in a large buffer (``buffer``, or a new one) that CUDA graphs may refer to."""
    layers, batch, heads, _, head_size = own.keys.shape
    buffer = buffer or KVCache(layers, batch, heads, head_size, own.keys, SPEECH_ROWS)
    buffer.length = 0
    buffer.allocate(own.length)
    buffer.keys[..., : own.length, :] = own.keys[..., : own.length, :]
    buffer.values[..., : own.length, :] = own.values[..., : own.length, :]
    for tensor in (buffer.keys, buffer.values):
        torch._dynamo.mark_static_address(tensor)
    return buffer


def _additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask → what is added to attention logits: all attentions of transformers take it, some no boolean."""
    return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
