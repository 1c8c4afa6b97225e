"""The speech decoder: hidden states of the text, in the planned emotion → logits of speech tokens.

Paper, model section: a gate fuses each token's hidden state with its embedding, the planned emotion
scales and shifts the result (AdaLN), and six causal blocks read `[BOS][text states][SOS][speech …]` and
predict the next CosyVoice2 token (25 Hz). The ``paper`` preset has 1_311_435_776 parameters. Knows no
text and no sound; the caller pairs hidden states with tokens: row n of hidden states, embeddings and
emotions is one token, in training and when speaking.

A *slot* is a row whose output is a speech token: SOS is slot 0, speech token i is slot i + 1. In chunked
samples the 15 slots of chunk k attend to text tokens below (k + 1) · 5, as when text arrives 5 tokens for
15 of speech; in the other samples to all text. Text never attends to speech. Text and speech each count
their own positions, because the length of the text, which would offset those of the speech, is unknown
while streaming. So one attention rule serves training and streaming. The positions, and modulating text
rows only, are ours.

Axes: B batch, N text tokens, S speech tokens, R rows, K rows attended to, D model width, E width of
an emotion vector, V vocabulary.
Sources: multi-token prediction, Gloeckle et al. 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni.omni.adaln import AdaLN, Modulation
from emotion_omni.omni.config import OmniConfig, SpeechDecoderConfig
from emotion_omni.omni.gate import Gate
from emotion_omni.omni.padding import length_mask, masked_mean
from emotion_omni.omni.transformer import EPSILON, Block, KVCache, rotary_angles

PADDING, TEXT, SPEECH = 0, 1, 2  # the kinds of rows; BOS is text, SOS is speech
IGNORE_INDEX = -100  # a target without loss


@dataclass(frozen=True, eq=False)
class TextInputs:
    """Text tokens to speak: all of them in training, the next ones while streaming.

    ``hidden_states`` and ``token_embeddings`` [B, N, D], ``emotion`` [B, N, E] or [B, 1, E] for one per
    utterance, ``lengths`` [B]: how many of the N are tokens.
    """

    hidden_states: Tensor
    token_embeddings: Tensor
    emotion: Tensor
    lengths: Tensor

    @property
    def emotions(self) -> Tensor:
        """One for each token [B, N, E]."""
        return self.emotion.expand(-1, self.hidden_states.shape[1], -1)


@dataclass(frozen=True, eq=False)
class Rows:
    """``kind`` and ``position_ids`` [B, R] of the decoder's rows: BOS and SOS have position 0, tokens count from 1."""

    kind: Tensor
    position_ids: Tensor


def make_rows(kind: int, first: Tensor, size: int, lengths: Tensor) -> Rows:
    """``size`` rows of one kind from position ``first`` [B]; those beyond ``lengths`` [B] are padding."""
    kinds = torch.where(length_mask(lengths, size), kind, PADDING)
    return Rows(kinds, first[:, None] + torch.arange(size, device=lengths.device))


def attention_mask(queries: Rows, keys: Rows, chunked: Tensor, config: SpeechDecoderConfig) -> Tensor:
    """[B, 1, R, K]: each kind attends to its own past; speech also to text, to all of it or as far as its chunk may.

    ``chunked`` [B]. Padding is a kind of its own: no other row attends to it, and no row has an empty mask.
    """
    query_kind, query_position = queries.kind[..., None], queries.position_ids[..., None]
    key_kind, key_position = keys.kind[:, None], keys.position_ids[:, None]
    visible = (query_position // config.speech_chunk + 1) * config.text_chunk  # text token n has position n + 1
    readable = (key_position <= visible) | ~chunked[:, None, None]
    past = (query_kind == key_kind) & (key_position <= query_position)
    return (past | (query_kind == SPEECH) & (key_kind == TEXT) & readable)[:, None]


class SpeechDecoder(nn.Module):
    """Gate, AdaLN and causal blocks. :meth:`forward` trains; :class:`.speech_generation.SpeechState` speaks."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        self.config = speech = config.speech
        sizes = (speech.width, speech.heads, speech.feed_forward, speech.dropout)
        self.gate = Gate(speech.width)
        self.adaptive_norm = AdaLN(config.emotion.width, speech.width)
        # initialized with variance 1, like the normalized text rows beside it
        self.embedding = nn.Embedding(speech.vocab_size, speech.width, padding_idx=speech.pad_token_id)
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(speech.layers))
        per_block = speech.layers if speech.adaptive_norm == "per-block" else 0
        self.modulations = nn.ModuleList(Modulation(config.emotion.width, speech.width) for _ in range(per_block))
        self.extra_blocks = nn.ModuleList(Block(*sizes) for _ in range(speech.mtp_layers))
        self.norm = nn.RMSNorm(speech.width, EPSILON)
        self.out = nn.Linear(speech.width, speech.vocab_size, bias=False)

    def embed_text(self, text: TextInputs) -> Tensor:
        """Text → its rows [B, N, D]."""
        return self.adaptive_norm(self.gate(text.hidden_states, text.token_embeddings), text.emotions)

    def run_blocks(
        self, x: Tensor, rows: Rows, mask: Tensor, emotion: Tensor | None = None, kv_cache: KVCache | None = None
    ) -> Tensor:
        """x [B, R, D], mask [B, 1, R, K] → hidden states [B, R, D]. ``emotion`` [B, R, E] is read on text rows only."""
        angles = self._angles(rows)
        for layer, block in enumerate(self.blocks):
            modulation = self._modulation(layer, rows, emotion) if self.modulations and emotion is not None else None
            x = block(x, angles, mask, kv_cache, layer, modulation)
        return x

    def _angles(self, rows: Rows) -> Tensor:
        return rotary_angles(rows.position_ids, self.config.width // self.config.heads, self.config.rope_theta)

    def _modulation(self, layer: int, rows: Rows, emotion: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.modulations[layer](emotion).chunk(2, -1)
        is_token = ((rows.kind == TEXT) & (rows.position_ids > 0))[..., None]  # BOS and speech have no emotion
        return torch.where(is_token, scale, 1.0), torch.where(is_token, shift, 0.0)

    def forward(self, text: TextInputs, speech: Tensor, lengths: Tensor, chunked: Tensor) -> list[Tensor]:
        """Text, its speech [B, S] and lengths [B], ``chunked`` [B] → logits [B, S + 1, V] of slots 0 … S.

        Slot i predicts speech token i, the last one EOS. After them come the logits of multi-token
        prediction: the k-th predicts token i + k.
        """
        batch, count = speech.shape
        tokens = torch.where(length_mask(lengths, count), speech, self.config.pad_token_id)
        special = tokens.new_tensor([self.config.bos_token_id, self.config.sos_token_id]).expand(batch, 2)
        bos, sos = self.embedding(special).split(1, 1)
        inputs = torch.cat([bos, self.embed_text(text), sos, self.embedding(tokens)], 1)
        zero = torch.zeros_like(lengths)
        text_rows = make_rows(TEXT, zero, text.hidden_states.shape[1] + 1, text.lengths + 1)
        speech_rows = make_rows(SPEECH, zero, count + 1, lengths + 1)
        rows = Rows(
            torch.cat([text_rows.kind, speech_rows.kind], 1),
            torch.cat([text_rows.position_ids, speech_rows.position_ids], 1),
        )
        emotion = F.pad(text.emotions, (0, 0, 1, count + 1))
        mask = attention_mask(rows, rows, chunked, self.config)
        hidden_states = [self.run_blocks(inputs, rows, mask, emotion)]
        angles = self._angles(rows)
        for block in self.extra_blocks:
            hidden_states.append(block(hidden_states[-1], angles, mask))
        return [self.logits(each[:, -count - 1 :]) for each in hidden_states]

    def logits(self, hidden_states: Tensor) -> Tensor:
        """hidden_states [..., D] → logits [..., V]."""
        return self.out(self.norm(hidden_states))


def sample_chunked(batch: int, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Which samples [B] of a training batch see their text in chunks, each sampled by itself."""
    return torch.rand(batch, generator=generator) < probability


def speech_losses(logits: Sequence[Tensor], speech: Tensor, lengths: Tensor, config: SpeechDecoderConfig) -> Tensor:
    """Logits of :meth:`SpeechDecoder.forward`, speech [B, S], lengths [B] → cross entropy [B] of speech and EOS.

    Each utterance's mean over its own tokens. The k-th multi-token prediction is weighted by mtp_decay^k.
    """
    targets = F.pad(speech, (0, 1)).masked_fill(~length_mask(lengths, speech.shape[1] + 1), IGNORE_INDEX)
    targets = targets.scatter(1, lengths[:, None], config.eos_token_id)
    total = torch.zeros(len(speech), device=speech.device)
    for ahead, each in enumerate(logits):
        shifted = F.pad(targets[:, ahead:], (0, min(ahead, targets.shape[1])), value=IGNORE_INDEX)
        losses = F.cross_entropy(
            each.float().flatten(0, 1), shifted.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        )
        mean = masked_mean(losses.view_as(shifted)[..., None], (lengths + 1 - ahead).clamp_min(0))[:, 0]
        total = total + config.mtp_decay**ahead * mean
    return total
