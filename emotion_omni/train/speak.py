"""Stage 2: to speak the answer in the planned emotion.

Paper, training section: gate, AdaLN and decoder learn at 2e-4 with weight decay 0.01, all else is
frozen; the loss is the cross entropy of the speech tokens. The emotion that conditions an utterance
is the true one at first and the planned one in the end: the share p of planned ones grows linearly
from 0 to 1. Each utterance is drawn for itself, in each epoch anew, and so is whether it sees the text
in chunks, as when streaming.

Axes: B batch, N text tokens, E width of an emotion vector.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from emotion_omni.omni.model import SPEAK, Answer, Omni
from emotion_omni.omni.speech_decoder import TextInputs, sample_chunked, speech_losses
from emotion_omni.train.examples import Batch, draws
from emotion_omni.train.loop import Lesson
from emotion_omni.train.settings import Settings
from emotion_omni.train.understand import emotion_targets


class Speak(Lesson):
    """The loss of stage 2, and the same apart for utterances conditioned on the ``true`` and the ``planned`` emotion."""

    parts = SPEAK

    def __init__(self, omni: Omni, seed: int = 0) -> None:
        super().__init__(omni)
        self.seed = seed

    def train(self, mode: bool = True) -> Self:
        """Only the decoder: what is frozen stays as it is when talking, without dropout."""
        super().train(False)
        self.omni.speech_decoder.train(mode)
        return self

    def rates(self, settings: Settings) -> dict[str, float]:
        return {"speech_decoder": settings.speech_rate}

    def forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        speech = self.omni.config.speech
        with torch.no_grad():
            answer, _ = self.omni(batch.query, batch.prompts, batch.answers)
            planned = self.omni.plan_emotions(answer)
            from_plan, chunked = choices(batch.places, self.seed, epoch, progress, speech.chunked_probability)
            from_plan, chunked = from_plan.to(planned.device), chunked.to(planned.device)
            emotion = torch.where(from_plan[:, None, None], planned, true_emotions(self.omni, planned, answer, batch))
        states = answer.hidden_states.to(emotion.dtype)
        text = TextInputs(states, answer.token_embeddings.to(emotion.dtype), emotion, answer.lengths)
        logits = self.omni.speech_decoder(text, batch.speech, batch.speech_lengths, chunked)
        losses = speech_losses(logits, batch.speech, batch.speech_lengths, speech)
        told = losses.detach()
        return {
            "loss": losses,
            "true": told.masked_fill(from_plan, torch.nan),
            "planned": told.masked_fill(~from_plan, torch.nan),
        }


def choices(
    places: tuple[int, ...], seed: int, epoch: int, share: float, chunked_share: float
) -> tuple[Tensor, Tensor]:
    """Which rows [B] take the planned emotion, ``share`` of them on average, and which see their text in chunks [B]."""
    generators = [draws(seed, epoch, place) for place in places]
    from_plan = torch.tensor([torch.rand(1, generator=generator).item() < share for generator in generators])
    return from_plan, torch.cat([sample_chunked(1, chunked_share, generator) for generator in generators])


def true_emotions(omni: Omni, planned: Tensor, answer: Answer, batch: Batch) -> Tensor:
    """The emotion of the spoken answer, laid on its tokens as in stage 1: like ``planned``, [B, N, E] or [B, 1, E]."""
    targets, _ = emotion_targets(omni, planned, answer, batch, torch.ones_like(batch.frame_lengths, dtype=torch.bool))
    return targets.to(planned.dtype)
