"""A recording → the speech in it: long pauses shortened, one level, and where each part lies in the recording.

Loudness, the silence around the speech and a pause in the middle must not look like an emotion, and Whisper invents
words in long pauses. Windows for an encoder end in pauses, so that no word is cut.

Axes: N samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_omni import audio
from emotion_omni.recognition.voice_activity import HZ, VoiceActivity
from emotion_omni.types import Audio, EmotionOmniError

Span = tuple[int, int]  # first sample, last sample + 1
FindSpeech = Callable[[np.ndarray], list[Span]]  # samples [N] → spans of speech

SILENT_DBFS = -85.0  # nearly the steps of 16 bits; above it speech can be heard, however quiet
VAD_PEAK = 0.5  # peak level that voice activity detection gets, however quiet the recording
LONGEST_PAUSE = 0.5  # seconds; of a longer pause this much remains
LONG_PAUSE = 1.5  # seconds removed from a pause, from which the speech after it is a window of its own
CONTEXT = 0.25  # seconds kept on both sides of the speech: an encoder reads onsets better with it
SHORTEST_WINDOW = 0.4  # of the longest one; a window ends in the longest pause after this share of it
SHORTEST_LAST = 1.0  # seconds left for the last window; of a shorter one Whisper makes words up


@dataclass(frozen=True, eq=False)
class Utterance:
    """Speech ready for an encoder: ``samples`` float32 [N] at 16 kHz.

    ``speech``: the spans of ``samples`` in which somebody speaks. ``offsets``: (sample here, sample in the recording)
    of each part that was kept, rising.
    """

    samples: np.ndarray
    speech: tuple[Span, ...]
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)

    @classmethod
    def of(cls, samples: np.ndarray, start_seconds: float = 0.0) -> Utterance:
        """All of [N] as speech."""
        return cls(samples, ((0, len(samples)),), ((0, round(start_seconds * HZ)),))

    @property
    def seconds(self) -> float:
        return len(self.samples) / HZ

    def pauses(self) -> list[float]:
        """The middles of the pauses between spans of speech, in seconds of the recording."""
        gaps = zip(self.speech, self.speech[1:], strict=False)
        return [self.recording_seconds((before[1] + after[0]) / 2 / HZ) for before, after in gaps]

    def recording_seconds(self, seconds: float) -> float:
        """A time of the utterance → the time of the recording."""
        at = max(0.0, seconds) * HZ + 1e-3  # a sample's own time, rounded, lies in that sample's part
        here, there = next(offset for offset in reversed(self.offsets) if offset[0] <= at)
        return seconds + (there - here) / HZ

    def windows(self, longest_seconds: float) -> list[Span]:
        """Spans of at most ``longest_seconds`` that cover the utterance.

        They end where a long pause was, else in the longest pause that there is: Whisper may skip what comes after one.
        """
        longest, found = int(longest_seconds * HZ), list[Span]()
        for start, stop in self._parts():
            while (left := stop - start) > longest:
                last = start + min(longest, left - min(int(SHORTEST_LAST * HZ), longest // 2))
                end = self._pause_between(start + int(SHORTEST_WINDOW * longest), last)
                found.append((start, end))
                start = end
            found.append((start, stop))
        return found

    def _parts(self) -> list[Span]:
        """What lies between long pauses of the recording, each at least a second."""
        shortest, cuts = int(SHORTEST_LAST * HZ), [0]
        for (here_before, there_before), (here, there) in zip(self.offsets, self.offsets[1:], strict=False):
            removed = (there - there_before) - (here - here_before)
            if removed >= LONG_PAUSE * HZ and min(here - cuts[-1], len(self.samples) - here) >= shortest:
                cuts.append(here)
        return list(zip(cuts, [*cuts[1:], len(self.samples)], strict=True))

    def _pause_between(self, first: int, last: int) -> int:
        """The middle of the longest pause, the later of two equals, or else of the quietest tenth of a second."""
        pauses = [
            (max(first, end), min(last, start))
            for (_, end), (start, _) in zip(self.speech, self.speech[1:], strict=False)
            if end < last and start > first
        ]
        if pauses:
            start, end = max(pauses, key=lambda pause: (pause[1] - pause[0], pause))
            return (start + end) // 2
        step = min(HZ // 10, last - first)
        starts = range(first, last - step + 1, step)
        return min(starts, key=lambda at: audio.dbfs(self.samples[at : at + step])) + step // 2


def prepare_utterance(query: Audio, voice_activity: VoiceActivity, second_look: FindSpeech | None = None) -> Utterance:
    """Resample, find the speech, cut the silence around it and the long pauses in it, set the level of the speech.

    ``second_look``: asked where voice activity detection finds nothing.

    Raises :class:`EmotionOmniError` (codes ``silent``, ``no-speech``).
    """
    samples = audio.resample(query, HZ).samples
    samples = samples - samples.mean()
    level = audio.dbfs(samples)
    if level < SILENT_DBFS:
        raise EmotionOmniError(
            f"The recording is silent ({level:.0f} dBFS). Check the microphone, then record again.", "silent"
        )
    spans = voice_activity.spans(samples * np.float32(VAD_PEAK / np.abs(samples).max()))
    if not spans and second_look is not None:
        spans = second_look(samples)
    if not spans:
        raise no_speech()
    return join_speech(samples, spans)


def no_speech() -> EmotionOmniError:
    return EmotionOmniError(
        "No speech was found in the recording. Speak a little closer to the microphone and try again.", "no-speech"
    )


def join_speech(samples: np.ndarray, spans: Sequence[Span]) -> Utterance:
    """The recording [N] from a little before the first span to a little after the last, long pauses shortened."""
    half, context = int(LONGEST_PAUSE * HZ / 2), int(CONTEXT * HZ)
    kept = [[max(0, spans[0][0] - context), spans[0][1]]]
    for start, end in spans[1:]:
        if start - kept[-1][1] > 2 * half:
            kept[-1][1] += half
            kept.append([start - half, end])
        else:
            kept[-1][1] = end
    kept[-1][1] = min(len(samples), kept[-1][1] + context)
    lengths = [end - start for start, end in kept]
    starts_here = np.cumsum([0, *lengths[:-1]]).tolist()
    offsets = tuple((here, there) for here, (there, _) in zip(starts_here, kept, strict=True))

    def here(at: int) -> int:
        return next(at - there + place for place, there in reversed(offsets) if there <= at)

    joined = np.concatenate([samples[start:end] for start, end in kept])
    speech = np.concatenate([samples[start:end] for start, end in spans])
    return Utterance(
        audio.set_level(joined, of=speech), tuple((here(start), here(end - 1) + 1) for start, end in spans), offsets
    )
