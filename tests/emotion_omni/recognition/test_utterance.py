"""The speech of a recording: what is kept, where it lies, and where its windows end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_omni import audio
from emotion_omni.recognition.utterance import (
    CONTEXT,
    LONG_PAUSE,
    LONGEST_PAUSE,
    SHORTEST_LAST,
    Utterance,
    join_speech,
    prepare_utterance,
)
from emotion_omni.recognition.voice_activity import HZ
from emotion_omni.types import Audio, EmotionOmniError


@st.composite
def recordings(draw):
    """Samples whose values are their own positions, and spans of speech in them."""
    gaps = draw(st.lists(st.integers(1, 5 * HZ), min_size=1, max_size=8))
    lengths = draw(st.lists(st.integers(1, 4 * HZ), min_size=len(gaps), max_size=len(gaps)))
    spans, at = [], 0
    for index, (gap, length) in enumerate(zip(gaps, lengths, strict=True)):
        at += gap - 1 if index == 0 else gap
        spans.append((at, at + length))
        at += length
    count = at + draw(st.integers(0, 2 * HZ))
    return np.arange(1, count + 1, dtype=np.float32), spans


@given(recordings())
def test_all_speech_is_kept_in_its_place(recording):
    samples, spans = recording
    utterance = join_speech(samples, spans)
    assert len(utterance.speech) == len(spans)
    for (here, end), (there, stop) in zip(utterance.speech, spans, strict=True):
        assert end - here == stop - there
        assert utterance.recording_seconds(here / HZ) == pytest.approx(there / HZ)
    edges = [edge for span in utterance.speech for edge in span]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= len(utterance.samples)


@given(recordings())
def test_no_pause_is_longer_than_allowed_and_a_short_one_is_untouched(recording):
    samples, spans = recording
    utterance = join_speech(samples, spans)
    found = [b - a for (_, a), (b, _) in zip(utterance.speech, utterance.speech[1:], strict=False)]
    given_pauses = [b - a for (_, a), (b, _) in zip(spans, spans[1:], strict=False)]
    assert found == [min(pause, int(LONGEST_PAUSE * HZ)) for pause in given_pauses]
    assert utterance.speech[0][0] <= CONTEXT * HZ
    assert len(utterance.samples) - utterance.speech[-1][1] <= CONTEXT * HZ


@given(recordings())
def test_each_sample_is_that_of_the_recording_at_its_time(recording):
    samples, spans = recording
    utterance = join_speech(samples, spans)
    here = np.unique(np.linspace(0, len(utterance.samples) - 1, 50).astype(int))
    there = [round(utterance.recording_seconds(at / HZ) * HZ) for at in here.tolist()]
    assert there == sorted(set(there)), "times rise"
    gain = utterance.samples[0] / samples[utterance.offsets[0][1]]
    np.testing.assert_allclose(utterance.samples[here], samples[there] * gain, rtol=1e-4)


@given(recordings(), st.floats(1.0, 29.0))
def test_windows_cover_the_utterance_without_overlap_and_are_never_too_long(recording, longest):
    utterance = join_speech(*recording)
    windows = utterance.windows(longest)
    assert windows[0][0] == 0 and windows[-1][1] == len(utterance.samples)
    assert all(end == start for (_, end), (start, _) in zip(windows, windows[1:], strict=False))
    assert all(0 < end - start <= longest * HZ for start, end in windows)


def noisy(*seconds: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Speech and pauses in turn, speech first: noise and silence."""
    edges = np.cumsum([0, *[round(one * HZ) for one in seconds]]).tolist()
    samples = np.random.default_rng(0).normal(0, 0.1, edges[-1]).astype(np.float32)
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        samples[end:start] *= 0.01
    return samples, spans


def test_a_window_ends_in_the_longest_pause_that_it_can():
    utterance = join_speech(*noisy(14, 0.4, 6, 0.2, 12))
    (_, end), _ = utterance.windows(29.0)
    assert 14 * HZ < end < 14.4 * HZ
    later = join_speech(*noisy(14, 0.4, 6, 0.4, 12))
    assert 20.4 * HZ < later.windows(29.0)[0][1] < 20.8 * HZ, "the later of two equal pauses"


def test_without_a_pause_a_window_ends_where_it_is_quiet():
    samples, spans = noisy(32)
    samples[22 * HZ : int(22.1 * HZ)] *= 0.001
    assert Utterance(samples, tuple(spans)).windows(29.0)[0][1] == pytest.approx(22.05 * HZ, abs=0.06 * HZ)


def test_the_last_window_is_long_enough_to_be_read():
    for seconds in (29.02, 29.5, 30.1, 58.05):
        utterance = join_speech(*noisy(seconds))
        assert min(end - start for start, end in utterance.windows(29.0)) >= SHORTEST_LAST * HZ * 0.9, seconds


@pytest.mark.parametrize(("pause", "windows"), [(1.0, 1), (LONG_PAUSE + LONGEST_PAUSE + 0.1, 2), (60.0, 2)])
def test_speech_after_a_long_pause_is_a_window_of_its_own(pause, windows):
    utterance = join_speech(*noisy(3, pause, 3))
    assert len(utterance.windows(29.0)) == windows
    short = join_speech(*noisy(0.3, pause, 3))
    assert len(short.windows(29.0)) == 1, "too short to be read alone"


def test_a_short_utterance_is_one_window_and_times_beyond_it_go_on():
    utterance = Utterance.of(np.zeros(HZ, np.float32), 2.0)
    assert utterance.windows(29.0) == [(0, HZ)] and utterance.seconds == 1.0
    assert [utterance.recording_seconds(at) for at in (-0.5, 0.0, 0.5, 3.0)] == [1.5, 2.0, 2.5, 5.0]


class Everywhere:
    """Voice activity that finds the spans it is given, and keeps what it was asked."""

    def __init__(self, spans):
        self.found, self.asked = spans, []

    def spans(self, samples):
        self.asked.append(samples)
        return self.found


def test_the_level_and_the_offset_of_a_recording_do_not_count():
    samples, spans = noisy(2, 1, 2)
    plain = prepare_utterance(Audio(samples, HZ), Everywhere(spans))
    moved = prepare_utterance(Audio(samples * 0.01 + 0.1, HZ), Everywhere(spans))
    np.testing.assert_allclose(plain.samples, moved.samples, atol=1e-3)
    speech = np.concatenate([plain.samples[start:end] for start, end in plain.speech])
    assert audio.dbfs(speech) == pytest.approx(audio.SPEECH_DBFS, abs=0.01)


def test_the_second_look_is_asked_only_where_the_first_finds_nothing():
    samples, spans = noisy(2)
    asked = []

    def second_look(samples):
        asked.append(samples)
        return spans

    prepare_utterance(Audio(samples, HZ), Everywhere(spans), second_look)
    assert not asked
    assert prepare_utterance(Audio(samples, HZ), Everywhere([]), second_look).speech == ((0, 2 * HZ),)
    for nothing in (None, lambda samples: []):
        with pytest.raises(EmotionOmniError) as caught:
            prepare_utterance(Audio(samples, HZ), Everywhere([]), nothing)
        assert caught.value.code == "no-speech"
