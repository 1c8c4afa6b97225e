"""Stage 1: understand a spoken query, answer it in words and plan the emotion of the answer.

Paper, training section: adapters and emotion head learn at 2e-4, the language model's LoRA at 5e-5. The loss is the
cross entropy of the answer's tokens and EOS, plus squared error and cosine distance of the planned emotions to the
emotion frames of the spoken answer, aligned to the tokens by dynamic time warping. An answer without sound trains the
text only. The loss of an utterance is the mean over its own tokens. The weights of the two losses are ours (1 and 1).

Axes: B batch, N text tokens, E width of an emotion vector, V vocabulary, C emotions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emotion_omni import emotion
from emotion_omni.omni.emotion_targets import token_targets, trajectory_losses, utterance_targets
from emotion_omni.omni.model import UNDERSTAND, Answer, Omni
from emotion_omni.omni.padding import masked_mean
from emotion_omni.train.batches import Batch, DialogueDataset
from emotion_omni.train.settings import Settings
from emotion_omni.train.task import TrainingTask

IGNORED = -100  # target of padding: no loss


class UnderstandTask(TrainingTask):
    """The losses of stage 1: ``loss``, ``text`` and ``emotion``; the last is NaN where the answer has no sound."""

    parts = UNDERSTAND

    def __init__(self, omni: Omni, emotion_weight: float = 1.0) -> None:
        super().__init__(omni)
        self.emotion_weight = emotion_weight

    def learning_rates(self, settings: Settings) -> dict[str, float]:
        return {
            "adapters": settings.learning_rate,
            "emotion_head": settings.learning_rate,
            "lora": settings.lora_learning_rate,
        }

    def forward(self, batch: Batch, epoch: int, progress: float) -> dict[str, Tensor]:
        answer, logits = self.omni(batch.query, batch.prompts, batch.answers)
        text = text_losses(logits, batch.answers)
        planned = self.omni.plan_emotions(answer)
        emotion_loss, spoken = emotion_losses(self.omni, planned, answer, batch)
        # the head takes part even if no answer of the batch has sound: DDP waits for all of its gradients
        loss = text + self.emotion_weight * emotion_loss + 0 * planned.float().sum((1, 2))
        return {
            "loss": loss,
            "text": text.detach().clone(),
            "emotion": emotion_loss.detach().masked_fill(~spoken, torch.nan),
        }


def text_losses(logits: Tensor, answers: tuple[tuple[int, ...], ...]) -> Tensor:
    """logits [B, N + 1, V] of :meth:`Omni.forward` → cross entropy [B], each the mean over its own tokens and EOS."""
    ids = [torch.tensor(answer, device=logits.device) for answer in answers]
    targets = pad_sequence(ids, batch_first=True, padding_value=IGNORED)
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(targets)
    lengths = torch.tensor([len(answer) for answer in answers], device=logits.device)
    return masked_mean(losses[..., None], lengths)[:, 0]


def emotion_losses(omni: Omni, planned: Tensor, answer: Answer, batch: Batch) -> tuple[Tensor, Tensor]:
    """planned [B, N, E] or [B, 1, E] → emotion losses [B], 0 without a spoken answer; and which are spoken [B]."""
    spoken = (batch.frame_lengths > 0) & (answer.lengths > 0)
    losses = torch.zeros(len(batch), device=planned.device)
    if not planned.isfinite().all():  # nothing can be aligned; the loop sees the NaN and ends the run
        return losses + torch.nan, spoken
    if spoken.any():
        targets, lengths = emotion_targets(omni, planned, answer, batch, spoken)
        losses[spoken] = trajectory_losses(planned[spoken], targets, lengths, omni.config.head)
    return losses, spoken


def emotion_targets(omni: Omni, planned: Tensor, answer: Answer, batch: Batch, which: Tensor) -> tuple[Tensor, Tensor]:
    """Targets of the utterances ``which`` [B]: [b, N, E] or [b, 1, E], and how many of the N are valid [b]."""
    frames, lengths = batch.frames[which], batch.frame_lengths[which]
    if omni.config.emotion_mode == "utterance":
        return utterance_targets(frames, lengths), torch.ones_like(lengths)
    tokens = answer.lengths[which]
    return token_targets(frames, lengths, planned[which], tokens), tokens


def prototypes(data: DialogueDataset, width: int) -> Tensor:
    """The mean emotion vector of the spoken answers of each label [C, E]; zero for a label without answers."""
    sums, counts = torch.zeros(len(emotion.NAMES), width), torch.zeros(len(emotion.NAMES), 1)
    for row, vector in data.spoken_emotions():
        sums[emotion.NAMES.index(row.reply_emotion)] += vector
        counts[emotion.NAMES.index(row.reply_emotion)] += 1
    return sums / counts.clamp_min(1)
