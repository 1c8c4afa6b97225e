"""Rows of a data set → batches of tensors: frames of the query and of the answer, prompts, words, speech tokens.

Knows what each row needs of the frozen networks, and draws what is random about a row from the row's
own place, never from its batch. Knows no loss.

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
from emotion_omni.train.features import Features, Want
from emotion_omni.train.sources import Sources
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows to learn from together. What is of the spoken answer has length 0 where there is none.

    ``places`` are the rows' in the data set. ``answers`` are ids, end included. ``frames`` [B, T, E] and
    ``frame_lengths`` [B] are the emotion encoder's of the answer; ``speech`` [B, S] and
    ``speech_lengths`` [B] its tokens, with S = 0 where speech is not taught.
    """

    places: tuple[int, ...]
    query: Query
    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[int, ...], ...]
    frames: Tensor
    frame_lengths: Tensor
    speech: Tensor
    speech_lengths: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def to(self, device: torch.device) -> Batch:
        moved = {
            name: getattr(self, name).to(device)
            for name in ("query", "frames", "frame_lengths", "speech", "speech_lengths")
        }
        return Batch(self.places, prompts=self.prompts, answers=self.answers, **moved)


@dataclass(frozen=True)
class Told:
    """What a person tells beside the sound, as when correcting what was heard: drawn for each row and epoch.

    ``share`` of the rows get their transcript, the same share their emotion; half of those with a transcript
    have no sound, like a turn in writing.
    """

    seed: int
    epoch: int
    share: float


class Examples:
    """Some rows, in order, with the features of each. Call :meth:`prepare` once before :meth:`batch`."""

    def __init__(
        self,
        rows: Sequence[Dialogue],
        config: OmniConfig,
        features: Features,
        sources: Sources,
        prompter: PromptBuilder,
    ) -> None:
        self.rows, self.config, self.features, self.sources = rows, config, features, sources
        self.prompt_builder = prompter
        self.prompts = [prompter.prompt(row.earlier) for row in rows]
        self.answers = [prompter.answer(row.reply) for row in rows]
        self.sizes: list[int] = []  # of the rows that the language model and the decoder read

    def __len__(self) -> int:
        return len(self.rows)

    def prepare(self, process: int = 0, processes: int = 1, tick: Callable[[], None] = lambda: None) -> int:
        """This process's share of the features → how many had to be computed."""
        return self.features.make(
            [want for row in self.rows for want in self._wants(row).values()], process, processes, tick
        )

    def measure(self) -> None:
        """Fill :attr:`sizes`, once all features are there."""
        self.sizes = [self._size(place) for place in range(len(self))]

    def _size(self, place: int) -> int:
        lengths = {name: self.features.length(want) for name, want in self._wants(self.rows[place]).items()}
        prompt = self.prompts[place]
        heard = lengths["semantic"] // self.config.adapter.stack
        return len(prompt.before) + heard + len(prompt.after) + len(self.answers[place]) + lengths.get("speech", 0)

    def _wants(self, row: Dialogue) -> dict[str, Want]:
        query, reply = f"Line {row.line}, column 'query'", f"Line {row.line}, column 'reply_audio'"
        wants = {
            "semantic": Want(query, row.query, self.sources.semantic),
            "emotion": Want(query, row.query, self.sources.emotion),
        }
        if row.reply_audio is not None:
            wants["frames"] = Want(reply, row.reply_audio, self.sources.emotion)
            if self.sources.speech is not None:
                wants["speech"] = Want(reply, row.reply_audio, self.sources.speech)
        return wants

    def spoken_emotions(self) -> Iterator[tuple[Dialogue, Tensor]]:
        """Each row whose answer is spoken in a named emotion, with its mean emotion vector [E]."""
        for row in self.rows:
            if row.reply_emotion is not None and row.reply_audio is not None:
                yield row, self.features.get(self._wants(row)["frames"]).float().mean(0)

    def batch(self, places: Sequence[int], told: Told | None = None) -> Batch:
        """The rows at these places, padded to the longest of them. ``told``: in training."""
        prompts, audible = zip(*(self._asked(place, told) for place in places), strict=True)
        found = [
            {name: self.features.get(want) for name, want in self._wants(self.rows[place]).items()} for place in places
        ]
        semantic, semantic_lengths = _padded([one["semantic"] for one in found])
        felt, felt_lengths = _padded([one["emotion"] for one in found])
        frames, frame_lengths = _padded([one.get("frames", one["emotion"][:0]) for one in found])
        speech, speech_lengths = _padded([one.get("speech", torch.zeros(0, dtype=torch.long)) for one in found])
        if speech.numel() and int(speech.max()) >= self.config.speech.codebook_size:
            raise EmotionOmniError(
                f"The speech tokenizer gives token {int(speech.max())}, and speech.codebook_size is {self.config.speech.codebook_size}. "
                "Choose the voice and the number of codes of one codec.",
                "config",
            )
        heard = torch.tensor(audible)
        return Batch(
            tuple(places),
            Query(semantic.float(), semantic_lengths * heard, felt.float(), felt_lengths * heard),
            prompts,
            tuple(self.answers[place] for place in places),
            frames.float(),
            frame_lengths,
            speech,
            speech_lengths,
        )

    def _asked(self, place: int, told: Told | None) -> tuple[Prompt, bool]:
        """→ the prompt of a row, and whether its sound is heard."""
        row = self.rows[place]
        if told is None or (row.transcript is None and row.emotion is None):
            return self.prompts[place], True
        words, felt, silence = torch.rand(3, generator=draws(told.seed, told.epoch, place, "told")).tolist()
        transcript, emotion = row.transcript if words < told.share else None, row.emotion if felt < told.share else None
        return self.prompt_builder.prompt(row.earlier, transcript, emotion), transcript is None or silence < 0.5


def _padded(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(list(values), batch_first=True), torch.tensor([len(value) for value in values])


def draws(seed: int, epoch: int, place: int, what: str = "speech") -> torch.Generator:
    """What is random about a row in an epoch: the same in every batch and on every number of processes."""
    digest = hashlib.sha256(f"{seed} {epoch} {place} {what}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
