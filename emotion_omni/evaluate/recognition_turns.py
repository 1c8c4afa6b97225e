"""Which turns a recognizer has heard of a person before it judges a clip: none, some, those of somebody else.

Knows clips by index, and no recognizer: :class:`Voices` gets one as a function. Nothing here looks at the label of the
clip that is judged; labels of earlier turns only choose those of one mood.

Axes: N clips, D draws, C emotions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_omni import emotion
from emotion_omni.types import Emotion, SpeakerEstimate

KS = (0, 1, 3, 5, 10, 20)  # earlier turns of the same person; one with fewer clips gives all the others
MOST = 60  # turns in the condition "all"
SOME = 5  # turns in one mood, and of another person
Judge = Callable[[int, SpeakerEstimate | None], tuple[Emotion, SpeakerEstimate | None]]


@dataclass(frozen=True)
class Condition:
    """``name`` as in the report; ``text``: in words."""

    name: str
    text: str


ALL = Condition("all", f"all other clips of the person (at most {MOST})")
EARLIER = Condition("earlier", "all earlier turns of the person, in random order of mood")
ONE_MOOD = Condition("one_mood_5", f"{SOME} earlier turns of the person in one mood")
STRANGER = Condition("another_person_5", f"{SOME} turns of another person of the corpus")
CONDITIONS = (
    *(Condition(f"k{count}", f"{count} earlier turns of the person") for count in KS),
    ALL,
    EARLIER,
    ONE_MOOD,
    STRANGER,
)


@dataclass(frozen=True, eq=False)
class Voices:
    """The clips that can be judged, by person: ``people`` and ``corpora`` name those of each clip [N], ``moods`` the
    labels [N]. ``judge``: clip, estimate of the speaker → emotion, estimate with that clip."""

    people: Sequence[str]
    corpora: Sequence[str]
    moods: Sequence[str]
    judge: Judge

    def of_person(self) -> dict[str, list[int]]:
        found = defaultdict(list)
        for index, person in enumerate(self.people):
            found[person].append(index)
        return dict(found)

    def after(self, clips: Iterable[int], speaker: SpeakerEstimate | None = None) -> SpeakerEstimate | None:
        """The estimate once these clips have been heard."""
        for clip in clips:
            speaker = self.judge(clip, speaker)[1]
        return speaker

    def probabilities(self, clip: int, speaker: SpeakerEstimate | None) -> list[float]:
        felt = self.judge(clip, speaker)[0]
        return [felt.probabilities[name] for name in emotion.NAMES]


def judge_all(voices: Voices, targets: Sequence[int], draws: int) -> Iterator[tuple[int, int, dict[str, list[float]]]]:
    """→ clip, draw, probabilities [C] by condition, for each clip of ``targets`` and draw. The same every time."""
    by_person = voices.of_person()
    for draw in range(draws):
        earlier = dict(_conversations(voices, by_person, draw))
        for clip in targets:
            rng = np.random.default_rng([draw, clip])
            found = dict(_growing(voices, clip, by_person[voices.people[clip]], rng, longest=draw == 0))
            found[EARLIER.name] = earlier[clip]
            for name, turns in (
                (ONE_MOOD.name, one_mood(voices, clip, by_person, rng)),
                (STRANGER.name, strangers(voices, clip, by_person, rng)),
            ):
                if turns:
                    found[name] = voices.probabilities(clip, voices.after(turns))
            yield clip, draw, found


def _growing(
    voices: Voices, clip: int, own: list[int], rng: np.random.Generator, longest: bool
) -> Iterator[tuple[str, list[float]]]:
    """One random order of the person's other clips; judged after each K of them. ``longest``: after all of them too."""
    others = rng.permutation([one for one in own if one != clip])[:MOST]
    speaker, heard = None, 0
    for count in KS:
        upto = min(count, len(others))
        speaker, heard = voices.after(others[heard:upto], speaker), upto
        yield f"k{count}", voices.probabilities(clip, speaker)
    if longest:
        yield ALL.name, voices.probabilities(clip, voices.after(others[heard:], speaker))


def _conversations(voices: Voices, by_person: dict[str, list[int]], draw: int) -> Iterator[tuple[int, list[float]]]:
    """Each person's clips in a random order, each judged with those before it: what a long conversation is like."""
    for number, own in enumerate(by_person.values()):
        speaker = None
        for clip in np.random.default_rng([draw, number, 1]).permutation(own):
            yield int(clip), voices.probabilities(int(clip), speaker)
            speaker = voices.judge(int(clip), speaker)[1]


def one_mood(voices: Voices, clip: int, by_person: dict[str, list[int]], rng: np.random.Generator) -> list[int]:
    """Five other clips of the person with one label, whichever has as many; none if no label has."""
    by_mood = defaultdict(list)
    for one in by_person[voices.people[clip]]:
        if one != clip:
            by_mood[voices.moods[one]].append(one)
    enough = [clips for clips in by_mood.values() if len(clips) >= SOME]
    return rng.choice(enough[rng.integers(len(enough))], SOME, replace=False).tolist() if enough else []


def strangers(voices: Voices, clip: int, by_person: dict[str, list[int]], rng: np.random.Generator) -> list[int]:
    """Five clips of one other person of the same corpus; none if nobody else has as many."""
    others = [
        clips
        for person, clips in by_person.items()
        if person != voices.people[clip] and voices.corpora[clips[0]] == voices.corpora[clip] and len(clips) >= SOME
    ]
    return rng.choice(others[rng.integers(len(others))], SOME, replace=False).tolist() if others else []
