"""From a query to the text, the emotions and the speech tokens of its answer, each as soon as it is known.

One text token at a time is sampled from the language model; its hidden state, its embedding and its
planned emotion go to the speech decoder, which generates 15 tokens for every 5 of text while the text
continues. Answers are generated in batches and share nothing: each depends on its own query, seed and
settings, neither on the rest of the batch nor on the chunks in which it is fetched. Knows no sound:
encoders come before it, vocoders after.

The hidden states here equal those of :meth:`Omni.forward` on the same text, with which the other parts were
trained.

Axes: B batch, N tokens of the answer, E width of an emotion vector.
Source: paper, sections on the model and on streaming.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from emotion_omni.omni.config import SpeechSampling, TextSampling
from emotion_omni.omni.emotion_planner import EmotionPlanner, TextChunk
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.model_runner import ModelRunner
from emotion_omni.omni.prompt import Prompt
from emotion_omni.omni.speech_decoder import TextInputs
from emotion_omni.omni.text_stream import TextStream


@dataclass(frozen=True)
class SpeechChunk:
    """The next speech tokens of each answer, none for one that has ended."""

    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Reply:
    """A whole answer: text tokens without EOS, their text, the emotion of each token [N, E], speech tokens."""

    ids: tuple[int, ...]
    text: str
    emotions: Tensor
    speech: tuple[int, ...]


class ReplyGenerator:
    """A model with the settings with which it answers. Keeps nothing of an answer.

    ``chunked=False`` speaks only when the whole text is known.
    """

    def __init__(
        self,
        model: Omni,
        text_sampling: TextSampling | None = None,
        speech_sampling: SpeechSampling | None = None,
        *,
        runner: ModelRunner | None = None,
        chunked: bool = True,
    ) -> None:
        self.model, self.chunked = model, chunked
        self.text_sampling = text_sampling or TextSampling()
        self.speech_sampling = speech_sampling or SpeechSampling()
        self.runner = runner or ModelRunner(model)

    def prefill(
        self,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        given: Sequence[Sequence[int]] | None = None,
    ) -> TextStream:
        """The language model reads queries and prompts; nothing is generated yet. Continue with :meth:`stream`."""
        return TextStream(self.runner, query, prompts, seeds, self.text_sampling, given)

    def stream(
        self, text: TextStream, seeds: Sequence[int] | None = None, emotion: Tensor | None = None
    ) -> Generator[TextChunk | SpeechChunk, None, None]:
        """The answers as they come. Closing the iterator early releases their buffers.

        ``seeds``: of the speech; None asks for text only. ``emotion`` [B, E]: instead of the planned one.
        """
        speech = None if seeds is None else self.runner.start_speech(seeds, self.speech_sampling, self.chunked)
        planner = EmotionPlanner(self.model, len(text.active), emotion)
        unread: list[TextInputs] = []
        try:
            while not text.done:
                chunk = planner.push(text.step(), text.done)
                if chunk is None:
                    continue
                if any(chunk.ids) or any(chunk.text):
                    yield chunk
                unread.append(chunk.inputs)
                count = sum(inputs.hidden_states.shape[1] for inputs in unread)
                if speech is not None and (text.done or count >= speech.config.text_chunk):
                    speech.add_text(_concatenate(unread))
                    speech.end_text(None if text.done else ~text.alive)
                    unread = []
                    for tokens in speech.chunks():
                        yield _without_padding(tokens, speech.config.codebook_size)
        finally:
            text.close()
            if speech is not None:
                self.runner.release_speech(speech)

    def generate(
        self,
        query: Query,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        *,
        speak: bool = True,
        given: Sequence[Sequence[int]] | None = None,
    ) -> list[Reply]:
        """Whole answers of a batch, for evaluation."""
        text_chunks: list[TextChunk] = []
        speech_chunks: list[SpeechChunk] = []
        with closing(self.stream(self.prefill(query, prompts, seeds, given), seeds if speak else None)) as chunks:
            for chunk in chunks:
                if isinstance(chunk, TextChunk):
                    text_chunks.append(chunk)
                else:
                    speech_chunks.append(chunk)
        return [_reply(index, text_chunks, speech_chunks) for index in range(len(prompts))]


def _concatenate(parts: Sequence[TextInputs]) -> TextInputs:
    """Each sample's tokens come before its padding, because an answer that has ended gets no more tokens."""
    return TextInputs(
        torch.cat([part.hidden_states for part in parts], 1),
        torch.cat([part.token_embeddings for part in parts], 1),
        torch.cat([part.emotions for part in parts], 1),
        torch.stack([part.lengths for part in parts]).sum(0),
    )


def _without_padding(tokens: Tensor, codebook_size: int) -> SpeechChunk:
    return SpeechChunk(tuple(tuple(token for token in row if token < codebook_size) for row in tokens.tolist()))


def _reply(index: int, text_chunks: Sequence[TextChunk], speech_chunks: Sequence[SpeechChunk]) -> Reply:
    ids = tuple(number for chunk in text_chunks for number in chunk.ids[index])
    text = "".join(chunk.text[index] for chunk in text_chunks)
    emotions = torch.cat([chunk.inputs.emotions[index] for chunk in text_chunks])[: len(ids)]
    return Reply(ids, text, emotions, tuple(token for chunk in speech_chunks for token in chunk.tokens[index]))
