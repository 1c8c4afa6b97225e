"""Keeps the items of evaluation studies out of training data: same family, recording, words or speaker.

Knows the studies of this store, deleted ones included. Near duplicates are found by shared words, not by meaning.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from fractions import Fraction

from annotation.store.tables import Row
from annotation.study.clips import Clips
from annotation.study.fingerprint import FingerprintIndex, waveform_hashes
from annotation.study.fingerprint import fingerprint as fingerprint_of
from annotation.study.lock_tags import (
    LOCKED_ROLES,
    Tag,
    hashed_words,
    key_tag,
    normalized_words,
    originals,
    read_sound,
    sound_tags,
    spoken_text,
    written_tags,
)

NEAR_DUPLICATE = Fraction(4, 5)  # Jaccard index of two sets of words, from which two texts count as the same
REASONS = {
    "family": "an evaluation study holds an item of the same family",
    "sound": "an evaluation study holds the same sound, sample by sample",
    "recording": "an evaluation study holds the same recording in another form: "
    "other gain, codec, sample rate, silence or cut",
    "words": "an evaluation study holds (nearly) the same words",
    "speaker": "the speaker is in an evaluation study",
}


class SplitLock:
    """What evaluation studies hold: the tags that are stored of them, and their items that still exist."""

    def __init__(
        self, items: Iterable[Row], tags: Set[Tag] = frozenset(), key: bytes = b"", clips: Clips | None = None
    ) -> None:
        """``clips``: where sounds are read from; without it, recordings in another form are not found."""
        self._key, self._clips = key, clips
        locked = list(items)
        self._tags = set(tags).union(*(sound_tags(item) | written_tags(item, key) for item in locked))
        if clips is not None:
            self._tags |= set(_unstored(locked, tags, clips))
        self._prints = FingerprintIndex(sorted(value for kind, value in self._tags if kind == "print"))
        self._texts = NearDuplicates(value for kind, value in self._tags if kind == "words")

    @property
    def has_other_keys(self) -> bool:
        """Whether families, words and speakers were locked under another signing key: these no longer match."""
        return bool({tag for tag in self._tags if tag[0] == "key"} - {key_tag(self._key)})

    def reason(self, item: Row) -> str | None:
        """Why an item is locked, one of :data:`REASONS`; ``None`` if it is not."""
        written = written_tags(item, self._key)
        if any(tag in self._tags for tag in written if tag[0] == "family"):
            return "family"
        if not self._tags.isdisjoint(sound_tags(item)):
            return "sound"
        if self._texts.contains(hashed_words(spoken_text(item["content"]), self._key)):
            return "words"
        if any(tag in self._tags for tag in written if tag[0] == "speaker"):
            return "speaker"
        return "recording" if self._holds_recording(item) else None

    def _holds_recording(self, item: Row) -> bool:
        if self._clips is None:
            return False
        for sha in originals(item):
            sound = read_sound(self._clips, sha)
            if any(("waveform", value) in self._tags for value in waveform_hashes(sound)):
                return True
            found = fingerprint_of(sound) if self._prints else None
            if found is not None and self._prints.holds(found):
                return True
        return False


def _unstored(items: Iterable[Row], tags: Set[Tag], clips: Clips) -> Iterator[Tag]:
    """What is known of sounds only while they exist: voices that may be taken back; studies of earlier releases."""
    for item in items:
        if item["role"] in LOCKED_ROLES and (item.get("contributor") or not sound_tags(item) <= tags):
            for sha in originals(item):
                if not clips.path(sha).exists():
                    continue
                sound = read_sound(clips, sha)
                yield from (("waveform", value) for value in waveform_hashes(sound))
                if found := fingerprint_of(sound):
                    yield "print", found.stored


class NearDuplicates:
    """Texts, searched for one whose set of words has a Jaccard index of at least :data:`NEAR_DUPLICATE`.

    Prefix filtering (Chaudhuri et al. 2006): two sets A, B with |A ∩ B| / |A ∪ B| >= t share a word among the
    |A| - ceil(t |A|) + 1 rarest of A, in any fixed order of words, so that only few pairs are compared.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        sets = sorted({words for text in texts if (words := frozenset(normalized_words(text)))}, key=sorted)
        self._frequency = Counter(word for words in sets for word in words)
        self._by_word: dict[str, list[frozenset[str]]] = defaultdict(list)
        for words in sets:
            for word in self._prefix(words):
                self._by_word[word].append(words)

    def contains(self, text: str) -> bool:
        words = frozenset(normalized_words(text))
        candidates = (other for word in self._prefix(words) for other in self._by_word.get(word, ()))
        return any(len(words & other) >= NEAR_DUPLICATE * len(words | other) for other in candidates)

    def _prefix(self, words: frozenset[str]) -> list[str]:
        length = len(words) - math.ceil(NEAR_DUPLICATE * len(words)) + 1
        return sorted(words, key=lambda word: (self._frequency[word], word))[:length]
