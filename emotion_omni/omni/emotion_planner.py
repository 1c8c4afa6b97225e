"""The planned emotion of each text token, as the tokens come.

Axes: B batch, N tokens, E width of an emotion vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from emotion_omni.omni.model import Answer, Omni
from emotion_omni.omni.speech_decoder import TextInputs
from emotion_omni.omni.text_stream import TextToken


@dataclass(frozen=True, eq=False)
class TextChunk:
    """The next text tokens of each answer, none for one that has ended, with their planned emotions.

    ``text`` is what is certain of it: a partial character waits for the rest of its bytes. ``inputs``: what
    the speech decoder reads of the tokens.
    """

    ids: tuple[tuple[int, ...], ...]
    text: tuple[str, ...]
    inputs: TextInputs


class EmotionPlanner:
    """Plans for one batch of answers. ``given`` [B, E]: an emotion chosen by a person, used instead of a plan."""

    def __init__(self, model: Omni, batch: int, given: Tensor | None = None) -> None:
        self.model = model
        by_token = model.config.emotion_mode == "token"
        self.kv_cache = model.emotion_head.new_cache(batch) if by_token and given is None else None
        self.first_tokens = 1 if by_token else model.config.head.first_tokens  # that the first plan waits for
        self.utterance_emotion = None if given is None else given[:, None].to(model.dtype)  # [B, 1, E]
        self.waiting: list[TextToken] = []

    @torch.inference_mode()
    def push(self, token: TextToken, last: bool) -> TextChunk | None:
        """→ the tokens whose emotion is known now: in the ``utterance`` mode the first ones come together."""
        self.waiting.append(token)
        if self.utterance_emotion is None and len(self.waiting) < self.first_tokens and not last:
            return None
        tokens, self.waiting = self.waiting, []
        hidden_states = torch.stack([each.hidden_state for each in tokens], 1)
        embeddings = torch.stack([each.token_embedding for each in tokens], 1)
        lengths = torch.stack([each.is_spoken for each in tokens], 1).sum(1)
        emotion = self._plan(Answer(hidden_states, embeddings, lengths))
        inputs = TextInputs(hidden_states.to(emotion.dtype), embeddings.to(emotion.dtype), emotion, lengths)
        batch = range(len(lengths))
        ids = tuple(tuple(number for each in tokens for number in each.ids[index]) for index in batch)
        return TextChunk(ids, tuple("".join(each.text[index] for each in tokens) for index in batch), inputs)

    def _plan(self, answer: Answer) -> Tensor:
        if self.kv_cache is not None:
            return self.model.plan_emotions(answer, self.kv_cache)
        if self.utterance_emotion is None:
            self.utterance_emotion = self.model.plan_emotions(answer)
        return self.utterance_emotion
