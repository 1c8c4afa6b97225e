"""A study as files: its ratings, its items and sounds, and rows that trainers read, with a card and a manifest.

The long table of ratings is the truth; every training row is derived from it and says from what. The same
event log gives the same bytes: rows are sorted, and nothing depends on the clock or on chance. Items of an
evaluation study never become training rows, nor do items of a training study that an evaluation study also
holds (the *split lock*). Ratings of flagged raters are exported, marked, and count in no training row.

Knows nothing of screens or accounts, and cannot know whether other data sets hold the same recordings.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import unicodedata
import uuid
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import yaml
from scipy import stats

from annotation.analysis.agreement import Agreement
from annotation.analysis.results import COLUMNS, Results
from annotation.analysis.soft_labels import soft_labels
from annotation.store.event_log import EventLog, decode
from annotation.store.migrations import MIGRATIONS
from annotation.store.tables import Row
from annotation.studio import Studio
from annotation.study import clips
from annotation.study.rules import Study
from annotation.study.scales import SCALES, SURVEY, Scale
from annotation.study.templates import CONSENT, STATEMENTS
from annotation.study.translate import translated, version
from emotion_omni import __version__, emotion
from emotion_omni.types import EmotionOmniError

EXPORTER = f"emotion-omni-studio {__version__}, export 1"
EXPORTED_ROLES = ("rate", "trap", "gold")  # training and sound check items teach; they measure nothing
GOOD_MEAN, BAD_MEAN = 4.0, 2.0  # of 1 to 5: "Very much" is 5, "Somewhat" 3
APPROVING_RATERS = 2  # one person's liking is no approval
NEAR = Fraction(4, 5)  # Jaccard index of two sets of words from which texts count as one
KTO_RATIO = Fraction(7, 6)  # the middle of the advised 1:1 to 4:3, desirable to undesirable (Ethayarajh et al. 2024)
ROWS_AT_ONCE = 256  # of a file with sounds in it, to bound memory
GONE = ("rater.withdrawn", "contributor.withdrawn", "study.deleted")


@dataclass(frozen=True)
class Manifest:
    """What an export holds and what it was made from. ``excluded``: reason → items that give no training row for it.

    ``files``: every other file → its SHA-256. ``log_sha256``: of the event log up to ``log_sequence``.
    ``kto_weights``: ``desirable_weight`` and ``undesirable_weight`` for KTO, ``None`` where one label is missing.
    ``label_smoothing``: the mean flip rate, for robust DPO; ``None`` without pairs.
    """

    study: str
    rows: Mapping[str, int]
    excluded: Mapping[str, int]
    kto_weights: Mapping[str, float] | None
    label_smoothing: float | None
    files: Mapping[str, str]
    log_sha256: str
    log_sequence: int
    scales: Mapping[str, str]
    database_version: int = len(MIGRATIONS)
    code_sha256: str = ""
    exporter: str = EXPORTER


def export(studio: Studio, study: str, out: Path) -> Manifest:
    """Write a study's export to the folder ``out``, in the place of an earlier one or anew; whole or not at all.

    Raises :class:`EmotionOmniError`: ``not-found``, ``not-empty`` (the folder holds other files), ``changed-meanwhile``
    (somebody withdrew), ``clip-missing``, ``clip-damaged``, ``disk``.
    """
    out = out.resolve()
    _refuse_foreign(out)
    made = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        made.mkdir(parents=True)
        manifest = _write(studio, study, made)
        _put_in_place(made, out)
    except OSError as error:
        told = f"The export cannot be written ({error.strerror or error}). Free some space, or choose another folder."
        raise EmotionOmniError(told, "disk") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def zipped(studio: Studio, study: str) -> Path:
    """The same as one zip file, equal bytes for equal exports → its path. The caller deletes it."""
    handle, name = tempfile.mkstemp(suffix=".zip")
    os.close(handle)
    path, complete = Path(name), False
    try:
        with tempfile.TemporaryDirectory() as folder:
            export(studio, study, Path(folder) / "export")
            _pack(Path(folder) / "export", path)
        complete = True
    finally:
        if not complete:
            path.unlink()
    return path


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in _files(folder):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, whatever the machine
            entry.compress_type = zipfile.ZIP_STORED if name.endswith((".flac", ".parquet")) else zipfile.ZIP_DEFLATED
            entry.file_size = (folder / name).stat().st_size  # told beforehand, so that files over 2 GiB fit
            with (folder / name).open("rb") as file, archive.open(entry, "w") as packed:
                shutil.copyfileobj(file, packed)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _refuse_foreign(out: Path) -> None:
    """Only an export of ours is replaced, and only if nothing was added to it: all that lies there would be lost."""
    if out.exists() and not out.is_dir():
        raise EmotionOmniError(f"{out.name!r} is a file; an export needs a folder. Choose another name.", "not-empty")
    foreign = [name for name in _files(out) if name not in _listed(out)] if out.exists() else []
    if foreign:
        raise EmotionOmniError(
            f"The folder {out.name!r} holds {foreign[0]!r}, which no export wrote. Choose an empty folder, or one with an earlier export.",
            "not-empty",
        )


def _listed(out: Path) -> set[str]:
    """What the manifest of an earlier export says it wrote; nothing where there is none."""
    try:
        manifest = json.loads((out / "manifest.json").read_bytes())
        return (
            {"manifest.json", *manifest["files"]} if manifest["exporter"].startswith("emotion-omni-studio") else set()
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _put_in_place(made: Path, out: Path) -> None:
    old = made.with_name(made.name + ".old")
    if out.exists():
        os.rename(out, old)
    os.rename(made, out)
    shutil.rmtree(old, ignore_errors=True)


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Source:
    """All that an export is made of, read in one transaction."""

    results: Results
    consents: frozenset[str]  # raters whose agreement is stored
    surveys: Sequence[Mapping[str, Any]]
    lock: Lock
    sequence: int  # of the newest event in it

    @classmethod
    def read(cls, studio: Studio, study: str) -> Source:
        with studio.store.read() as view:
            results = Results.read(view, study, studio.identity.secret)
            answers = {row["rater"]: row["answers"] for row in view.enrolments(study)}
            evaluated = [
                row["id"]
                for row in view.studies()
                if row["id"] != study and Study.read(row["settings"]).split == "evaluation"
            ]
            lock = Lock(
                [item for name in evaluated for item in view.items(name)] if results.rules.split == "training" else []
            )
            consents = frozenset(rater for rater, given in answers.items() if given.get("consent"))
            surveys = [given["survey"] for given in answers.values() if given.get("survey")]
            return cls(results, consents, surveys, lock, view.applied())

    @cached_property
    def items(self) -> list[Row]:
        """Those that are exported, sorted."""
        return [item for _, item in sorted(self.results.items.items()) if item["role"] in EXPORTED_ROLES]

    @property
    def ordinary(self) -> list[Row]:
        return [item for item in self.items if item["role"] == "rate"]

    @cached_property
    def agreement(self) -> dict[str, list[Agreement]]:
        return self.results.agreement()

    @property
    def alpha(self) -> float | None:
        """Krippendorff's alpha of the template's main question, over raters who are not flagged."""
        found = self.agreement.get(self.results.rules.form.main)
        return _rounded(found[0].value) if found else None

    @cached_property
    def adjudicated(self) -> dict[str, Row]:
        """The latest decision on each item."""
        return {row["item"]: row for row in self.results.decisions if row["subject"] == "item"}


class Lock:
    """What evaluation studies hold, so that it can be kept out of training: families, sounds, words said.

    The words are those of the person (query or recording), not of an answer: the same answer may be right twice.
    """

    def __init__(self, items: Iterable[Row]) -> None:
        held = list(items)
        self._families = {item["family"] for item in held}
        self._sounds = {sha for item in held for sha in _hashes(item)}
        self._texts = _Texts([_said(item["content"]) for item in held])

    def holds(self, item: Row) -> bool:
        return (
            item["family"] in self._families
            or not self._sounds.isdisjoint(_hashes(item))
            or self._texts.near(_said(item["content"]))
        )


def _hashes(item: Row) -> set[str]:
    return {sha for clip in item["content"].get("clips", {}).values() for sha in (clip["sha"], clip["played"])}


def _said(content: Mapping[str, Any]) -> str:
    texts = content.get("texts", {})
    return texts.get("query") or texts.get("speech") or ""


class _Texts:
    """Finds whether a text has a near duplicate: Jaccard index of the sets of words of at least :data:`NEAR`.

    Two sets that near must share a word among their rarest |A| - ceil(NEAR |A|) + 1 ones, in any fixed order
    (prefix filtering; Chaudhuri et al. 2006), so that only few are compared.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._sets = sorted({words for text in texts if (words := frozenset(normalised(text)))}, key=sorted)
        self._often = Counter(word for words in self._sets for word in words)
        self._holding: dict[str, list[frozenset[str]]] = defaultdict(list)
        for words in self._sets:
            for word in self._rarest(words):
                self._holding[word].append(words)

    def near(self, text: str) -> bool:
        words = frozenset(normalised(text))
        others = (other for word in self._rarest(words) for other in self._holding.get(word, ()))
        return any(len(words & other) >= NEAR * len(words | other) for other in others)

    def _rarest(self, words: frozenset[str]) -> list[str]:
        return sorted(words, key=lambda word: (self._often[word], word))[
            : len(words) - math.ceil(NEAR * len(words)) + 1
        ]


def normalised(text: str) -> list[str]:
    """Words without case and punctuation; where a script writes no spaces (Chinese, Japanese), its characters."""
    plain = "".join(
        one for one in unicodedata.normalize("NFKC", text).casefold() if not unicodedata.category(one).startswith("P")
    )
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+", plain)


def _log_sha256(log: EventLog, through: int) -> str:
    digest = hashlib.sha256()
    for line, event in _events(log):
        if event["sequence"] <= through:
            digest.update(line)
    return digest.hexdigest()


def _refuse_withdrawn(log: EventLog, since: int) -> None:
    """What was read before somebody withdrew must not be written after."""
    if any(event["sequence"] > since and event["event"] in GONE for _, event in _events(log)):
        raise EmotionOmniError(
            "Somebody withdrew while this export was made, so it was thrown away. Export again.", "changed-meanwhile"
        )


def _events(log: EventLog) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Lines with their events. A line without its end is still being written."""
    for path in log.segments():
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if line.endswith(b"\n"):
                yield line, decode(line.rstrip(b"\n"), f"{path.name}, line {number}")


# --- the columns ------------------------------------------------------------------------------------------------

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_MESSAGES = pa.list_(pa.struct([("content", _TEXT), ("role", _TEXT)]))
_TEXTS = pa.list_(_TEXT)
_PLACES = {name: place for place, name in enumerate(SCALES)}  # questions in the order of the schema
Columns = dict[str, pa.DataType]

RATINGS: Columns = dict.fromkeys(COLUMNS, _TEXT) | {
    "value_number": _REAL,
    "value_on_page": _TEXT,
    "guess_shown": _FLAG,
    "guess_probability": _REAL,
    "block": _WHOLE,
    "slot": _WHOLE,
    "seconds": _REAL,
    "heard": _REAL,
    "right": _FLAG,
    "consent": _FLAG,
}
PROVENANCE: Columns = {
    "item": _TEXT,
    "family": _TEXT,
    "study": _TEXT,
    "template": _TEXT,
    "split": _TEXT,
    "licence": _TEXT,
    "language": _TEXT,
    "scales": _TEXTS,
    "mode": _TEXT,
    "audio_sha256": _TEXTS,
    "about": _TEXT,
    "emotion": _TEXT,
    "emotion_source": _TEXT,
    "adjudicated": _TEXT,
    "side_as_stored": _WHOLE,
    "side_swapped": _WHOLE,
    "heard_least": _REAL,
    "raters": _TEXTS,
    "n_raters": _WHOLE,
    "agreement": _REAL,
    "consent": _FLAG,
    "contributed": _FLAG,
    "ratings_kept": _WHOLE,
    "ratings_could_not_check": _WHOLE,
    "ratings_flagged": _WHOLE,
    "reasons": _TEXTS,
    "exporter": _TEXT,
}
_MADE_BY: Columns = {"system": _TEXT, "seed": _WHOLE, "timings": _TEXT}
_PAIR: Columns = (
    {f"{side}_{name}": kind for side in ("chosen", "rejected") for name, kind in _MADE_BY.items()}
    | {f"{role}_file_name": _TEXT for role in ("query", "chosen", "rejected")}
    | {
        "source": _TEXT,
        "margin": _REAL,
        "flip_rate": _REAL,
        "vote_share": _REAL,
        "same_words": _FLAG,
        "chosen_emotion": _TEXT,
        "rejected_emotion": _TEXT,
    }
)
TRAINING: dict[str, Columns] = {
    "sft": {
        "messages": _MESSAGES,
        "text": _TEXT,
        "event": _TEXT,
        "reply": _TEXT,
        "reply_emotion": _TEXT,
        "source": _TEXT,
        "query_file_name": _TEXT,
        "reply_file_name": _TEXT,
    }
    | _MADE_BY
    | PROVENANCE,
    "dpo": {"prompt": _MESSAGES, "chosen": _MESSAGES, "rejected": _MESSAGES} | _PAIR | PROVENANCE,
    "kto": {
        "prompt": _MESSAGES,
        "completion": _MESSAGES,
        "label": _FLAG,
        "score": _REAL,
        "source": _TEXT,
        "reply_emotion": _TEXT,
        "query_file_name": _TEXT,
        "completion_file_name": _TEXT,
    }
    | _MADE_BY
    | PROVENANCE,
    "reward": {"chosen": _MESSAGES, "rejected": _MESSAGES} | _PAIR | PROVENANCE,
    "emotion": {
        "audio": pa.struct([("bytes", pa.binary()), ("path", _TEXT)]),
        "label": _TEXT,
        "soft_label": pa.list_(_REAL),
        "valence": _REAL,
        "arousal": _REAL,
        "dominance": _REAL,
        "alpha": _REAL,
        "transcript": _TEXT,
        "guess": _TEXT,
        "guess_probability": _REAL,
        "guess_shown_share": _REAL,
    }
    | _MADE_BY
    | PROVENANCE,
}


def item_columns(rules: Study) -> Columns:
    """The columns of the items: four for each clip of the template."""
    by_clip = {
        f"{role}_{name}": _TEXT for role in rules.form.clips for name in ("text", "system", "file_name", "sha256")
    }
    return {
        "item": _TEXT,
        "family": _TEXT,
        "role": _TEXT,
        "mode": _TEXT,
        "split": _TEXT,
        "guess": _TEXT,
        "guess_probability": _REAL,
        "contributed": _FLAG,
        "adjudicated": _TEXT,
        "adjudicated_reason": _TEXT,
        "about": _TEXT,
    } | by_clip


# --- ratings and items ------------------------------------------------------------------------------------------


def rating_rows(source: Source) -> list[Row]:
    """One row for each answer to each question, of everybody, flagged or not."""
    agreed = {source.results.pseudonym(rater) for rater in source.consents}
    rows = [_rating_row(row, row["rater"] in agreed) for row in source.results.table.astype(object).to_dict("records")]
    return sorted(rows, key=lambda row: (row["item"], row["rater"], row["at"], row["rating"], _PLACES[row["scale"]]))


def _rating_row(row: Row, agreed: bool) -> Row:
    value, turned = (
        row["value"],
        {"a": "b", "b": "a"} if row["scale"] == "preference" and row["side"] == "swapped" else {},
    )
    return row | {
        "value": str(value),
        "value_number": float(value) if SCALES[row["scale"]].kind == "points" else None,
        "value_on_page": turned.get(value, str(value)),
        "at": _iso(row["at"]),
        "consent": agreed,
        "system": _known(row["system"]),
        "guess": _known(row["guess"]),
        "guess_probability": _rounded(row["guess_probability"]),
        "seconds": _rounded(row["seconds"]),
        "heard": _rounded(row["heard"]),
        "right": None if _rounded(row["right"]) is None else bool(row["right"]),
    }


def item_rows(source: Source) -> list[Row]:
    return [_item_row(source, item) for item in source.items]


def _item_row(source: Source, item: Row) -> Row:
    content, rules = item["content"], source.results.rules
    guess, decided = content.get("guess") or {}, source.adjudicated.get(item["id"])
    row = {
        "item": item["id"],
        "family": item["family"],
        "role": item["role"],
        "mode": content.get("mode", "both"),
        "split": rules.split,
        "guess": guess.get("label"),
        "guess_probability": _rounded(guess.get("probability")),
        "contributed": bool(item["contributor"]),
        "adjudicated": decided and str(decided["value"]),
        "adjudicated_reason": decided and decided["reason"],
        "about": _about(content),
    }
    for role in rules.form.clips:
        row |= {
            f"{role}_text": content.get("texts", {}).get(role),
            f"{role}_system": content.get("systems", {}).get(role),
            f"{role}_file_name": _file_name(content, role),
            f"{role}_sha256": _sha(content, role),
        }
    return row


def _about(content: Mapping[str, Any]) -> str:
    """Provenance as JSON text: its keys differ from item to item, which a table's columns cannot."""
    return json.dumps(content.get("about") or {}, ensure_ascii=False, sort_keys=True)


def _sha(content: Mapping[str, Any], role: str | None) -> str | None:
    clip = content.get("clips", {}).get(role)
    return clip["sha"] if clip else None


def _file_name(content: Mapping[str, Any], role: str | None) -> str | None:
    sha = _sha(content, role)
    return f"audio/{sha}.flac" if sha else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _known(value: Any) -> str | None:
    """A text, or ``None`` where pandas has put NaN."""
    return value if isinstance(value, str) else None


def _rounded(value: Any) -> float | None:
    """To six places, so that the last bit of a library's logarithm changes no byte. ``None`` for what is no finite number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(float(value), 6)


# --- what votes say ---------------------------------------------------------------------------------------------


def margin(votes: float, n: int) -> float:
    """How strongly the chosen answer was preferred: log-odds of its posterior mean share of ``votes`` among ``n``.

    Ties count half. Prior Beta(1, 1), so that one vote is a leaning (log 2) and none is nothing (0).
    """
    return math.log((votes + 1) / (n - votes + 1))


def flip_rate(votes: float, n: int) -> float:
    """The probability that the label is the wrong way round: that in truth most people would choose the other one.

    The posterior mass of Beta(1 + votes, 1 + n - votes) below one half. With ``votes`` above n / 2 it lies in
    (0, 0.5), the range of ``label_smoothing`` in robust DPO (Chowdhury et al. 2024).
    """
    return float(stats.beta.cdf(0.5, 1 + votes, 1 + n - votes))


def kto_weights(good: int, bad: int) -> dict[str, float] | None:
    """Weights of a loss so that weighted desirable to undesirable rows lie between 1:1 and 4:3; only the rarer is raised.

    ``None`` where one of the two is missing: KTO needs both (Ethayarajh et al. 2024).
    """
    if not good or not bad:
        return None
    up = round(float(KTO_RATIO * bad / good), 4) if good < bad else 1.0
    down = round(float(good / (KTO_RATIO * bad)), 4) if 3 * good > 4 * bad else 1.0
    return {"desirable_weight": up, "undesirable_weight": down}


def majority(values: Sequence[str]) -> str | None:
    """The value given most often, ``None`` where two share the lead or nothing was given."""
    first, second = (Counter(values).most_common(2) + [(None, 0), (None, 0)])[:2]
    return first[0] if first[1] > second[1] else None


# --- training rows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rated:
    """An item that may be trained on. ``counted``: its ordinary ratings but those of flagged raters; ``all``: with them."""

    item: Row
    counted: Sequence[Row]
    all: Sequence[Row]

    @property
    def content(self) -> Mapping[str, Any]:
        return self.item["content"]

    def words(self, role: str) -> str:
        return " ".join(self.content.get("texts", {}).get(role, "").split())

    def given(self, scale: str) -> list[Any]:
        return [row["answers"][scale] for row in self.counted if scale in row["answers"]]

    def mean(self, scale: str) -> float | None:
        given = self.given(scale)
        return sum(given) / len(given) if given else None


@dataclass(frozen=True, eq=False)
class Pair:
    """Of two answers in words, the one preferred. A role of ``None``: written by a rater, spoken by nobody."""

    rated: Rated
    source: str
    chosen: str
    rejected: str
    chosen_role: str | None
    rejected_role: str
    votes: float
    n: int
    by: Sequence[Row]
    chosen_emotion: str | None


@dataclass(eq=False)
class Rows:
    """The training rows of a study. Each item that gives none is noted in ``left_out`` with the reason."""

    source: Source
    left_out: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def results(self) -> Results:
        return self.source.results

    def all(self) -> dict[str, list[Row]]:
        """Table → rows, tables without rows left out. Of an evaluation study there is none."""
        if self.results.rules.split != "training":
            self.left_out["evaluation-study"] = {item["id"] for item in self.source.ordinary}
            return {}
        pairs = [pair for one in self.rated for pair in self.pairs(one)]
        found = {
            "sft": [row for one in self.rated for row in self.sft(one)],
            "dpo": [self.dpo(pair) for pair in pairs],
            "kto": [row for one in self.rated for row in self.scored(one)]
            + [row for pair in pairs for row in self.kto(pair)],
            "reward": [self.reward(pair) for pair in pairs],
            "emotion": self.emotions(),
        }
        return {name: rows for name, rows in found.items() if rows}

    @cached_property
    def rated(self) -> list[Rated]:
        """Ordinary items outside the split lock that somebody has rated whose ratings count."""
        by_item: dict[str, list[Row]] = defaultdict(list)
        for row in self.results.ratings:
            if row["kind"] == "rate":
                by_item[row["item"]].append(row)
        found = []
        for item in self.source.ordinary:
            given = by_item[item["id"]]
            counted = [row for row in given if self.results.verdicts[row["rater"]].outcome != "flagged"]
            if self.source.lock.holds(item):
                self.left_out["split-lock"].add(item["id"])
            elif not counted:
                self.left_out["no-rating-that-counts"].add(item["id"])
            else:
                found.append(Rated(item, counted, given))
        return found

    def _lacks_words(self, one: Rated, *roles: str) -> bool:
        """Whether a text-based row is impossible, noted."""
        lacks = not all(one.words(role) for role in ("query", *roles))
        if lacks:
            self.left_out["no-transcript"].add(one.item["id"])
        return lacks

    # -- one answer

    def sft(self, one: Rated) -> list[Row]:
        """Rewritten answers; where nobody rewrote, the answer itself if it was approved."""
        if not {"rewrite", "empathy"} & set(self.results.rules.form.scales) or self._lacks_words(one, "reply"):
            return []
        return self._corrected(one) or self._approved(one)

    def _corrected(self, one: Rated) -> list[Row]:
        found = []
        for text, by in sorted(rewrites(one).items()):
            kept = text == one.words("reply")
            felt = majority([row["answers"]["rewrite_emotion"] for row in by if "rewrite_emotion" in row["answers"]])
            found.append(
                self._sft_row(one, text, "unchanged" if kept else "corrected", "reply" if kept else None, felt, by)
            )
        return found

    def _approved(self, one: Rated) -> list[Row]:
        means = [mean for scale in ("empathy", "relevance") if (mean := one.mean(scale)) is not None]
        if len(one.counted) < APPROVING_RATERS or len(means) < 2 or min(means) < GOOD_MEAN:
            self.left_out["not-approved"].add(one.item["id"])
        elif any(one.given("safety")):
            self.left_out["safety-flag"].add(one.item["id"])
        else:
            return [
                self._sft_row(one, one.words("reply"), "approved", "reply", _planned(one.content, "reply"), one.counted)
            ]
        return []

    def _sft_row(self, one: Rated, text: str, how: str, role: str | None, felt: str | None, by: Sequence[Row]) -> Row:
        about = one.content.get("about") or {}
        event = about.get("event") if about.get("event") in emotion.NEWS else None
        return (
            {
                "messages": [_user(one), _assistant(text)],
                "text": one.words("query"),
                "event": event,
                "reply": text,
                "reply_emotion": felt,
                "source": how,
                "query_file_name": _file_name(one.content, "query"),
                "reply_file_name": _file_name(one.content, role),
            }
            | _made_by(one.content, role)
            | self.provenance(one, by)
        )

    def scored(self, one: Rated) -> list[Row]:
        """A thumb up or down from the mean empathy; what lies between says neither."""
        score = one.mean("empathy")
        if score is None or self._lacks_words(one, "reply"):
            return []
        if BAD_MEAN < score < GOOD_MEAN:
            self.left_out["middling-score"].add(one.item["id"])
            return []
        if score >= GOOD_MEAN and any(one.given("safety")):
            self.left_out["safety-flag"].add(one.item["id"])
            return []
        return [self._kto_row(one, one.words("reply"), score >= GOOD_MEAN, "score", "reply", one.counted, score)]

    def _kto_row(
        self, one: Rated, text: str, good: bool, how: str, role: str, by: Sequence[Row], score: float | None = None
    ) -> Row:
        return (
            {
                "prompt": [_user(one)],
                "completion": [_assistant(text)],
                "label": good,
                "score": _rounded(score),
                "source": how,
                "reply_emotion": _planned(one.content, role),
                "query_file_name": _file_name(one.content, "query"),
                "completion_file_name": _file_name(one.content, role),
            }
            | _made_by(one.content, role)
            | self.provenance(one, by)
        )

    # -- two answers

    def pairs(self, one: Rated) -> list[Pair]:
        if one.given("preference") and not self._lacks_words(one, "a", "b"):
            return self._compared(one)
        if one.given("rewrite") and not self._lacks_words(one, "reply"):
            return self._against_original(one)
        return []

    def _compared(self, one: Rated) -> list[Pair]:
        given = Counter(one.given("preference"))
        n = given.total()
        for_a = given["a"] + given["tie"] / 2
        if 2 * for_a == n:
            self.left_out["tie"].add(one.item["id"])
            return []
        first, second = ("a", "b") if 2 * for_a > n else ("b", "a")
        votes = max(for_a, n - for_a)
        return [
            Pair(
                one,
                "comparison",
                one.words(first),
                one.words(second),
                first,
                second,
                votes,
                n,
                one.counted,
                _planned(one.content, first),
            )
        ]

    def _against_original(self, one: Rated) -> list[Pair]:
        """Each rewritten answer above the original. A rater who changed it votes against it, one who left it votes for it."""
        original, found = one.words("reply"), rewrites(one)
        n = sum(map(len, found.values()))
        votes = n - len(found.pop(original, ()))
        if 2 * votes <= n:
            self.left_out["most-left-it-unchanged"].add(one.item["id"])
            return []
        felt = {text: majority([row["answers"]["rewrite_emotion"] for row in by]) for text, by in found.items()}
        return [
            Pair(one, "correction", text, original, None, "reply", votes, n, one.counted, felt[text])
            for text in sorted(found)
        ]

    def dpo(self, pair: Pair) -> Row:
        row = self.reward(pair)
        return row | {"prompt": row["chosen"][:1], "chosen": row["chosen"][1:], "rejected": row["rejected"][1:]}

    def reward(self, pair: Pair) -> Row:
        one, content = pair.rated, pair.rated.content
        sides = {"chosen": pair.chosen_role, "rejected": pair.rejected_role}
        made = {
            f"{side}_{name}": value for side, role in sides.items() for name, value in _made_by(content, role).items()
        }
        files = {f"{side}_file_name": _file_name(content, role) for side, role in (sides | {"query": "query"}).items()}
        return (
            {
                "chosen": [_user(one), _assistant(pair.chosen)],
                "rejected": [_user(one), _assistant(pair.rejected)],
                "source": pair.source,
                "margin": _rounded(margin(pair.votes, pair.n)),
                "flip_rate": _rounded(flip_rate(pair.votes, pair.n)),
                "vote_share": _rounded(pair.votes / pair.n),
                "same_words": pair.chosen == pair.rejected,
                "chosen_emotion": pair.chosen_emotion,
                "rejected_emotion": _planned(content, pair.rejected_role),
            }
            | made
            | files
            | self.provenance(one, pair.by)
        )

    def kto(self, pair: Pair) -> list[Row]:
        """Both answers of a comparison. Where the words are the same, a model of words would be told yes and no at once."""
        if pair.chosen_role is None:
            return []
        if pair.chosen == pair.rejected:
            self.left_out["same-words"].add(pair.rated.item["id"])
            return []
        sides = ((pair.chosen, True, pair.chosen_role), (pair.rejected, False, pair.rejected_role))
        return [self._kto_row(pair.rated, text, good, "comparison", role, pair.by) for text, good, role in sides]

    # -- emotions

    def emotions(self) -> list[Row]:
        """Recordings with what people heard in them. The bytes of the sounds are added when written."""
        if "primary" not in self.results.rules.form.scales:
            return []
        named = self.results.values("primary")
        named = named[named["value"].isin(emotion.NAMES)]
        soft = soft_labels(named[["item", "rater", "value"]], emotion.NAMES) if len(named) else None
        found = []
        for one in self.rated:
            if one.content.get("mode", "both") != "both":
                self.left_out["words-or-voice-alone"].add(one.item["id"])
            elif soft is None or one.item["id"] not in soft.index:
                self.left_out["no-emotion-named"].add(one.item["id"])
            else:
                found.append(self._emotion_row(one, [float(share) for share in soft.loc[one.item["id"]]]))
        return found

    def _emotion_row(self, one: Rated, soft: Sequence[float]) -> Row:
        label, guess = majority(one.given("primary")), one.content.get("guess") or {}
        shown = [row["guess"] for row in one.counted]
        return (
            {
                "audio": _sha(one.content, "speech"),
                "label": label if label in emotion.NAMES else None,
                "soft_label": [round(share, 6) for share in soft],
                "alpha": self.source.alpha,
                "transcript": one.words("speech") or None,
                "valence": _rounded(one.mean("valence")),
                "arousal": _rounded(one.mean("arousal")),
                "dominance": _rounded(one.mean("dominance")),
                "guess": guess.get("label"),
                "guess_probability": _rounded(guess.get("probability")),
                "guess_shown_share": _rounded(sum(shown) / len(shown)),
            }
            | _made_by(one.content, "speech")
            | self.provenance(one, one.counted)
        )

    # -- where a row comes from

    def provenance(self, one: Rated, by: Sequence[Row]) -> Row:
        """``by``: the ratings that the row rests on."""
        results, rules, content = self.results, self.results.rules, one.content
        outcomes = Counter(results.verdicts[row["rater"]].outcome for row in one.all)
        felt, told_by = _emotion_of(content)
        decided = self.source.adjudicated.get(one.item["id"])
        return {
            "item": one.item["id"],
            "family": one.item["family"],
            "study": results.study["id"],
            "template": rules.template,
            "split": rules.split,
            "licence": rules.licence,
            "language": rules.language,
            "scales": [f"{name}@{of}" for name, of in scale_versions(rules).items()],
            "mode": content.get("mode", "both"),
            "audio_sha256": [content["clips"][role]["sha"] for role in rules.form.clips],
            "about": _about(content),
            "emotion": felt,
            "emotion_source": told_by,
            "adjudicated": decided and str(decided["value"]),
            "side_as_stored": sum(row["flip"] > 0 for row in by),
            "side_swapped": sum(row["flip"] < 0 for row in by),
            "heard_least": _rounded(min((share for row in by for share in row["heard"].values()), default=None)),
            "raters": sorted(results.pseudonym(row["rater"]) for row in by),
            "n_raters": len(by),
            "agreement": self.source.alpha,
            "consent": all(row["rater"] in self.source.consents for row in by),
            "contributed": bool(one.item["contributor"]),
            "ratings_kept": outcomes["kept"],
            "ratings_could_not_check": outcomes["could-not-check"],
            "ratings_flagged": outcomes["flagged"],
            "reasons": sorted({reason for row in one.all for reason in results.verdicts[row["rater"]].reasons}),
            "exporter": EXPORTER,
        }


def rewrites(one: Rated) -> dict[str, list[Row]]:
    """Each text that raters wrote → their ratings; spaces do not make another text."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in one.counted:
        if "rewrite" in row["answers"]:
            found[" ".join(row["answers"]["rewrite"].split())].append(row)
    return dict(found)


def _user(one: Rated) -> dict[str, str]:
    return {"role": "user", "content": one.words("query")}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def scale_versions(rules: Study) -> dict[str, str]:
    """Question → the version of its words, as raters read them."""
    return {scale.name: version(scale.version, rules.language) for scale in rules.form.asked(True)}


def _part(content: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """What is known of one answer: two answers of an item each have their own."""
    about = content.get("about") or {}
    part = about.get(role, {}) if role in ("a", "b") else about
    return part if isinstance(part, Mapping) else {}


def _made_by(content: Mapping[str, Any], role: str | None) -> Row:
    if role is None:
        return {"system": None, "seed": None, "timings": None}
    part = _part(content, role)
    seed, timings = str(part.get("seed", "")), part.get("timings")
    return {
        "system": content.get("systems", {}).get(role),
        "seed": int(seed) if re.fullmatch(r"-?\d{1,18}", seed) else None,
        "timings": json.dumps(timings, sort_keys=True) if timings else None,
    }


def _planned(content: Mapping[str, Any], role: str) -> str | None:
    """The emotion an answer was to be spoken with, where the engine said so."""
    return _label(_part(content, role).get("planned") or content.get("planned"))


def _emotion_of(content: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The emotion of what was said, and who says so: "stated" with the recording, or "heard" by a model. Not the raters' answer."""
    about = content.get("about") or {}
    if stated := _label(about.get("emotion")):
        return stated, "stated"
    heard = [
        part["heard"]
        for part in (about, _part(content, "a"), _part(content, "b"))
        if isinstance(part.get("heard"), Mapping)
    ]
    guess = (content.get("guess") or {}).get("label") or (
        max(heard[0], key=heard[0].__getitem__) if heard and heard[0] else None
    )
    label = _label(guess)
    return label, "heard" if label else None


def _label(name: Any) -> str | None:
    try:
        return emotion.find(name).name
    except EmotionOmniError:
        return None


# --- writing ----------------------------------------------------------------------------------------------------


def _write(studio: Studio, study: str, folder: Path) -> Manifest:
    source = Source.read(studio, study)
    rates = _write_sounds(source, studio.clips, folder / "audio")
    rows = Rows(source)
    tables = {"ratings": rating_rows(source), "items": item_rows(source)} | rows.all()
    columns = {"ratings": RATINGS, "items": item_columns(source.results.rules)} | TRAINING
    counts = {"audio": len(rates)}
    for table, found in tables.items():
        for name in _names(table):
            _write_table(folder / name, columns[table], found, rates, studio.clips.read)
            counts[name] = len(found)
    labels, flips = (
        Counter(row["label"] for row in tables.get("kto", ())),
        [row["flip_rate"] for row in tables.get("dpo", ())],
    )
    manifest = Manifest(
        study,
        counts,
        {reason: len(items) for reason, items in sorted(rows.left_out.items())},
        kto_weights(labels[True], labels[False]),
        _rounded(sum(flips) / len(flips)) if flips else None,
        {},
        _log_sha256(studio.store.log, source.sequence),
        source.sequence,
        scale_versions(source.results.rules),
        code_sha256=_code_sha256(),
    )
    (folder / "README.md").write_text(card(source, manifest), encoding="utf-8")
    hashes = {name: _file_sha256(folder / name) for name in _files(folder)}
    manifest = Manifest(**asdict(manifest) | {"files": hashes})
    (folder / "manifest.json").write_text(
        json.dumps(asdict(manifest), ensure_ascii=False, sort_keys=True, indent=1), encoding="utf-8"
    )
    _refuse_withdrawn(studio.store.log, source.sequence)
    return manifest


def _names(table: str) -> list[str]:
    """Files of a table: Parquet, which keeps every column's kind, and JSON lines for all that is words."""
    return [f"{table}.parquet"] if table in ("ratings", "emotion") else [f"{table}.parquet", f"{table}.jsonl"]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _code_sha256() -> str:
    """Of the modules that decide what a row says."""
    here = Path(__file__).parents[1]
    code = b"".join(
        (here / name).read_bytes()
        for name in (
            "export/tables.py",
            "analysis/agreement.py",
            "analysis/raters.py",
            "analysis/ratings.py",
            "analysis/results.py",
            "analysis/soft_labels.py",
            "study/scales.py",
            "study/templates.py",
            "study/rules.py",
        )
    )
    return hashlib.sha256(code).hexdigest()


def _write_sounds(source: Source, kept: clips.Clips, folder: Path) -> dict[str, int]:
    """The original sounds, each checked against its name → SHA-256 and sample rate in hertz."""
    folder.mkdir()
    rates = {}
    for sha in sorted({clip["sha"] for item in source.items for clip in item["content"].get("clips", {}).values()}):
        data = kept.read(sha)
        if hashlib.sha256(data).hexdigest() != sha:
            raise EmotionOmniError(
                f"The sound {sha[:12]}… has changed on disk. Restore the folder 'audio' from a backup.", "clip-damaged"
            )
        (folder / f"{sha}.flac").write_bytes(data)
        rates[sha] = soundfile.info(io.BytesIO(data)).samplerate
    return rates


def _write_table(
    path: Path, columns: Columns, rows: list[Row], rates: Mapping[str, int], sound: Callable[[str], bytes]
) -> None:
    """JSON lines or Parquet, by the name. A column ``audio`` holds hashes until here, and the sounds from here."""
    if path.suffix == ".jsonl":
        lines = (
            json.dumps({name: row[name] for name in columns}, ensure_ascii=False, sort_keys=True, allow_nan=False)
            for row in rows
        )
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return
    described = pa.schema(
        list(columns.items()), _features([rates[row["audio"]] for row in rows]) if "audio" in columns else None
    )
    with pq.ParquetWriter(path, described, compression="zstd") as writer:
        for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
            some = [{name: row[name] for name in columns} for row in rows[start : start + ROWS_AT_ONCE]]
            if "audio" in columns:
                some = [row | {"audio": {"bytes": sound(row["audio"]), "path": f"{row['audio']}.flac"}} for row in some]
            writer.write_table(pa.Table.from_pylist(some, described))


def _features(rates: Sequence[int]) -> dict[str, str]:
    """What makes ``datasets`` read the column as sound. Where rates differ none is named, and each sound keeps its own."""
    hz = rates[0] if len(set(rates)) == 1 else None
    return {"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Audio", "sampling_rate": hz}}}})}


# --- the card ---------------------------------------------------------------------------------------------------

_LICENCES = {
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0",
    "odbl",
    "odc-by",
    "pddl",
}
_ANSWERS = ["text-generation", "audio-to-audio"]
_TASKS = {"emotion": ["audio-classification"], "empathy": _ANSWERS, "compare": _ANSWERS}
_REASONS = {
    "evaluation-study": "this is an evaluation study: its items measure models, and none may be trained on",
    "split-lock": "an evaluation study of the same store holds the same family, the same sound, or (nearly) the same words",
    "no-rating-that-counts": "nobody rated the item, or only raters who were flagged",
    "no-transcript": "the words of the query or of an answer are not known",
    "not-approved": f"fewer than {APPROVING_RATERS} raters, or a mean of empathy or relevance under {GOOD_MEAN:g}",
    "safety-flag": "a rater found something wrong with an answer that otherwise scored well",
    "middling-score": f"a mean empathy between {BAD_MEAN:g} and {GOOD_MEAN:g} says neither good nor bad (kto)",
    "tie": "as many preferred one answer as the other",
    "same-words": "two answers with the same words are nothing to a model of text (kto; kept, marked, in dpo and reward)",
    "most-left-it-unchanged": "half of the raters or more left the answer as it was, so it is not the worse one (dpo, reward)",
    "words-or-voice-alone": "rated from the words alone, or with the words masked",
    "no-emotion-named": "no rater named one of the eight emotions",
}


def card(source: Source, manifest: Manifest) -> str:
    """The data set card: what a reader must know before using the files, and nothing that is not known."""
    head = yaml.safe_dump(
        _front_matter(source.results.rules, manifest), sort_keys=False, allow_unicode=True, width=1000
    )
    parts = (
        _intro,
        _files_part,
        _training_part,
        _left_out_part,
        _raters_part,
        _agreement_part,
        _instructions_part,
        _scales_part,
        _consent_part,
        _limits_part,
    )
    return f"---\n{head}---\n\n" + "\n\n".join(part(source, manifest) for part in parts) + "\n"


def _front_matter(rules: Study, manifest: Manifest) -> dict[str, Any]:
    licence = rules.licence.strip().lower()
    known = (
        {"license": licence}
        if licence in _LICENCES
        else {"license": "unknown"}
        if licence == "not stated"
        else {"license": "other", "license_name": rules.licence}
    )
    part = "train" if rules.split == "training" else "test"
    # One repository has one reader, so every configuration is Parquet; JSON lines lie beside.
    names = [name for name, rows in manifest.rows.items() if rows and name.endswith(".parquet")]
    configs = [{"config_name": Path(name).stem, "data_files": [{"split": part, "path": name}]} for name in names]
    return {
        "pretty_name": rules.title,
        "language": [rules.language],
        **known,
        "task_categories": _TASKS[rules.form.tab],
        "tags": ["audio", "speech", "emotion", "human-feedback"],
        "configs": configs,
    }


def _intro(source: Source, manifest: Manifest) -> str:
    rules = source.results.rules
    return (
        f"# {rules.title}\n\nRatings by people, made with Emotion Omni Studio. Template: **{rules.form.title}** (`{rules.template}`). "
        f"Split: **{rules.split}**. Language of the recordings: {rules.language}. Licence: {rules.licence}.\n\n"
        f"Made by {manifest.exporter} from an event log of {manifest.log_sequence} events (SHA-256 `{manifest.log_sha256}`); "
        "the same log gives the same files. `manifest.json` has a SHA-256 for each of them."
    )


_FILES = {
    "ratings": "one row for each answer to each question, of all raters; the source of everything else. `kind`: `rate` ordinary, "
    "`repeat` a hidden repeat, `trap` and `gold` items with a known answer (`right`). `outcome` and `reasons`: the verdict on the rater. "
    "`value` is about the item's own answers a and b; `side` says whether the page showed them swapped, `value_on_page` what was picked",
    "items": "the items: texts, systems, the model's guess, provenance (`about`, JSON text), names of sound files",
    "audio": "the original sounds as FLAC, named by their SHA-256",
    "sft": "conversations (`messages`) with an answer that a rater wrote (`corrected`), left as it was (`unchanged`), or that was "
    "`approved`; also as `text`, `emotion`, `event`, `reply`, `reply_emotion`",
    "dpo": "preferences with an explicit prompt",
    "kto": "single answers with a label, good or bad",
    "reward": "preferences with an implicit prompt",
    "emotion": f"recordings with a label (majority, empty on a tie), soft labels over {', '.join(emotion.NAMES)}, mean valence, "
    "arousal and dominance (1 to 7)",
}


def _files_part(source: Source, manifest: Manifest) -> str:
    rows = [
        f"| `{name}` | {count} | {_FILES[Path(name).stem] if name != twin else 'the same as JSON lines'} |"
        for name, count in manifest.rows.items()
        for twin in [f"{Path(name).stem}.jsonl"]
    ]
    return "\n".join(["## Files", "", "| File | Rows | What it holds |", "|---|---|---|", *rows])


def _training_part(source: Source, manifest: Manifest) -> str:
    made = [name for name in TRAINING if f"{name}.parquet" in manifest.rows]
    if source.results.rules.split != "training":
        return "## Training files\n\nNone: this is an evaluation study. Its items measure models, so none of them may be trained on."
    if not made:
        return "## Training files\n\nNone: no item gives a row (see below)."
    weights, smoothing = manifest.kto_weights, manifest.label_smoothing
    robust = f"Robust DPO: the mean of `flip_rate`, for `label_smoothing`, is {smoothing:.3f}. " if smoothing else ""
    told = (
        f"KTO: with `desirable_weight={weights['desirable_weight']}` and `undesirable_weight={weights['undesirable_weight']}` "
        "the weighted labels lie between 1:1 and 4:3. "
        if weights
        else "The rows for KTO have one label only, and it needs both. "
    )
    return (
        "## Training files\n\nEvery row names its item, raters (pseudonyms), scale versions, sounds, systems and how far the raters agree. "
        "Messages hold words only; columns `*_file_name` point to the sounds. `margin`: log-odds of the posterior mean share of votes, "
        "ties half, prior Beta(1, 1). `flip_rate`: the posterior probability that most people would in truth choose the other answer, "
        "below 0.5. In corrections, a rater who changed an answer counts as a vote against it. Soft labels: (count + 0.5) / (n + 4). "
        "`emotion` is that of the query, as stated with the recording or as a model heard it (`emotion_source`). `event`, what the words "
        "tell of, is empty where the item does not state it. `agreement` and `alpha`: Krippendorff's alpha of the main question over the "
        f"whole study.\n\n{told if 'kto' in made else ''}{robust}Trainers that know no sound read these rows as text."
    )


def _left_out_part(source: Source, manifest: Manifest) -> str:
    results = source.results
    flagged = [
        row for row in results.ratings if row["kind"] == "rate" and results.verdicts[row["rater"]].outcome == "flagged"
    ]
    rows = [f"| {reason} | {count} | {_REASONS[reason]} |" for reason, count in manifest.excluded.items()] or [
        "| – | 0 | nothing |"
    ]
    return "\n".join(
        [
            "## What is left out of the training files",
            "",
            "| Reason | Items | Meaning |",
            "|---|---|---|",
            *rows,
            "",
            f"An item may be left out of one file and be in another. {len(flagged)} ordinary ratings by flagged raters count in no training "
            "row; they are in `ratings.parquet`. Hidden repeats, traps and gold items are never trained on.",
        ]
    )


def _raters_part(source: Source, manifest: Manifest) -> str:
    results = source.results
    outcomes = Counter(verdict.outcome for verdict in results.verdicts.values())
    reasons = Counter(
        "researcher's decision" if reason.startswith("researcher:") else reason
        for verdict in results.verdicts.values()
        if verdict.outcome == "flagged"
        for reason in verdict.reasons
    )
    why = "; ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items())) or "none"
    kinds = Counter(row["kind"] for row in results.ratings)
    rules = results.rules
    return (
        f"## Raters\n\n{len(results.verdicts)} raters: {outcomes['kept']} kept, {outcomes['flagged']} flagged, "
        f"{outcomes['could-not-check']} could not be checked (they count like those kept, since nothing speaks against them). "
        f"Reasons for flags: {why}. "
        f"{kinds['rate']} ordinary ratings, {kinds['repeat']} hidden repeats, {kinds['trap']} traps, {kinds['gold']} gold items; "
        f"{rules.ratings_per_item} ratings an item were wanted.\n\nRecruitment, pay, age and origin: not stated. "
        f"{_survey(source.surveys, rules.language)}"
    )


def _survey(surveys: Sequence[Mapping[str, Any]], language: str) -> str:
    if not surveys:
        return "The closing survey: no answers."
    told = []
    for scale in SURVEY:
        counts = Counter(str(survey[scale.name]) for survey in surveys if scale.name in survey)
        if scale.values:
            question = translated(scale.question, language)
            told.append(
                f"“{question}” {', '.join(f'{value}: {count}' for value, count in sorted(counts.items())) or 'no answers'}."
            )
    return f"The closing survey, {len(surveys)} answers: " + " ".join(told)


def _agreement_part(source: Source, manifest: Manifest) -> str:
    rows = [_agreement_row(scale, one) for scale, all_ in source.agreement.items() for one in all_]
    head = [
        "## Agreement",
        "",
        "Over raters who are not flagged, with 95 % intervals from resampling items.",
        "",
        "| Question | Coefficient | Value | Interval | Items | Raters | Note |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + rows)


def _agreement_row(scale: str, one: Agreement) -> str:
    value = "–" if one.value is None else f"{one.value:.3f}"
    between = "–" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
    return f"| {scale} | {one.name} | {value} | {between} | {one.items} | {one.raters} | {one.reason} |"


def _instructions_part(source: Source, manifest: Manifest) -> str:
    rules = source.results.rules
    read = translated(rules.instructions or rules.form.instructions, rules.language)
    return "\n".join(["## Instructions that raters read", "", *(f"- {line}" for line in read)])


def _scales_part(source: Source, manifest: Manifest) -> str:
    rules = source.results.rules
    return "\n".join(
        ["## Questions, word for word", "", *(_scale_line(scale, rules.language) for scale in rules.form.asked(True))]
    )


def _scale_line(scale: Scale, language: str) -> str:
    form = translated(scale.form(), language)
    options = "; ".join(f"`{option['value']}` {option['words']}" for option in form["options"])
    points = f"{scale.low} to {scale.high}: " + "; ".join(
        f"{point} {words}" for point, words in form["anchors"].items()
    )
    answers = {"points": points, "choice": options, "several": f"any of {options}"}.get(scale.kind, "free text")
    asked = f" Asked only where {scale.show_if[0]} is {' or '.join(scale.show_if[1])}." if scale.show_if else ""
    hint = f" ({form['hint']})" if scale.hint else ""
    name = f"**{scale.name}**, version {version(scale.version, language)}, {scale.level}"
    return f"- {name}: “{form['question']}”{hint} {answers}.{asked}"


def _consent_part(source: Source, manifest: Manifest) -> str:
    rules = source.results.rules
    text = [f"> - {line}" for line in translated((*(rules.consent or CONSENT), *STATEMENTS), rules.language)]
    given = sum(bool(item["contributor"]) for item in source.items)
    return "\n".join(
        [
            "## Consent",
            "",
            f"{len(source.consents)} raters agreed to this text:",
            "",
            *text,
            "",
            f"{given} items hold the voice of somebody who gave it in the studio and may take it back (`contributed`). Consent of the speakers "
            "of all other recordings: not stated. Who withdraws is erased from the store and from every later export; replace older copies.",
        ]
    )


def _limits_part(source: Source, manifest: Manifest) -> str:
    return (
        "## Limits\n\n"
        f"- Raters heard the sounds equalised ({clips.HZ} Hz, {clips.LUFS:g} LUFS, silence trimmed); the files here are the originals.\n"
        "- `heard` is the share of a clip that a browser reported as played, checked on the server against the clock. Nobody can know "
        "whether somebody listened.\n"
        "- Transcripts come with the recordings or from a recogniser, and may be wrong. Texts that raters wrote are as they wrote them.\n"
        "- The split lock knows the evaluation studies of this store at the time of export, and no other data set. Near duplicates are "
        f"found by shared words (Jaccard index of {float(NEAR):g} or more), not by meaning.\n"
        "- Few raters give wide intervals: read the agreement table before trusting a label."
    )
