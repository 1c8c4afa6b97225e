"""From a query to the words, the emotions and the speech tokens of its answer, each as soon as it can be had.

One text token at a time is drawn from the language model; its state, its embedding and the emotion planned
for it go to the speech decoder, which says 15 tokens for every 5 of text while the rest is still to be
written. Answers are made in batches and share nothing in them: what one gets hangs on its own query, seed
and settings, neither on its batch mates nor on the pieces it is fetched in. Knows no sound: encoders stand
before it, vocoders behind.

The states met here are those of :meth:`Omni.read` on the same text, which the other parts were taught with.

Axes: B batch, S rows of the language model, N tokens of the answer, n of one piece, K keys, D width,
E width of an emotion vector, V vocabulary.
Sources: paper, sections on the model and on streaming; nucleus sampling, Holtzman et al. 2020.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, StaticCache

from emotion_omni.omni.config import Sampling
from emotion_omni.omni.model import Answer, Omni, Query, Rows
from emotion_omni.omni.prompt import Prompt
from emotion_omni.omni.speech_decoder import SpeechStream, TextPiece
from emotion_omni.omni.transformer import Cache
from emotion_omni.sampling import sample
from emotion_omni.strict import Strict

TEXT_SEED = 1_000_003  # added to a seed for its words: other numbers than those the speech is drawn by
STATIC_ROWS = 256  # buffers of the language model are multiples of this, so that queries of like length share one
SPOKEN_ROWS = (
    2048  # of the speech decoder's buffer, when it is to stay where it is: 500 text tokens and a minute of speech
)
MOST_GRAPHS = 64
HALF = "\ufffd"  # what a tokenizer makes of bytes that are no character, or not one yet


@dataclass(frozen=True)
class TextSampling(Strict):
    """How words are drawn; the values are those that Qwen2.5-Instruct is published with. ``temperature`` 0: the likeliest."""

    temperature: float = 0.7
    top_k: int = 20
    top_p: float = 0.8
    longest: int = 200  # tokens of an answer

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_k", "top_p", "longest")
        self._share("top_p")
        self._require(self.temperature >= 0, "temperature", "0 or more")


@dataclass(frozen=True, eq=False)
class Written:
    """The next text tokens of each answer, none for one that has ended.

    ``words`` are theirs as far as they are certain: half a character waits for the rest of it.
    ``piece``: states, embeddings, planned emotions and how many of the n rows are tokens, as the speech decoder reads them.
    """

    ids: tuple[tuple[int, ...], ...]
    words: tuple[str, ...]
    piece: TextPiece


@dataclass(frozen=True)
class Spoken:
    """The next speech tokens of each answer, none for one that has ended."""

    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Reply:
    """A whole answer: its text tokens without the end, its words, the emotion of each token [N, E], its speech tokens."""

    ids: tuple[int, ...]
    words: str
    emotions: Tensor
    speech: tuple[int, ...]


class Spelling:
    """Ids of one answer as they come → its words, without half characters and without control tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[
            int
        ] = []  # the last ones told, for a first token is spelled unlike the same token later; and all since
        self._told = 0  # of them
        self.visible = False  # whether any words have come yet

    def push(self, ids: Sequence[int], last: bool = False) -> str:
        """→ the words that are certain now. What is no character at all is left out."""
        self._ids += ids
        before, now = self._decoded(self._ids[: self._told]), self._decoded(self._ids)
        if now.endswith(HALF) and not last:
            return ""
        self._ids = self._ids[self._told :]
        self._told = len(self._ids)
        words = "".join(letter for letter in now[len(before) :] if letter in "\n\t" or _is_text(letter))
        self.visible |= bool(words.strip())
        return words

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _is_text(letter: str) -> bool:
    return letter != HALF and unicodedata.category(letter) not in ("Cc", "Cs")


# --- single steps ---------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Memory:
    """What the language model has read of a batch: its keys and values, and which of their rows are no padding.

    ``mask`` [B, K]: as long as what was read, or, of a fixed size, as the buffer.
    """

    cache: Any
    mask: Tensor
    read: int


class Steps:
    """How the language model and the speech decoder take their steps. One for a model, shared by all its answers.

    ``static``: buffers of a fixed size, so that each step has the shapes of the one before. ``compiled``: that, and
    the steps go through ``torch.compile``, with ``inductor`` on CUDA as graphs. What is kept from one answer to
    the next are buffers, emptied; the first answer of a new size pays for making or compiling.
    """

    def __init__(self, model: Omni, *, static: bool = False, compiled: bool = False, backend: str = "inductor") -> None:
        self.model, self.static = model, static or compiled
        self._compiled = compiled
        options = {"backend": backend, "dynamic": False} | (
            {"mode": "reduce-overhead"} if backend == "inductor" else {}
        )
        self._compile: Callable[[Callable], Callable] = lambda run: torch.compile(run, **options) if compiled else run
        if (
            compiled
        ):  # each length of a conversation is a graph of its own; past the limit steps would silently run slowly
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
        self._states = self._compile(model.states)
        self.decoder = _Compiled(model.speech_decoder, self._compile) if compiled else model.speech_decoder
        self._buffers: dict[tuple[int, int], list[StaticCache]] = {}
        self._spoken: dict[int, list[Cache]] = {}

    def begin(self, rows: Rows, longest: int) -> tuple[Memory, Tensor]:
        """Rows with their padding on the left, and how many tokens may follow → the memory of them, the last states [B, D]."""
        batch, count = rows.mask.shape
        if not self.static:
            memory = Memory(DynamicCache(config=self.model.causal.config), rows.mask, count)
            mask = None if bool(rows.mask.all()) else rows.mask
            return memory, self.model.states(rows.embeddings, mask, rows.places, memory.cache)[:, -1]
        room = -(-(count + longest) // STATIC_ROWS) * STATIC_ROWS
        free = self._buffers.setdefault((batch, room), [])
        cache = free.pop() if free else StaticCache(config=self.model.causal.config, max_cache_len=room)
        memory = Memory(cache, F.pad(rows.mask, (0, room - count)), count)
        causal = torch.ones(count, room, dtype=torch.bool, device=rows.mask.device).tril()
        mask = _additive(causal & memory.mask[:, None, None], rows.embeddings.dtype)
        return memory, self.model.states(rows.embeddings, mask, rows.places, cache)[:, -1]

    def next(self, memory: Memory, embeddings: Tensor, places: Tensor) -> Tensor:
        """One more token each: embeddings [B, D], places [B] → states [B, D]."""
        if self.static:
            memory.mask[:, memory.read] = True
            mask = _additive(memory.mask[:, None, None], embeddings.dtype)
        else:
            memory.mask = F.pad(memory.mask, (0, 1), value=True)
            mask = memory.mask if len(memory.mask) > 1 else None  # alone there is no padding
        memory.read += 1
        self._mark()
        states = self._states(embeddings[:, None], mask, places[:, None], memory.cache)[:, 0]
        return states.clone() if self._compiled else states  # a graph's output is overwritten by its next run

    @torch.inference_mode()
    def free(self, memory: Memory) -> None:
        """Its buffers, emptied, are the next answer's."""
        if self.static and isinstance(memory.cache, StaticCache):
            memory.cache.reset()
            self._buffers[tuple(memory.mask.shape)].append(memory.cache)
        memory.cache = None

    @torch.inference_mode()
    def speech(self, seeds: Sequence[int], sampling: Sampling, chunked: bool) -> SpeechStream:
        """A stream of speech tokens; give its buffers back with :meth:`quiet`."""
        stream = SpeechStream(self.decoder, seeds, sampling, chunked=chunked, static=self.static)
        if self._compiled:
            free, own = self._spoken.setdefault(len(seeds), []), stream.cache
            layers, batch, heads, _, size = own.keys.shape
            lent = free.pop() if free else Cache(layers, batch, heads, size, own.keys, SPOKEN_ROWS)
            lent.used = 0
            lent.claim(own.used)
            lent.keys[..., : own.used, :], lent.values[..., : own.used, :] = (
                own.keys[..., : own.used, :],
                own.values[..., : own.used, :],
            )
            for buffer in (lent.keys, lent.values):
                torch._dynamo.mark_static_address(buffer)
            stream.cache = lent
        return stream

    @torch.inference_mode()
    def quiet(self, stream: SpeechStream) -> None:
        if self._compiled and stream.cache.capacity == SPOKEN_ROWS:
            for buffer in (stream.cache.keys, stream.cache.values):
                buffer.zero_()
            self._spoken[len(stream.generators)].append(stream.cache)

    def _mark(self) -> None:
        if self._compiled:
            torch.compiler.cudagraph_mark_step_begin()


class _Compiled:
    """A speech decoder whose step of speech is compiled. All else, and steps of text, which come seldom, are its own."""

    def __init__(self, decoder: Any, compile: Callable[[Callable], Callable]) -> None:
        self._decoder, self._step = decoder, compile(decoder.run)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def run(
        self, inputs: Tensor, rows: Any, mask: Tensor, emotion: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        if emotion is not None or cache is None or cache.used == inputs.shape[1]:
            return self._decoder.run(inputs, rows, mask, emotion, cache)
        torch.compiler.cudagraph_mark_step_begin()
        return self._step(inputs, rows, mask, None, cache)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Who sees whom → what is added to the scores. Every attention of transformers reads it so, a boolean only some."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


# --- words ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Step:
    """One token of each answer: ``ids``, none where an answer has ended; ``state`` and ``embedding`` [B, D]; ``spoken`` [B]."""

    ids: tuple[tuple[int, ...], ...]
    words: tuple[str, ...]
    state: Tensor
    embedding: Tensor
    spoken: Tensor


class TextStream:
    """Answers being written, each from its own seed. Made for a batch, shared by none.

    ``given``: the ids of each answer, which are then not drawn; the end may stand behind them or not.
    """

    @torch.inference_mode()
    def __init__(
        self,
        steps: Steps,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: TextSampling | None = None,
        given: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.steps, self.model = steps, steps.model
        if self.model.training:
            raise ValueError("The model is in training mode, where dropout is drawn. Call eval() on it first.")
        self.sampling, self.end = sampling or TextSampling(), self.model.prompter.end
        self.longest = max(map(len, given)) if given else self.sampling.longest
        rows = self.model.rows(_placed(query, self.model), prompts, left=True)
        device = rows.mask.device
        self.places = rows.mask.sum(1)  # of the next row
        self.given = pad_sequence([torch.tensor(ids) for ids in given], True, self.end).to(device) if given else None
        self.uniform = torch.stack([_numbers(seed, self.longest) for seed in seeds]).to(device)
        self.spellings = [Spelling(self.model.prompter.tokenizer) for _ in seeds]
        self.writing = [True] * len(seeds)
        self.alive = torch.ones(len(seeds), dtype=torch.bool, device=device)  # the same, where the tensors are
        self.count = 0  # tokens so far, of those that write
        self.never = self._never(self.model.causal.get_output_embeddings().weight)
        self.memory, self.state = steps.begin(rows, self.longest)

    def _never(self, weight: Tensor) -> Tensor:
        """[V], true for ids that are no words: control tokens but the end, and rows without a token."""
        tokenizer = self.model.prompter.tokenizer
        control = [number for number in tokenizer.added_tokens_decoder if number != self.end]
        ids = torch.arange(len(weight), device=weight.device)
        return torch.isin(ids, torch.tensor(control, dtype=ids.dtype, device=ids.device)) | (ids >= len(tokenizer))

    @property
    def done(self) -> bool:
        return not any(self.writing)

    @torch.inference_mode()
    def step(self) -> Step:
        """The next token of each answer. Reading their ids is the one time a GPU is waited for."""
        if self.count:
            self.state = self.steps.next(self.memory, self.embedding, self.places)
            self.places = self.places + 1
        tokens = self._chosen() if self.given is None else self.given[:, self.count]
        self.embedding = self.model.embed(tokens)
        self.alive = self.alive & (tokens != self.end)
        self.count += 1
        written = tokens.tolist()
        ids = tuple(
            (token,) if writes and token != self.end else ()
            for token, writes in zip(written, self.writing, strict=True)
        )
        self.writing = [len(own) > 0 and self.count < self.longest for own in ids]
        words = tuple(
            spelling.push(own, not writes)
            for spelling, own, writes in zip(self.spellings, ids, self.writing, strict=True)
        )
        return Step(ids, words, self.state, self.embedding, self.alive.long())

    def _chosen(self) -> Tensor:
        scores = self.model.scores(self.state).float().masked_fill(self.never, -torch.inf)
        if not all(spelling.visible for spelling in self.spellings):  # an answer must say something before it ends
            silent = torch.tensor([not spelling.visible for spelling in self.spellings], device=scores.device)
            scores[:, self.end] = scores[:, self.end].masked_fill(silent, -torch.inf)
        return sample(scores, self.uniform[:, self.count], self.sampling)

    def close(self) -> None:
        """Free what it remembers."""
        if self.memory.cache is not None:
            self.steps.free(self.memory)
        self.writing = [False] * len(self.writing)


def _placed(query: Query, model: Omni) -> Query:
    """On the model's device, the frames in the adapters' dtype."""
    query = query.to(model.prototypes.device)
    return Query(
        query.semantic.to(model.dtype), query.semantic_lengths, query.emotion.to(model.dtype), query.emotion_lengths
    )


def _numbers(seed: int, count: int) -> Tensor:
    """[count] in [0, 1), drawn on the CPU: the same on every device."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed + TEXT_SEED))


# --- the plan -----------------------------------------------------------------------------------------------------


class Planner:
    """The emotion of each token as it is written. ``given`` [B, E]: what a person chose, instead of a plan."""

    def __init__(self, model: Omni, batch: int, given: Tensor | None = None) -> None:
        self.model, self.given = model, given
        by_token = model.config.emotion_mode == "token"
        self.cache = model.emotion_head.cache(batch) if by_token and given is None else None
        self.wait = 1 if by_token else model.config.head.first_tokens  # tokens, before the first is planned
        self.whole: Tensor | None = None if given is None else given[:, None].to(model.dtype)
        self.waiting: list[Step] = []

    @torch.inference_mode()
    def push(self, step: Step, last: bool) -> Written | None:
        """A step → the tokens whose emotion is known now: in the ``utterance`` mode the first ones come together."""
        self.waiting.append(step)
        if self.whole is None and len(self.waiting) < self.wait and not last:
            return None
        steps, self.waiting = self.waiting, []
        states, embeddings = (
            torch.stack(rows, 1) for rows in zip(*((each.state, each.embedding) for each in steps), strict=True)
        )
        lengths = torch.stack([each.spoken for each in steps], 1).sum(1)
        emotions = self._emotions(Answer(states, embeddings, lengths))
        ids, words = (tuple(zip(*(getattr(each, name) for each in steps), strict=True)) for name in ("ids", "words"))
        piece = TextPiece(states.to(emotions.dtype), embeddings.to(emotions.dtype), emotions, lengths)
        return Written(tuple(sum(own, ()) for own in ids), tuple(map("".join, words)), piece)

    def _emotions(self, answer: Answer) -> Tensor:
        if self.cache is not None:
            return self.model.emotions(answer, self.cache)
        if self.whole is None:
            self.whole = self.model.emotions(answer)
        return self.whole


# --- words and speech together ----------------------------------------------------------------------------------------


class Responder:
    """A model with the manner in which it answers. Holds no answer.

    ``chunked=False`` speaks when the whole text is there.
    """

    def __init__(
        self,
        model: Omni,
        text: TextSampling | None = None,
        speech: Sampling | None = None,
        *,
        steps: Steps | None = None,
        chunked: bool = True,
    ) -> None:
        self.model, self.text, self.speech = model, text or TextSampling(), speech or Sampling()
        self.steps, self.chunked = steps or Steps(model), chunked

    def read(
        self,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        given: Sequence[Sequence[int]] | None = None,
    ) -> TextStream:
        """The language model reads queries and prompts; nothing is written yet. Go on with :meth:`pieces`."""
        return TextStream(self.steps, query, prompts, seeds, self.text, given)

    def pieces(
        self, words: TextStream, seeds: Sequence[int] | None = None, emotion: Tensor | None = None
    ) -> Iterator[Written | Spoken]:
        """The answers as they come. Closing it early frees what was remembered of them.

        ``seeds``: of the speech; none asks for words only. ``emotion`` [B, E]: instead of the planned one.
        """
        speech = self.steps.speech(seeds, self.speech, self.chunked) if seeds is not None else None
        planner, waiting = Planner(self.model, len(words.writing), emotion), []
        try:
            while not words.done:
                step = words.step()
                if (written := planner.push(step, words.done)) is None:
                    continue
                if any(written.ids) or any(written.words):
                    yield written
                waiting.append(written.piece)
                if speech is not None and (
                    words.done or sum(piece.states.shape[1] for piece in waiting) >= speech.config.text_chunk
                ):
                    speech.add_text(_joined(waiting))
                    speech.end_text(~words.alive if not words.done else None)
                    waiting = []
                    yield from (_spoken(chunk, speech.config.codes) for chunk in speech.chunks())
        finally:
            words.close()
            if speech is not None:
                self.steps.quiet(speech)

    def replies(
        self,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        *,
        speak: bool = True,
        given: Sequence[Sequence[int]] | None = None,
    ) -> list[Reply]:
        """Whole answers of a batch, for evaluation."""
        written: list[Written] = []
        spoken: list[Spoken] = []
        with closing(self.pieces(self.read(query, prompts, seeds, given), seeds if speak else None)) as pieces:
            for piece in pieces:
                written.append(piece) if isinstance(piece, Written) else spoken.append(piece)
        return [_reply(index, written, spoken) for index in range(len(prompts))]


def _joined(pieces: Sequence[TextPiece]) -> TextPiece:
    """Pieces one after the other; each sample's tokens stand before its padding, for one that ends writes no more."""
    emotions = [piece.emotion.expand(-1, piece.states.shape[1], -1) for piece in pieces]
    states, embeddings = (torch.cat([getattr(piece, name) for piece in pieces], 1) for name in ("states", "embeddings"))
    return TextPiece(
        states, embeddings, torch.cat(emotions, 1), torch.stack([piece.lengths for piece in pieces]).sum(0)
    )


def _spoken(chunk: Tensor, codes: int) -> Spoken:
    return Spoken(tuple(tuple(token for token in row if token < codes) for row in chunk.tolist()))


def _reply(index: int, written: Sequence[Written], spoken: Sequence[Spoken]) -> Reply:
    ids = sum((piece.ids[index] for piece in written), ())
    emotions = torch.cat([piece.piece.emotion[index].expand(piece.piece.states.shape[1], -1) for piece in written])[
        : len(ids)
    ]
    tokens = sum((piece.tokens[index] for piece in spoken), ())
    return Reply(ids, "".join(piece.words[index] for piece in written), emotions, tokens)
