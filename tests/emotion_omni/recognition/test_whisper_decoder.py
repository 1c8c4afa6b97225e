"""Hidden states → words: segments, inventions behind the end, loops, other languages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emotion_omni.recognition.whisper_decoder import (
    FOREIGN_LONG,
    FOREIGN_SHORT,
    LOOP_TIMES,
    LOOP_TOKENS,
    NO_SPEECH_THRESHOLD,
    SURE,
    Segment,
    WhisperDecoder,
    has_repeats,
    is_foreign,
    loops,
)

EOT, ZERO = 1000, 2000  # <|endoftext|> and <|0.00|> of the decoder below
STATES = torch.zeros(1, 10, 4)


class Scripted:
    """A model that answers with given tokens, one list a call."""

    def __init__(self, *answers, english=0.99, no_speech=0.0, score=-0.3):
        self.answers, self.probability, self.no_speech, self.score = list(answers), english, no_speech, score
        self.options, self.asked = [], 0

    def detect_language(self, features):
        self.asked += 1
        return [[("<|de|>", 1 - self.probability), ("<|en|>", self.probability)]]

    def generate(self, features, prompts, **options):
        self.options.append(options)
        return [
            SimpleNamespace(sequences_ids=[self.answers.pop(0)], no_speech_prob=self.no_speech, scores=[self.score])
        ]


class Letters:
    def decode(self, ids):
        return " ".join(map(str, ids))


def decoder(*answers, **model) -> WhisperDecoder:
    return WhisperDecoder(Scripted(*answers, **model), Letters(), EOT, ZERO)


def at(seconds: float) -> int:
    return ZERO + round(seconds / 0.02)


def test_segments_lie_between_timestamps():
    found = decoder().segments([at(0), 1, 2, at(1.5), at(1.5), 3, at(2), EOT])
    assert found == [Segment(0.0, 1.5, (1, 2)), Segment(1.5, 2.0, (3,))]
    assert decoder().segments([at(0), 1, 2]) == [Segment(0.0, None, (1, 2))]
    assert decoder().segments([1, 2, at(1)]) == [Segment(0.0, 1.0, (1, 2))], "without a first timestamp"
    assert decoder().segments([at(0), at(1)]) == [] == decoder().segments([])


def test_words_behind_the_end_of_the_sound_are_invented():
    ids = [at(0), 1, 2, at(2), at(2), 1, 2, at(4), at(4), 1]
    assert decoder(ids).transcribe(STATES, 2.4) == "1 2"
    assert decoder(ids).transcribe(STATES, 4.0) == "1 2 1 2"
    assert decoder([at(0), 7, at(2)]).transcribe(STATES, 0.6) == "7", "the end of a short word is rounded up"


def test_an_unfinished_last_segment_counts_if_it_has_the_time():
    ids = [at(0), 1, at(2), at(2), 2, 3, 4]
    assert decoder(ids).transcribe(STATES, 3.0) == "1 2 3 4"
    assert decoder(ids).transcribe(STATES, 2.1) == "1"


def test_a_loop_is_decoded_again_with_a_penalty_and_the_shorter_wins():
    loop = [at(0), *[1, 2] * 20]
    again = decoder(loop, [at(0), 1, 2, at(1)])
    assert again.transcribe(STATES, 2.0) == "1 2"
    first, second = again.model.options
    assert "repetition_penalty" not in first and second["repetition_penalty"] > 1
    assert decoder(loop, loop + [5]).transcribe(STATES, 2.0) == " ".join(map(str, [1, 2] * 20))
    plain = decoder([at(0), 1, 2, at(1)])
    assert plain.transcribe(STATES, 2.0) == "1 2" and len(plain.model.options) == 1


def test_the_seconds_are_those_of_the_window():
    """Forty tokens are a loop in two seconds, and speech in twenty."""
    talk = [at(0), *range(1, 41), at(19)]
    assert decoder(talk).transcribe(STATES, 20.0) == " ".join(map(str, range(1, 41)))
    assert loops(range(1, 41), 2.0) and not loops(range(1, 41), 20.0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(LOOP_TIMES, 8), st.integers(0, 9))
def test_repeats_are_found_wherever_they_stand(piece, times, offset):
    around = list(range(100, 100 + offset))
    long_enough = len(piece) * times >= LOOP_TOKENS
    if long_enough:
        assert has_repeats([*around, *piece * times, *around])
    assert not has_repeats(range(100, 100 + 5 * offset))


@pytest.mark.parametrize("text", [[1, 2, 3, 1, 2, 3], [5, 5, 5, 5], list(range(60)), []])
def test_what_people_repeat_is_no_loop(text):
    assert not has_repeats(text)


def test_another_language_and_silence_give_no_words():
    ids = [at(0), 1, at(1)]
    assert decoder(ids, english=FOREIGN_LONG / 2, score=-1.0).transcribe(STATES, 3.0) == ""
    assert decoder(ids, english=0.5, score=-1.0).transcribe(STATES, 3.0) == "1"
    assert decoder(ids, no_speech=NO_SPEECH_THRESHOLD).transcribe(STATES, 3.0) == ""
    short = (FOREIGN_SHORT + FOREIGN_LONG) / 2
    assert is_foreign(short, 3.0) and not is_foreign(short, 1.0), "of one word Whisper cannot tell"


def test_of_words_that_are_sure_the_language_is_not_asked():
    sure = decoder([at(0), 1, at(1)], english=0.0, score=SURE + 0.1)
    assert sure.transcribe(STATES, 3.0) == "1" and sure.model.asked == 0


def test_english_is_known_as_english(embedded, spoken):
    recognizer = embedded.recognizer
    encoded = recognizer.encode(recognizer.prepare(spoken))
    assert "lost my keys" in recognizer.transcribe(encoded).lower()
    import ctranslate2

    features = ctranslate2.StorageView.from_array(encoded.windows[0][-1:].contiguous().numpy())
    assert recognizer.decoder.english(features) > 0.9
