"""Hidden states of Whisper's encoder → English words. CTranslate2, greedy, with timestamps.

Timestamps keep the decoder from saying a short sentence again after its end, and show which words lie behind the end of
the sound. What still loops is decoded a second time. Another language gives no words instead of invented English.

Axes: T frames (50 Hz), D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import tokenizers
import torch

PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>")
LANGUAGE = "<|en|>"
TIMESTAMP_SECONDS = 0.02
TOKENS_PER_SECOND = 6  # faster than people speak English; cuts off a decoder that loops
PLENTY, PLENTY_PER_SECOND = 4, 4  # tokens; more are a loop
LOOP_TOKENS, LOOP_TIMES = 12, 3  # a loop: one piece of text at least this often in a row, this long together
REPETITION_PENALTY = 1.4  # of the second pass
NO_SPEECH_THRESHOLD = 0.8  # probability of no speech from which words count as hallucinated
SURE = -0.6  # mean log probability of the tokens from which it is English, and the language need not be asked for
LONG_SECONDS = 1.6  # of single words Whisper guesses the language badly, so more is asked of them
FOREIGN_SHORT, FOREIGN_LONG = 0.01, 0.05  # probability of English below which an utterance is in another language


@dataclass(frozen=True)
class Segment:
    """Text tokens between two timestamps. ``end``: ``None`` where decoding stopped inside."""

    start: float
    end: float | None
    tokens: tuple[int, ...]

    def is_inside(self, seconds: float) -> bool:
        """Whether it begins the sound or at least half of it lies within: what Whisper adds behind the end is invented.

        The end of a short sound is often rounded up to two seconds.
        """
        if self.start == 0:
            return True
        end = self.end if self.end is not None else self.start + len(self.tokens) / TOKENS_PER_SECOND
        return min(end, seconds) - self.start >= max(end - self.start, TIMESTAMP_SECONDS) / 2


@dataclass(frozen=True, eq=False)
class WhisperDecoder:
    """``first_special``: the first token id that is not text. ``first_timestamp``: the id of second 0."""

    model: ctranslate2.models.Whisper
    tokenizer: tokenizers.Tokenizer
    first_special: int
    first_timestamp: int

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> WhisperDecoder:
        model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads, inter_threads=1)
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        end, last = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|notimestamps|>")
        assert end is not None and last is not None
        return cls(model, tokenizer, end, last + 1)

    def transcribe(self, hidden_states: torch.Tensor, seconds: float) -> str:
        """The last hidden state of a clip and its padding [1, T, D] → its words; ``seconds`` of it are the clip."""
        features = ctranslate2.StorageView.from_array(hidden_states.contiguous().numpy())
        result = self._generate(features, seconds)
        if result.no_speech_prob >= NO_SPEECH_THRESHOLD:
            return ""
        if result.scores[0] < SURE and is_foreign(self.english(features), seconds):
            return ""
        words = self._words(result.sequences_ids[0], seconds)
        if loops(words, seconds):
            result = self._generate(features, seconds, repetition_penalty=REPETITION_PENALTY)
            words = min(words, self._words(result.sequences_ids[0], seconds), key=len)
        return self.tokenizer.decode(list(words)).strip()

    def english(self, features: ctranslate2.StorageView) -> float:
        """Whisper's own probability that the language is English: one step of the decoder."""
        (languages,) = self.model.detect_language(features)
        return dict(languages)[LANGUAGE]

    def _words(self, ids: Sequence[int], seconds: float) -> tuple[int, ...]:
        found = [segment for segment in self.segments(ids) if segment.is_inside(seconds)]
        return tuple(token for segment in found for token in segment.tokens)

    def segments(self, ids: Sequence[int]) -> list[Segment]:
        """Decoded ids, timestamps among them → segments with text."""
        found: list[Segment] = []
        start, text = 0.0, list[int]()
        for token in ids:
            if token < self.first_special:
                text.append(token)
            elif token >= self.first_timestamp:
                at = (token - self.first_timestamp) * TIMESTAMP_SECONDS
                if text:
                    found.append(Segment(start, at, tuple(text)))
                start, text = at, []
        return [*found, Segment(start, None, tuple(text))] if text else found

    def _generate(self, features: ctranslate2.StorageView, seconds: float, **options: Any) -> Any:
        """Greedy. CTranslate2 reserves half of ``max_length`` for a prompt."""
        (result,) = self.model.generate(
            features,
            [list(PROMPT)],
            beam_size=1,
            max_length=2 * (8 + int(TOKENS_PER_SECOND * seconds)),
            return_no_speech_prob=True,
            return_scores=True,
            **options,
        )
        return result


def is_foreign(english: float, seconds: float) -> bool:
    """Whether an utterance with this probability of English is in another language."""
    return english < (FOREIGN_LONG if seconds > LONG_SECONDS else FOREIGN_SHORT)


def loops(tokens: Sequence[int], seconds: float) -> bool:
    """Whether a decoder repeats itself: more tokens than anyone says in that time, or one piece again and again."""
    return len(tokens) > PLENTY + PLENTY_PER_SECOND * seconds or has_repeats(tokens)


def has_repeats(tokens: Sequence[int]) -> bool:
    """Whether some piece stands :data:`LOOP_TIMES` times in a row or more, :data:`LOOP_TOKENS` long together."""
    for size in range(1, len(tokens) // LOOP_TIMES + 1):
        run = 0  # tokens that equal the one a piece before
        for before, token in zip(tokens, tokens[size:], strict=False):
            run = run + 1 if token == before else 0
            if run >= (LOOP_TIMES - 1) * size and run + size >= LOOP_TOKENS:
                return True
    return False
