"""Stage 2: speak the answer in the planned emotion.

Paper, training section: gate, AdaLN and decoder learn at 2e-4 with weight decay 0.01, all else is frozen; the loss is
the cross entropy of the speech tokens. An utterance is conditioned on its true emotion at first and on the planned one
in the end: the probability of the planned one rises linearly from 0 to 1. It is sampled for each utterance and epoch,
and so is whether the utterance sees its text in chunks, as in streaming.

Axes: B batch, N text tokens, E width of an emotion vector.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from emotion_omni.omni.model import SPEAK, Answer, Omni
from emotion_omni.omni.speech_decoder import TextInputs, sample_chunked, speech_losses
from emotion_omni.train.batches import Batch, row_generator
from emotion_omni.train.settings import Settings
from emotion_omni.train.task import TrainingTask
from emotion_omni.train.understand import emotion_targets


class SpeakTask(TrainingTask):
    """The loss of stage 2; the same apart for utterances conditioned on the ``true`` and the ``planned`` emotion."""

    parts = SPEAK

    def __init__(self, omni: Omni, seed: int = 0) -> None:
        super().__init__(omni)
        self.seed = seed

    def train(self, mode: bool = True) -> Self:
        """Only the decoder: the frozen parts compute as at inference, without dropout."""
        super().train(False)
        self.omni.speech_decoder.train(mode)
        return self

    def learning_rates(self, settings: Settings) -> dict[str, float]:
        return {"speech_decoder": settings.learning_rate}

    def forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        speech = self.omni.config.speech
        with torch.no_grad():
            answer, _ = self.omni(batch.query, batch.prompts, batch.answers)
            planned = self.omni.plan_emotions(answer)
            from_plan, chunked = sample_conditions(
                batch.indices, self.seed, epoch, progress, speech.chunked_probability
            )
            from_plan, chunked = from_plan.to(planned.device), chunked.to(planned.device)
            emotion = torch.where(from_plan[:, None, None], planned, true_emotions(self.omni, planned, answer, batch))
        states = answer.hidden_states.to(emotion.dtype)
        text = TextInputs(states, answer.token_embeddings.to(emotion.dtype), emotion, answer.lengths)
        logits = self.omni.speech_decoder(text, batch.speech, batch.speech_lengths, chunked)
        losses = speech_losses(logits, batch.speech, batch.speech_lengths, speech)
        detached = losses.detach()
        return {
            "loss": losses,
            "true": detached.masked_fill(from_plan, torch.nan),
            "planned": detached.masked_fill(~from_plan, torch.nan),
        }


def sample_conditions(
    indices: tuple[int, ...], seed: int, epoch: int, planned_share: float, chunked_share: float
) -> tuple[Tensor, Tensor]:
    """Which rows [B] take the planned emotion, and which see their text in chunks [B]."""
    generators = [row_generator(seed, epoch, index) for index in indices]
    from_plan = torch.tensor([torch.rand(1, generator=generator).item() < planned_share for generator in generators])
    return from_plan, torch.cat([sample_chunked(1, chunked_share, generator) for generator in generators])


def true_emotions(omni: Omni, planned: Tensor, answer: Answer, batch: Batch) -> Tensor:
    """The emotion of the spoken answer, aligned to its tokens as in stage 1: [B, N, E] or [B, 1, E]."""
    targets, _ = emotion_targets(omni, planned, answer, batch, torch.ones_like(batch.frame_lengths, dtype=torch.bool))
    return targets.to(planned.dtype)
