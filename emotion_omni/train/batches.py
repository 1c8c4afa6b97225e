"""Rows of a data set → batches of tensors: encoder frames of query and answer, prompts, text and speech tokens.

Knows which features each row needs. What is random about a row depends on the row's own index, never on its batch.
Knows no loss.

Axes: B batch, T frames (50 Hz), E width of an encoder, N text tokens, S speech tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Query
from emotion_omni.omni.prompt import Prompt, PromptBuilder
from emotion_omni.train.dialogues import Dialogue
from emotion_omni.train.feature_extractors import Extractors
from emotion_omni.train.features import FeatureCache, FeatureRequest
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows to learn from together. Features of the spoken answer have length 0 where there is none.

    ``indices``: the rows in the data set. ``answers``: token ids with EOS. ``frames`` [B, T, E] and ``frame_lengths``
    [B]: emotion encoder frames of the answer; ``speech`` [B, S] and ``speech_lengths`` [B]: its speech tokens, with
    S = 0 where speech is not trained.
    """

    indices: tuple[int, ...]
    query: Query
    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[int, ...], ...]
    frames: Tensor
    frame_lengths: Tensor
    speech: Tensor
    speech_lengths: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> Batch:
        moved = {
            name: getattr(self, name).to(device)
            for name in ("query", "frames", "frame_lengths", "speech", "speech_lengths")
        }
        return Batch(self.indices, prompts=self.prompts, answers=self.answers, **moved)


@dataclass(frozen=True)
class Corrections:
    """In training, some rows come with what a person would type or correct: random for each row and epoch.

    ``rate`` of the rows get their transcript and ``rate`` their emotion; half of those with a transcript have no
    sound, like a typed turn.
    """

    seed: int
    epoch: int
    rate: float


class DialogueDataset:
    """Some rows, in order, with their features. Call :meth:`prepare`, then :meth:`measure`, before :meth:`batch`."""

    def __init__(
        self,
        rows: Sequence[Dialogue],
        config: OmniConfig,
        features: FeatureCache,
        extractors: Extractors,
        prompt_builder: PromptBuilder,
    ) -> None:
        self.rows, self.config, self.features, self.extractors = rows, config, features, extractors
        self.prompt_builder = prompt_builder
        self.prompts = [prompt_builder.prompt(row.earlier) for row in rows]
        self.answers = [prompt_builder.answer(row.reply) for row in rows]
        self.lengths: list[int] = []  # positions that the language model and the speech decoder read

    def __len__(self) -> int:
        return len(self.rows)

    def prepare(self, process: int = 0, processes: int = 1, progress: Callable[[], object] = lambda: None) -> int:
        """Compute this process's share of the missing features → how many were computed."""
        requests = [request for row in self.rows for request in self.requests(row).values()]
        return self.features.compute_missing(requests, process, processes, progress)

    def measure(self) -> None:
        """Fill :attr:`lengths`, once all features exist."""
        self.lengths = [self._length(index) for index in range(len(self))]

    def _length(self, index: int) -> int:
        lengths = {name: self.features.length(request) for name, request in self.requests(self.rows[index]).items()}
        prompt = self.prompts[index]
        heard = lengths["semantic"] // self.config.adapter.stack
        text = len(prompt.before) + heard + len(prompt.after) + len(self.answers[index])
        return text + lengths.get("speech", 0)

    def requests(self, row: Dialogue) -> dict[str, FeatureRequest]:
        """The features of a row: ``semantic`` and ``emotion`` of the query, ``frames`` and ``speech`` of the answer."""
        query, reply = f"Line {row.line}, column 'query'", f"Line {row.line}, column 'reply_audio'"
        requests = {
            "semantic": FeatureRequest(query, row.query, self.extractors.semantic),
            "emotion": FeatureRequest(query, row.query, self.extractors.emotion),
        }
        if row.reply_audio is not None:
            requests["frames"] = FeatureRequest(reply, row.reply_audio, self.extractors.emotion)
            if self.extractors.speech is not None:
                requests["speech"] = FeatureRequest(reply, row.reply_audio, self.extractors.speech)
        return requests

    def spoken_emotions(self) -> Iterator[tuple[Dialogue, Tensor]]:
        """Each row whose answer is spoken in a labelled emotion, with its mean emotion vector [E]."""
        for row in self.rows:
            if row.reply_emotion is not None and row.reply_audio is not None:
                yield row, self.features.get(self.requests(row)["frames"]).float().mean(0)

    def batch(self, indices: Sequence[int], corrections: Corrections | None = None) -> Batch:
        """These rows, padded to the longest of them. ``corrections``: in training only."""
        prompts, audible = [], []
        for index in indices:
            prompt, has_sound = self._prompt(index, corrections)
            prompts.append(prompt)
            audible.append(has_sound)
        found = [
            {name: self.features.get(request) for name, request in self.requests(self.rows[index]).items()}
            for index in indices
        ]
        semantic, semantic_lengths = _padded([row["semantic"] for row in found])
        emotion, emotion_lengths = _padded([row["emotion"] for row in found])
        frames, frame_lengths = _padded([row.get("frames", row["emotion"][:0]) for row in found])
        speech, speech_lengths = _padded([row.get("speech", torch.zeros(0, dtype=torch.long)) for row in found])
        self._check_codes(speech)
        heard = torch.tensor(audible)
        return Batch(
            tuple(indices),
            Query(semantic.float(), semantic_lengths * heard, emotion.float(), emotion_lengths * heard),
            tuple(prompts),
            tuple(self.answers[index] for index in indices),
            frames.float(),
            frame_lengths,
            speech,
            speech_lengths,
        )

    def _check_codes(self, speech: Tensor) -> None:
        if speech.numel() and int(speech.max()) >= self.config.speech.codebook_size:
            raise EmotionOmniError(
                f"The speech tokenizer yields token {int(speech.max())}, but speech.codebook_size is "
                f"{self.config.speech.codebook_size}. Choose the voice and the number of codes of one codec.",
                "config",
            )

    def _prompt(self, index: int, corrections: Corrections | None) -> tuple[Prompt, bool]:
        """→ the prompt of a row, and whether its sound is heard."""
        row = self.rows[index]
        if corrections is None or (row.transcript is None and row.emotion is None):
            return self.prompts[index], True
        # the last argument is part of the random seed: a new name would train another model
        generator = row_generator(corrections.seed, corrections.epoch, index, "told")
        for_transcript, for_emotion, for_silence = torch.rand(3, generator=generator).tolist()
        transcript = row.transcript if for_transcript < corrections.rate else None
        emotion = row.emotion if for_emotion < corrections.rate else None
        return self.prompt_builder.prompt(row.earlier, transcript, emotion), transcript is None or for_silence < 0.5


def _padded(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(list(values), batch_first=True), torch.tensor([len(value) for value in values])


def row_generator(seed: int, epoch: int, index: int, what: str = "speech") -> torch.Generator:
    """The random generator of a row in an epoch: the same in every batch and for any number of processes."""
    digest = hashlib.sha256(f"{seed} {epoch} {index} {what}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
