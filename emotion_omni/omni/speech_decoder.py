"""From the language model's states to speech tokens, in the planned emotion, while the text still comes.

Paper, model section: a gate mixes each token's state with its embedding, the planned emotion scales
and shifts the result (AdaLN), and six causal blocks read `[BOS][text states][SOS][speech …]` and say
the next CosyVoice2 token (25 Hz). The ``paper`` preset has 1_311_435_776 parameters. Knows no text and
no sound, and which state of the language model goes with which token is its caller's affair: row n
of states, embeddings and emotions is one token, in training as when speaking.

A *slot* is a row whose output is a speech token: SOS is slot 0, speech token i is slot i + 1. In
chunked samples the 15 slots of chunk k see text tokens below (k + 1) · 5, as when text arrives 5
tokens for 15 of speech; in full samples all text. Text and speech each count their own places, for
the length of the text, by which the one would have to follow the other, is unknown while it streams;
so one attention rule serves training and streaming. Text never sees speech. Places, and modulating
text rows only, are ours.

Axes: B batch, N text tokens, S speech tokens, R rows, K rows attended to, D model width, E width of
an emotion vector, V vocabulary.
Sources: FiLM/AdaLN, Perez et al. 2018; multi-token prediction, Gloeckle et al. 2024; nucleus
sampling, Holtzman et al. 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emotion_omni.omni.config import OmniConfig, Sampling, SpeechDecoderConfig
from emotion_omni.omni.padding import mean_of, valid
from emotion_omni.omni.transformer import EPSILON, Block, Cache, angles
from emotion_omni.sampling import check_finite, sample
from emotion_omni.types import EmotionOmniError

PADDING, TEXT, SPEECH = 0, 1, 2  # the kinds of rows; BOS is text, SOS is speech
IGNORED = -100  # a target without loss


@dataclass(frozen=True, eq=False)
class TextPiece:
    """Text tokens to speak: all of them in training, the next ones while streaming.

    ``states`` and ``embeddings`` [B, N, D], ``emotion`` [B, N, E] or [B, 1, E] for one per utterance,
    ``lengths`` [B]: how many of the N are tokens.
    """

    states: Tensor
    embeddings: Tensor
    emotion: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """What rows are: ``kind`` [B, R] and ``place`` [B, R], BOS and SOS at 0, tokens from 1."""

    kind: Tensor
    place: Tensor


def rows_of(kind: int, begin: Tensor, size: int, lengths: Tensor) -> Rows:
    """``size`` rows of one kind, the first at place ``begin`` [B], as many as ``lengths`` [B] says, then padding."""
    kinds = torch.where(valid(lengths, size), kind, PADDING)
    return Rows(kinds, begin[:, None] + torch.arange(size, device=lengths.device))


def attention_mask(queries: Rows, keys: Rows, chunked: Tensor, config: SpeechDecoderConfig) -> Tensor:
    """Who sees whom, [B, 1, R, K]: each kind its own past; speech also text, all of it or its chunk's share.

    ``chunked`` [B]. Padding is a kind of its own, so that nothing else sees it and no row is blind.
    """
    query_kind, query_place = queries.kind[..., None], queries.place[..., None]
    key_kind, key_place = keys.kind[:, None], keys.place[:, None]
    share = (query_place // config.speech_chunk + 1) * config.text_chunk  # text token n has place n + 1
    readable = (key_place <= share) | ~chunked[:, None, None]
    past = (query_kind == key_kind) & (key_place <= query_place)
    return (past | (query_kind == SPEECH) & (key_kind == TEXT) & readable)[:, None]


class Gate(nn.Module):
    """g · h + (1 - g) · e with g = σ(W [h; e] + b), for state h and embedding e of the same token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """states and embeddings [B, N, D] → [B, N, D]."""
        share = self.mix(torch.cat([states, embeddings], -1)).sigmoid()
        return share * states + (1 - share) * embeddings


class Modulation(nn.Linear):
    """Emotions [B, N, E] → scale and shift in one [B, N, 2 D]. At the start 1 and 0 whatever the emotion."""

    def __init__(self, emotion_width: int, width: int) -> None:
        super().__init__(emotion_width, 2 * width)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        with torch.no_grad():
            self.bias.copy_(torch.arange(self.out_features) < self.out_features // 2)


class AdaLN(nn.Module):
    """scale(v) · norm(x) + shift(v): layer normalisation whose gain and bias an emotion v sets."""

    def __init__(self, emotion_width: int, width: int) -> None:
        super().__init__()
        self.modulation = Modulation(emotion_width, width)

    def forward(self, x: Tensor, emotion: Tensor) -> Tensor:
        """x [B, N, D], emotion [B, N, E] → [B, N, D]."""
        scale, shift = self.modulation(emotion).chunk(2, -1)
        return F.layer_norm(x, x.shape[-1:]) * scale + shift


class SpeechDecoder(nn.Module):
    """Gate, AdaLN and causal blocks. :meth:`forward` for training, :class:`SpeechState` for speaking."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        self.config = speech = config.speech
        sizes = (speech.width, speech.heads, speech.feed_forward, speech.dropout)
        self.gate = Gate(speech.width)
        self.adaptive_norm = AdaLN(config.emotion.width, speech.width)
        # normal with variance 1, as large as the normalised text beside it
        self.embedding = nn.Embedding(speech.vocabulary, speech.width, padding_idx=speech.padding)
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(speech.layers))
        per_block = speech.layers if speech.adaptive_norm == "per-block" else 0
        self.modulations = nn.ModuleList(Modulation(config.emotion.width, speech.width) for _ in range(per_block))
        self.extra_blocks = nn.ModuleList(Block(*sizes) for _ in range(speech.extra_predictions))
        self.norm = nn.RMSNorm(speech.width, EPSILON)
        self.out = nn.Linear(speech.width, speech.vocabulary, bias=False)

    def read(self, text: TextPiece) -> Tensor:
        """Text → its rows [B, N, D]."""
        emotion = text.emotion.expand(-1, text.states.shape[1], -1)
        return self.adaptive_norm(self.gate(text.states, text.embeddings), emotion)

    def run(
        self, inputs: Tensor, rows: Rows, mask: Tensor, emotion: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """The blocks: inputs [B, R, D], mask [B, 1, R, K] → [B, R, D]. ``emotion`` [B, R, E] is read on text rows."""
        turned = angles(rows.place, self.config.width // self.config.heads, self.config.rotary_base)
        x = inputs
        for layer, block in enumerate(self.blocks):
            modulation = self._modulation(layer, rows, emotion) if self.modulations and emotion is not None else None
            x = block(x, turned, mask, cache, layer, modulation)
        return x

    def _modulation(self, layer: int, rows: Rows, emotion: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.modulations[layer](emotion).chunk(2, -1)
        planned = ((rows.kind == TEXT) & (rows.place > 0))[..., None]  # BOS and speech have no emotion of their own
        return torch.where(planned, scale, 1.0), torch.where(planned, shift, 0.0)

    def forward(self, text: TextPiece, speech: Tensor, lengths: Tensor, chunked: Tensor) -> list[Tensor]:
        """Text, its speech [B, S] and lengths [B], ``chunked`` [B] → logits [B, S + 1, V] of slots 0 … S.

        Slot i's are those of speech token i, the last one's of EOS. After them come those of the extra
        predictions: the k-th, of token i + k.
        """
        batch, count = speech.shape
        spoken = torch.where(valid(lengths, count), speech, self.config.padding)
        ends = spoken.new_tensor([self.config.begin, self.config.speak]).expand(batch, 2)
        begin, speak = self.embedding(ends).split(1, 1)
        inputs = torch.cat([begin, self.read(text), speak, self.embedding(spoken)], 1)
        first = torch.zeros_like(lengths)
        parts = (
            rows_of(TEXT, first, text.states.shape[1] + 1, text.lengths + 1),
            rows_of(SPEECH, first, count + 1, lengths + 1),
        )
        rows = Rows(torch.cat([part.kind for part in parts], 1), torch.cat([part.place for part in parts], 1))
        emotion = F.pad(text.emotion.expand(-1, text.states.shape[1], -1), (0, 0, 1, count + 1))
        mask = attention_mask(rows, rows, chunked, self.config)
        states = [self.run(inputs, rows, mask, emotion)]
        turned = angles(rows.place, self.config.width // self.config.heads, self.config.rotary_base)
        for block in self.extra_blocks:
            states.append(block(states[-1], turned, mask))
        return [self.out(self.norm(state[:, -count - 1 :])) for state in states]


def draw_chunked(batch: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Which samples [B] of a training batch see text in chunks: each drawn for itself, ``share`` of them on average."""
    return torch.rand(batch, generator=generator) < share


def speech_losses(logits: Sequence[Tensor], speech: Tensor, lengths: Tensor, config: SpeechDecoderConfig) -> Tensor:
    """Logits of :meth:`SpeechDecoder.forward`, speech [B, S], lengths [B] → cross entropy [B], on speech and EOS only.

    Each utterance's mean over its own tokens. The k-th extra prediction weighs extra_decay^k.
    """
    targets = F.pad(speech, (0, 1)).masked_fill(~valid(lengths, speech.shape[1] + 1), IGNORED)
    targets = targets.scatter(1, lengths[:, None], config.end)
    total = torch.zeros(len(speech), device=speech.device)
    for ahead, scores in enumerate(logits):
        later = F.pad(targets[:, ahead:], (0, min(ahead, targets.shape[1])), value=IGNORED)
        losses = F.cross_entropy(scores.float().flatten(0, 1), later.flatten(), ignore_index=IGNORED, reduction="none")
        total = (
            total
            + config.extra_decay**ahead
            * mean_of(losses.view_as(later)[..., None], (lengths + 1 - ahead).clamp_min(0))[:, 0]
        )
    return total


def choose(logits: Tensor, uniform: Tensor, recent: Tensor, sampling: Sampling, config: SpeechDecoderConfig) -> Tensor:
    """logits [B, V], a number in [0, 1) per sample [B], its last tokens [B, W] → a speech token or EOS [B].

    See :func:`emotion_omni.sampling.sample`; what is said again and again becomes less likely.
    """
    scores = logits.float().index_fill(
        1, torch.tensor([config.begin, config.speak, config.padding], device=logits.device), -torch.inf
    )
    if sampling.repetition_nats and recent.shape[1]:
        share = (
            torch.zeros_like(scores).scatter_add_(1, recent, torch.ones_like(recent, dtype=scores.dtype))
            / sampling.repetition_window
        )
        scores = scores - sampling.repetition_nats * share
    return sample(scores, uniform, sampling, check=False)  # nothing is read back from the GPU here


class SpeechState:
    """A batch of replies being spoken: what was read and said so far. Made for each reply, shared by none.

    ``chunked=False`` waits for the whole text. ``static=True`` attends to the whole buffer with its
    unused rows masked, so that a step keeps its shapes until the buffer doubles (for CUDA graphs).
    """

    def __init__(self, decoder: SpeechDecoder, batch: int = 1, *, chunked: bool = True, static: bool = False) -> None:
        if decoder.training:
            raise ValueError("The decoder is in training mode, where dropout is drawn. Call eval() on it first.")
        self.decoder, self.config, self.static = decoder, decoder.config, static
        weight = decoder.embedding.weight
        self.cache = Cache(self.config.layers, batch, self.config.heads, self.config.width // self.config.heads, weight)
        self.chunked = torch.full((batch,), chunked, device=weight.device)
        nothing = torch.zeros(batch, self.cache.capacity, dtype=torch.long, device=weight.device)
        self.rows = Rows(nothing, nothing.clone())
        self.text = nothing[:, 0].clone()  # tokens read, of each sample
        self.ended = self.text > 0
        self.slot = 0  # the next one, of all samples
        begin = rows_of(TEXT, self.text, 1, self.text + 1)
        self._append(decoder.embedding(torch.full_like(begin.kind, self.config.begin)), begin)

    @torch.inference_mode()
    def add_text(self, text: TextPiece) -> None:
        """The next text tokens, any number of them. A sample with fewer has a shorter length; one that ended, 0."""
        size = text.states.shape[1]
        rows = rows_of(TEXT, self.text + 1, size, text.lengths)
        self._append(self.decoder.read(text), rows, text.emotion.expand(-1, size, -1))
        self.text = self.text + text.lengths

    def end_text(self, which: Tensor | None = None) -> None:
        """No more text comes, for all samples or for those that ``which`` [B] marks."""
        self.ended = torch.ones_like(self.ended) if which is None else self.ended | which

    def ready(self, speaking: Tensor) -> bool:
        """Whether the samples ``speaking`` [B] have the text that the next slot sees."""
        needed = (self.slot // self.config.speech_chunk + 1) * self.config.text_chunk
        return bool((self.ended | self.chunked & (self.text >= needed) | ~speaking).all())

    @torch.inference_mode()
    def step(self, tokens: Tensor, speaking: Tensor) -> Tensor:
        """The tokens of the last slot [B], SOS at first, of the samples ``speaking`` [B] → this slot's logits [B, V]."""
        rows = rows_of(SPEECH, torch.full_like(tokens, self.slot), 1, speaking.long())
        state = self._append(self.decoder.embedding(tokens[:, None]), rows)
        self.slot += 1
        return self.decoder.out(self.decoder.norm(state[:, 0]))

    @torch.inference_mode()
    def _append(self, inputs: Tensor, rows: Rows, emotion: Tensor | None = None) -> Tensor:
        """Inputs [B, R, D] → states [B, R, D], remembered from here on."""
        self.cache.claim(inputs.shape[1])
        if room := self.cache.capacity - self.rows.kind.shape[1]:
            self.rows = Rows(F.pad(self.rows.kind, (0, room)), F.pad(self.rows.place, (0, room)))
        self.rows.kind[:, self.cache.at], self.rows.place[:, self.cache.at] = rows.kind, rows.place
        extent = self.cache.capacity if self.static else self.cache.used
        keys = Rows(self.rows.kind[:, :extent], self.rows.place[:, :extent])
        return self.decoder.run(
            inputs, rows, attention_mask(rows, keys, self.chunked, self.config), emotion, self.cache
        )


class SpeechStream(SpeechState):
    """A state that draws its own tokens, each sample's from its own seed.

    What a sample says hangs on its text, its seed and the settings; not on the pieces its text came
    in, and not on its batch mates.
    """

    def __init__(
        self,
        decoder: SpeechDecoder,
        seeds: Sequence[int] = (0,),
        sampling: Sampling | None = None,
        *,
        chunked: bool = True,
        static: bool = False,
    ) -> None:
        super().__init__(decoder, len(seeds), chunked=chunked, static=static)
        self.sampling = sampling or Sampling()
        least = self.config.speech_chunk / self.config.text_chunk
        if self.sampling.longest_per_text < least:
            raise EmotionOmniError(
                f"longest_per_text is {self.sampling.longest_per_text:g}, and a chunk alone has {least:g} speech tokens "
                f"for each text token. Set it to {least:g} or more.",
                "config",
            )
        self.generators = [
            torch.Generator().manual_seed(seed) for seed in seeds
        ]  # on the CPU: the same draws on every device
        self.said = self.text.new_zeros(len(seeds), 0)
        self.speaking = torch.ones_like(self.ended)

    @property
    def done(self) -> bool:
        return not bool(self.speaking.any())

    def chunks(self) -> Iterator[Tensor]:
        """The speech that the text so far allows, pieces [B, ≤ speech_chunk]; padding follows a sample's last token.

        A sample ends with EOS or at its longest: ``longest_per_text`` · text tokens + ``longest_extra``. There is no EOS
        in a chunk that may not see all of the text: what is still to be said must not be lost.
        """
        while not self.done and self.ready(self.speaking):
            chunk = self._chunk()
            if chunk.shape[1]:
                yield chunk

    @torch.inference_mode()
    def _chunk(self) -> Tensor:
        draws = torch.stack(
            [torch.rand(self.config.speech_chunk, generator=generator) for generator in self.generators]
        )
        longest = (self.sampling.longest_per_text * self.text + self.sampling.longest_extra) * (self.text > 0)
        begin = self.slot
        readable = (self.slot // self.config.speech_chunk + 1) * self.config.text_chunk
        unfinished = self.chunked & (self.text >= readable)  # the same, however the text came
        for uniform in draws.to(self.said.device).unbind(1):
            last = self.said[:, -1] if self.slot else torch.full_like(self.text, self.config.speak)
            logits = self.step(last, self.speaking)
            logits[:, self.config.end] = logits[:, self.config.end].masked_fill(unfinished, -torch.inf)
            tokens = choose(
                logits, uniform, self.said[:, -self.sampling.repetition_window :], self.sampling, self.config
            )
            self.speaking = self.speaking & (tokens != self.config.end) & (self.slot <= longest)
            if self.done:
                break
            self.said = torch.cat([self.said, torch.where(self.speaking, tokens, self.config.padding)[:, None]], 1)
        check_finite(logits)  # once a chunk; NaN in the cache makes all later logits NaN
        return self.said[:, begin:]
