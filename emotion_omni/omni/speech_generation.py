"""Speech tokens while the text still arrives: the speech decoder, step by step with a key-value cache.

:class:`SpeechState` is what the decoder has read and generated so far, :class:`SpeechStream` samples from
it. Both are made for one batch of replies and share nothing with others.

Axes: B batch, N text tokens, R rows, D model width, V vocabulary, W window of recent tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_omni.omni.config import SpeechDecoderConfig, SpeechSampling
from emotion_omni.omni.speech_decoder import SPEECH, TEXT, Rows, SpeechDecoder, TextInputs, attention_mask, make_rows
from emotion_omni.omni.transformer import KVCache
from emotion_omni.sampling import check_finite, sample
from emotion_omni.types import EmotionOmniError


class SpeechState:
    """A batch of replies being spoken: what was read and generated so far.

    ``chunked=False`` waits for the whole text. ``static=True`` attends to the whole buffer with its unused
    rows masked, so that a step keeps its shapes until the buffer doubles (for CUDA graphs). ``run_step``
    replaces :meth:`SpeechDecoder.run_blocks` for steps of one speech token, such as its compiled form.
    """

    def __init__(
        self,
        decoder: SpeechDecoder,
        batch: int = 1,
        *,
        chunked: bool = True,
        static: bool = False,
        run_step: Callable[..., Tensor] | None = None,
    ) -> None:
        if decoder.training:
            raise ValueError("The decoder is in training mode, where dropout is random. Call eval() on it first.")
        self.decoder, self.config, self.static = decoder, decoder.config, static
        self.run_step = run_step or decoder.run_blocks
        weight = decoder.embedding.weight
        head_size = self.config.width // self.config.heads
        self.kv_cache = KVCache(self.config.layers, batch, self.config.heads, head_size, weight)
        self.chunked = torch.full((batch,), chunked, device=weight.device)
        zeros = torch.zeros(batch, self.kv_cache.capacity, dtype=torch.long, device=weight.device)
        self.rows = Rows(zeros, zeros.clone())
        self.text_lengths = zeros[:, 0].clone()  # tokens read, of each sample
        self.text_ended = self.text_lengths > 0
        self.slot = 0  # the next one, of all samples
        bos = make_rows(TEXT, self.text_lengths, 1, self.text_lengths + 1)
        self._append(decoder.run_blocks, decoder.embedding(torch.full_like(bos.kind, self.config.bos_token_id)), bos)

    @torch.inference_mode()
    def add_text(self, text: TextInputs) -> None:
        """The next text tokens, any number of them. A sample with fewer has a shorter length; one that ended, 0."""
        rows = make_rows(TEXT, self.text_lengths + 1, text.hidden_states.shape[1], text.lengths)
        self._append(self.decoder.run_blocks, self.decoder.embed_text(text), rows, text.emotions)
        self.text_lengths = self.text_lengths + text.lengths

    def end_text(self, which: Tensor | None = None) -> None:
        """No more text comes, for all samples or for those that ``which`` [B] marks."""
        self.text_ended = torch.ones_like(self.text_ended) if which is None else self.text_ended | which

    def visible_text(self) -> int:
        """How many text tokens the next slot attends to when chunked."""
        return (self.slot // self.config.speech_chunk + 1) * self.config.text_chunk

    def ready(self, speaking: Tensor) -> bool:
        """Whether the samples ``speaking`` [B] have the text that the next slot attends to."""
        has_text = self.chunked & (self.text_lengths >= self.visible_text())
        return bool((self.text_ended | has_text | ~speaking).all())

    @torch.inference_mode()
    def step(self, tokens: Tensor, speaking: Tensor) -> Tensor:
        """The tokens of the last slot [B] (first SOS), of the samples ``speaking`` [B] → logits of this slot [B, V]."""
        rows = make_rows(SPEECH, torch.full_like(tokens, self.slot), 1, speaking.long())
        hidden_states = self._append(self.run_step, self.decoder.embedding(tokens[:, None]), rows)
        self.slot += 1
        return self.decoder.logits(hidden_states[:, 0])

    @torch.inference_mode()
    def _append(
        self, run_blocks: Callable[..., Tensor], inputs: Tensor, rows: Rows, emotion: Tensor | None = None
    ) -> Tensor:
        """Inputs [B, R, D] → hidden states [B, R, D]; their keys and values stay in the cache."""
        cache = self.kv_cache
        cache.allocate(inputs.shape[1])
        if missing := cache.capacity - self.rows.kind.shape[1]:
            self.rows = Rows(F.pad(self.rows.kind, (0, missing)), F.pad(self.rows.position_ids, (0, missing)))
        self.rows.kind[:, cache.cache_position] = rows.kind
        self.rows.position_ids[:, cache.cache_position] = rows.position_ids
        extent = cache.capacity if self.static else cache.length
        keys = Rows(self.rows.kind[:, :extent], self.rows.position_ids[:, :extent])
        return run_blocks(inputs, rows, attention_mask(rows, keys, self.chunked, self.config), emotion, cache)


class SpeechStream(SpeechState):
    """A state that samples its own tokens, each sample's from its own seed.

    The tokens of a sample depend on its text, its seed and the settings; not on the pieces in which its
    text arrived, and not on the rest of the batch.
    """

    def __init__(
        self,
        decoder: SpeechDecoder,
        seeds: Sequence[int] = (0,),
        sampling: SpeechSampling | None = None,
        *,
        chunked: bool = True,
        static: bool = False,
        run_step: Callable[..., Tensor] | None = None,
    ) -> None:
        super().__init__(decoder, len(seeds), chunked=chunked, static=static, run_step=run_step)
        self.sampling = sampling or SpeechSampling()
        least = self.config.speech_chunk / self.config.text_chunk
        if self.sampling.max_tokens_per_text_token < least:
            raise EmotionOmniError(
                f"max_tokens_per_text_token is {self.sampling.max_tokens_per_text_token:g}, and a chunk alone has "
                f"{least:g} speech tokens for each text token. Set it to {least:g} or more.",
                "config",
            )
        # on the CPU: the same random numbers on every device
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.tokens = self.text_lengths.new_zeros(len(seeds), 0)
        self.speaking = torch.ones_like(self.text_ended)

    @property
    def done(self) -> bool:
        return not bool(self.speaking.any())

    def chunks(self) -> Iterator[Tensor]:
        """The speech that the text so far allows, in chunks [B, ≤ speech_chunk], padded after a sample's last token.

        A sample ends with EOS or at its longest: ``max_tokens_per_text_token`` · text tokens +
        ``max_extra_tokens``. EOS is not allowed in a chunk that may not attend to all of the text, because
        the rest of the reply would be lost.
        """
        while not self.done and self.ready(self.speaking):
            chunk = self._chunk()
            if chunk.shape[1]:
                yield chunk

    @torch.inference_mode()
    def _chunk(self) -> Tensor:
        rows = [torch.rand(self.config.speech_chunk, generator=generator) for generator in self.generators]
        longest = self.sampling.max_tokens_per_text_token * self.text_lengths + self.sampling.max_extra_tokens
        longest = longest * (self.text_lengths > 0)
        start = self.slot
        unfinished = self.chunked & (self.text_lengths >= self.visible_text())  # whichever way the text arrived
        for uniform in torch.stack(rows).to(self.tokens.device).unbind(1):
            sos = torch.full_like(self.text_lengths, self.config.sos_token_id)
            logits = self.step(self.tokens[:, -1] if self.slot else sos, self.speaking)
            eos = self.config.eos_token_id
            logits[:, eos] = logits[:, eos].masked_fill(unfinished, -torch.inf)
            recent = self.tokens[:, -self.sampling.frequency_window :]
            sampled = sample_speech_tokens(logits, uniform, recent, self.sampling, self.config)
            self.speaking = self.speaking & (sampled != eos) & (self.slot <= longest)
            if self.done:
                break
            sampled = torch.where(self.speaking, sampled, self.config.pad_token_id)
            self.tokens = torch.cat([self.tokens, sampled[:, None]], 1)
        check_finite(logits)  # once a chunk: NaN stays NaN, through the cache
        return self.tokens[:, start:]


def sample_speech_tokens(
    logits: Tensor, uniform: Tensor, recent: Tensor, sampling: SpeechSampling, config: SpeechDecoderConfig
) -> Tensor:
    """logits [B, V], a uniform number in [0, 1) per sample [B], its recent tokens [B, W] → a token or EOS [B].

    The frequency penalty makes tokens that recur less likely.
    """
    never = torch.tensor([config.bos_token_id, config.sos_token_id, config.pad_token_id], device=logits.device)
    logits = logits.float().index_fill(1, never, -torch.inf)
    if sampling.frequency_penalty and recent.shape[1]:
        counts = torch.zeros_like(logits).scatter_add_(1, recent, torch.ones_like(recent, dtype=logits.dtype))
        logits = logits - sampling.frequency_penalty * (counts / sampling.frequency_window)
    return sample(logits, uniform, sampling, check=False)
