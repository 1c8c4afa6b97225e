"""What is kept of an item of an evaluation study, so that it never becomes a training row: its tags.

A tag is a kind and a value. It names no study, item or person, and stays when its study is deleted.

==========  =========================================================================================  ==========
kind        value                                                                                      keyed hash
==========  =========================================================================================  ==========
sound       hash of the samples, as given and as played                                                no
waveform    hashes of where the waveform changes sides: copies with another gain                       no
print       fingerprint: copies with another codec, rate, silence or cut                               no
family      the family, where it was given                                                             yes
words       the words of the query or recording, each a hash, without their order                      yes
speaker     the speaker, where the researcher's table names one                                        yes
==========  =========================================================================================  ==========

Of a voice that its owner may take back (``contributor``), only the hashes of the sound are kept: the fingerprint holds
traces of the voice, the words are the person's own.
"""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import soundfile

from annotation.people.signing_key import signing_key
from annotation.store.queries import lock_id
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from annotation.study.clips import Clips
from annotation.study.columns import plain_name
from annotation.study.fingerprint import fingerprint, waveform_hashes
from annotation.study.rules import Study
from emotion_omni.types import Audio, EmotionOmniError

Tag = tuple[str, str]  # kind and value
KEYED = ("family", "words", "speaker")
PRACTICE = "practice-"  # begins the ids of the built-in practice studies, whose ratings count nowhere
LOCKED_ROLES = ("rate", "gold")  # of items; the others hold our own voice alone, or pieces of these
SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk", "spk_id", "actor", "actor_id", "talker", "talker_id", "client_id")


def permanent_tags(item: Row, clips: Clips, key: bytes) -> set[Tag]:
    """All that is kept of an item."""
    tags = sound_tags(item)
    for sha in originals(item):
        if clips.path(sha).exists():  # a sound that is missing is an error of the export, which names it
            sound = read_sound(clips, sha)
            tags |= {("waveform", value) for value in waveform_hashes(sound)}
            if not item.get("contributor") and (found := fingerprint(sound)):
                tags.add(("print", found.stored))
    return tags if item.get("contributor") else tags | written_tags(item, key)


def sound_tags(item: Row) -> set[Tag]:
    """Of the original and the equalized sounds. Not their SHA-256, which is erased with a sound."""
    shas = {clip[form] for clip in item["content"].get("clips", {}).values() for form in ("sha", "played")}
    return {("sound", hashlib.blake2b(b"locked" + sha.encode(), digest_size=16).hexdigest()) for sha in shas}


def written_tags(item: Row, key: bytes) -> set[Tag]:
    """Family, words and speaker. A family that is the item's own name can be in no other study."""
    content = item["content"]
    found = {
        "family": keyed(key, "family", item["family"]) if item["family"] != item["id"] else "",
        "words": hashed_words(spoken_text(content), key),
        "speaker": keyed(key, "speaker", speaker) if (speaker := speaker_of(content)) else "",
    }
    return {(kind, value) for kind, value in found.items() if value}


def originals(item: Row) -> list[str]:
    return sorted({clip["sha"] for clip in item["content"].get("clips", {}).values()})


def read_sound(clips: Clips, sha: str) -> Audio:
    samples, hz = soundfile.read(io.BytesIO(clips.read(sha)), dtype="float32")
    return Audio(samples, hz)


# --- what is written about an item ------------------------------------------------------------------------------


def speaker_of(content: Mapping[str, Any]) -> str:
    """The speaker of the recording or query, as the researcher's table has it; "" if it has none."""
    given = {**((content.get("source") or {}).get("row") or {}), **(content.get("about") or {})}
    named = {plain_name(str(name)): value for name, value in given.items()}
    found = (named[column] for column in SPEAKER_COLUMNS if named.get(column) not in (None, ""))
    return str(next(found, "")).strip().casefold()


def spoken_text(content: Mapping[str, Any]) -> str:
    """The words of the query or recording, not of an answer: two items may have the same right answer."""
    texts = content.get("texts", {})
    return texts.get("query") or texts.get("speech") or ""


def normalized_words(text: str) -> list[str]:
    """Words without case and punctuation; in scripts without spaces (Chinese, Japanese), the characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(char for char in folded if not unicodedata.category(char).startswith("P"))
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+", plain)


def hashed_words(text: str, key: bytes) -> str:
    return " ".join(sorted({keyed(key, "word", word)[:12] for word in normalized_words(text)}))


def keyed(key: bytes, kind: str, value: str) -> str:
    """A short value could be guessed from its plain hash; without the studio's key it cannot."""
    return hashlib.blake2b(f"{kind}:{value}".encode(), key=hashlib.sha256(key).digest(), digest_size=16).hexdigest()


def key_tag(key: bytes) -> Tag:
    """Tells with which key the hashes were made. With another key they match nothing."""
    return "key", keyed(key, "key", "")[:12]


# --- the log ----------------------------------------------------------------------------------------------------


def tags_to_lock(store: Store, clips: Clips, items: Iterable[Row]) -> set[Tag]:
    """The tags of new items of an evaluation study."""
    key = signing_key(store.home)
    tags = {tag for item in items if item["role"] in LOCKED_ROLES for tag in permanent_tags(item, clips, key)}
    return tags | {key_tag(key)} if any(kind in KEYED for kind, _ in tags) else tags


def lock(transaction: Transaction, tags: Iterable[Tag]) -> None:
    """Record the tags that are not known yet, in an order that says nothing of items."""
    by_id = {lock_id(*tag): tag for tag in tags}
    fresh = sorted(by_id[name] for name in by_id.keys() - transaction.known_locks(by_id))
    if fresh:
        kinds = sorted({kind for kind, _ in fresh})
        transaction.record("items.locked", tags={kind: [value for of, value in fresh if of == kind] for kind in kinds})


def is_locking(study: str, settings: Mapping[str, Any]) -> bool:
    """Whether the items of a study are for evaluation. Practice studies measure nothing."""
    return Study.read(settings).split == "evaluation" and not study.startswith(PRACTICE)


def lock_study(store: Store, clips: Clips, study: str) -> None:
    """Lock what an earlier release has put into an evaluation study without tags."""
    with store.read() as view:
        row, known, items = view.study(study), view.locks(), view.items(study)
    if row is None:
        raise EmotionOmniError("There is no such study. It may have been deleted already.", "not-found")
    if not is_locking(study, row["settings"]):
        return
    missing = tags_to_lock(store, clips, [item for item in items if not sound_tags(item) <= known])
    if missing:
        store.write(lambda transaction: lock(transaction, missing))
