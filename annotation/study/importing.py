"""Making studies: rules and items from a file, a folder, a manifest, saved turns, or whole engines.

Everything that enters becomes an item with equalised clips under opaque names. What a rater must not know
(which engine spoke, what a model heard, the true label) stays in the item's content on the server.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import struct
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from annotation.store.store import Store
from annotation.store.transaction import Transaction
from annotation.study import checks
from annotation.study.clips import Clips
from annotation.study.schema import STATES, TEMPLATES, Study, Template, check_answers
from emotion_omni import audio, emotion
from emotion_omni.engine import Engine
from emotion_omni.types import Audio, Done, EmotionOmniError, Heard, Plan, Speech, Text, Turn

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".webm", ".opus")
MOST_ITEMS = 50_000
LARGEST_UNPACKED = 4 * 2**30  # bytes of an uploaded archive
PRACTICE = {"emotion": "emotion-recognition", "empathy": "empathy", "compare": "compare"}

# Everything that Python's zip reader raises over a damaged, locked or exotic archive.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)

Item = dict[str, Any]
Progress = Callable[[int, int, str], None]


def no_progress(done: int, wanted: int, what: str) -> None:
    """For callers that show none."""


def create(
    store: Store, clips: Clips, rules: Study, items: Sequence[Item], by: str | None = None, study: str = ""
) -> str:
    """A new study with its items and the checks of its template → its id."""
    study = study or "s" + uuid.uuid4().hex[:12]
    with_checks = [*items, *checks.items(rules.form, clips)]
    rows = [_row(item) for item in with_checks]

    def add(transaction: Transaction) -> str:
        if transaction.study(study):
            raise EmotionOmniError(f"There is a study {study!r} already.", "taken")
        transaction.record("study.created", study=study, settings=rules.settings(), state="open", by=by)
        transaction.record("items.added", study=study, items=rows)
        return study

    return store.write(add)


def add_items(store: Store, study: str, items: Sequence[Item]) -> int:
    """More items for a study that exists. A contributor's item gets an event of its own, so that it can be erased alone."""
    rows = [_row(item) for item in items]

    def add(transaction: Transaction) -> int:
        if transaction.study(study) is None:
            raise EmotionOmniError("There is no such study.", "not-found")
        shared = [row for row in rows if not row["contributor"]]
        for group in [shared, *([row] for row in rows if row["contributor"])]:
            if group:
                transaction.record("items.added", study=study, items=group)
        return len(rows)

    return store.write(add)


def set_state(store: Store, study: str, state: str) -> None:
    if state not in STATES:
        raise EmotionOmniError(f"{state!r} is no state. Choose one of {', '.join(STATES)}.", "bad-setting")
    store.write(lambda transaction: transaction.record("study.changed", study=study, state=state))


def delete(store: Store, clips: Clips, study: str) -> None:
    """The study, its items and ratings, and the sounds that nothing else uses."""
    with store.read() as view:
        gone = view.items(study)
    store.write(lambda transaction: transaction.record("study.deleted", study=study))
    clean(store, clips, gone)


def clean(store: Store, clips: Clips, gone: Iterable[Item]) -> int:
    """Delete the sounds of items that are gone, where no other holds them, and what a crash has left → how many."""
    theirs = {
        sha
        for item in gone
        for clip in item["content"].get("clips", {}).values()
        for sha in (clip["sha"], clip["played"])
    }
    with store.read() as view:
        return clips.keep_only(view.clips_in_use(), theirs)


def practice(store: Store, clips: Clips, tab: str) -> str:
    """The built-in study of a tab, made when it is first wanted: our own voice, open to all, without limit."""
    if tab not in PRACTICE:
        raise EmotionOmniError(f"There is no tab {str(tab)[:20]!r}.", "not-found")
    study = f"practice-{tab}"
    with store.read() as view:
        if view.study(study):
            return study
    rules = Study.read(
        {"title": "Practice", "template": PRACTICE[tab], "ratings_per_item": 1000, "block_size": 5, "training_right": 0}
    )
    try:
        return create(store, clips, rules, _practice_items(rules.form, clips), study=study)
    except EmotionOmniError as error:
        if error.code != "taken":  # somebody else was quicker
            raise
        return study


def _practice_items(template: Template, clips: Clips) -> list[Item]:
    if template.tab == "emotion":
        return [
            item({"speech": checks.spoken(name)}, clips, {"speech": checks.LINES[name].text})
            for name in emotion.NAMES
            if name in checks.LINES
        ]
    pairs = [
        ("asks-dog", "kind-dog", "cold-dog"),
        ("asks-exam", "cold-exam", "kind-exam"),
        ("asks-job", "kind-job", "cold-job"),
    ]
    if template.name == "compare":
        return [_practice_item(dict(zip(("query", "a", "b"), names, strict=True)), clips) for names in pairs]
    return [_practice_item({"query": ask, "reply": reply}, clips) for ask, *replies in pairs for reply in replies]


def _practice_item(lines: Mapping[str, str], clips: Clips) -> Item:
    texts = {role: checks.LINES[name].text for role, name in lines.items()}
    return item({role: checks.spoken(name) for role, name in lines.items()}, clips, texts)


# --- items ------------------------------------------------------------------------------------------------------


def item(sounds: Mapping[str, Audio], clips: Clips, texts: Mapping[str, str] | None = None, **more: Any) -> Item:
    """One item. ``more``: family, expected (makes it gold), contributor, guess, systems, and provenance as ``about``."""
    content = {"clips": {role: clips.add(sound) for role, sound in sounds.items()}, "texts": dict(texts or {})}
    content |= {name: more[name] for name in ("guess", "systems", "about", "planned") if more.get(name)}
    made = {name: more.get(name) for name in ("family", "expected", "contributor")}
    return made | {"role": "gold" if more.get("expected") else "rate", "content": content}


def in_modes(made: Item, sound: Audio, clips: Clips) -> list[Item]:
    """An item of *words vs voice* three times: transcript only, voice with its words masked, both. One family: no rater gets two."""
    family = made["family"] or uuid.uuid4().hex
    found = []
    for mode in ("words", "voice", "both"):
        clip = clips.add_masked(sound) if mode == "voice" else made["content"]["clips"]["speech"]
        content = made["content"] | {"mode": mode, "clips": {"speech": clip}}
        found.append(made | {"family": family, "content": content})
    return found


def _row(made: Item) -> Item:
    name = "i" + uuid.uuid4().hex[:16]
    return made | {
        "id": name,
        "family": made.get("family") or name,
        "expected": made.get("expected"),
        "contributor": made.get("contributor"),
    }


@dataclass(frozen=True)
class Source:
    """Where the files of a manifest come from: a folder, or an archive that was uploaded."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]

    @classmethod
    def folder(cls, path: Path) -> Source:
        names = tuple(sorted(str(file.relative_to(path).as_posix()) for file in path.rglob("*") if file.is_file()))
        return cls(names, lambda name: (path / name).read_bytes())

    @classmethod
    def archive(cls, path: Path) -> Source:
        """A zip file. Nothing of it is written to disk, so a name in it cannot point anywhere."""
        try:
            file = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise EmotionOmniError(
                "This is no zip file, or it is cut off. Pack the recordings and a manifest again.", "bad-archive"
            ) from error
        entries = [
            entry for entry in file.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")
        ]
        if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED or len(entries) > 2 * MOST_ITEMS:
            raise EmotionOmniError(
                f"The archive unpacks to more than {LARGEST_UNPACKED // 2**30} GB. Split it.", "too-large"
            )

        def read(name: str) -> bytes:
            try:
                with file.open(name) as entry:
                    return entry.read(audio.LARGEST_BYTES + 1)
            except _BROKEN as error:
                told = f"{name[:80]!r} cannot be unpacked ({error}). Pack it again, without a password."
                raise EmotionOmniError(told, "bad-archive") from error

        return cls(tuple(sorted(entry.filename for entry in entries)), read)

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self.names)

    def get(self, name: str) -> bytes:
        """Only what the source itself lists: a manifest cannot reach outside."""
        wanted = str(PurePosixPath(name))
        if wanted not in self._listed:
            raise EmotionOmniError(f"The manifest names {name[:80]!r}, which is not there.", "missing")
        return self.read(wanted)


def read_source(
    source: Source, clips: Clips, overrides: Mapping[str, Any] | None = None, progress: Progress = no_progress
) -> tuple[Study, list[Item]]:
    """A study from a source: ``study.yaml`` (rules), ``items.jsonl`` or ``items.csv`` (a row an item), or recordings alone."""
    settings = dict(overrides or {})
    for name in source.names:
        if PurePosixPath(name).name in ("study.yaml", "study.yml"):
            settings = read_yaml(source.get(name)) | settings
    rules = Study.read(settings)
    try:
        rows = list(islice(_manifest(source, rules), MOST_ITEMS + 1))
    except csv.Error as error:
        raise EmotionOmniError(f"The table cannot be read: {error}.", "bad-manifest") from error
    if not rows:
        raise EmotionOmniError(
            f"No items were found. Give items.jsonl, items.csv, or recordings ({', '.join(AUDIO_ENDINGS)}).", "empty"
        )
    if len(rows) > MOST_ITEMS:
        raise EmotionOmniError(f"These are too many items for one study; {MOST_ITEMS} are allowed.", "too-large")
    found: list[Item] = []
    for number, row in enumerate(rows, 1):
        progress(number, len(rows), "Reading recordings")
        try:
            found += _from_row(row, rules, source, clips)
        except EmotionOmniError as error:
            raise EmotionOmniError(f"Item {number}: {error}", error.code) from error
    return rules, found


def read_yaml(data: bytes) -> dict[str, Any]:
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(data, Loader=yaml.SafeLoader)):
            raise EmotionOmniError("study.yaml may have no aliases (*name). Write the value out.", "bad-yaml")
        settings = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EmotionOmniError(f"study.yaml is no valid YAML: {error}", "bad-yaml") from error
    if not isinstance(settings, dict):
        raise EmotionOmniError("study.yaml must be a list of settings, such as 'title: My study'.", "bad-yaml")
    return settings


def _manifest(source: Source, rules: Study) -> Iterator[Mapping[str, Any]]:
    for name in source.names:
        match PurePosixPath(name).name:
            case "items.jsonl":
                yield from _json_lines(source.get(name))
                return
            case "items.csv" | "manifest.csv":
                text = source.get(name).decode("utf-8-sig", "replace")
                yield from (
                    {key: value for key, value in row.items() if value} for row in csv.DictReader(io.StringIO(text))
                )
                return
    if rules.form.clips != ("speech",):
        raise EmotionOmniError(
            f"{rules.form.title} needs items.jsonl with {', '.join(rules.form.clips)} for each item.", "missing"
        )
    for name in source.names:
        if name.lower().endswith(AUDIO_ENDINGS):
            yield {"speech": name}


def _json_lines(data: bytes) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"items.jsonl, line {number}, is no JSON: {error}.", "bad-manifest") from error
        if not isinstance(row, dict):
            raise EmotionOmniError(f"items.jsonl, line {number}, is no object.", "bad-manifest")
        yield row


def _no_number(name: str) -> None:
    """Python reads NaN and Infinity; JSON has none, and no database keeps them."""
    raise ValueError(f"{name} is no number")


def _from_row(row: Mapping[str, Any], rules: Study, source: Source, clips: Clips) -> list[Item]:
    """A row: a path for each clip; optional text_ROLE, family, guess, guess_probability, system(_ROLE), expected.

    The rest is provenance."""
    roles = rules.form.clips
    missing = [role for role in roles if not row.get(role)]
    if missing:
        raise EmotionOmniError(f"it has no {missing[0]!r}; {rules.form.title} needs {', '.join(roles)}.", "missing")
    sounds = {role: audio.decode(source.get(str(row[role]))) for role in roles}
    texts = {role: str(row[f"text_{role}"]) for role in roles if row.get(f"text_{role}")}
    systems = {role: str(row[f"system_{role}"]) for role in roles if row.get(f"system_{role}")}
    used = {
        *roles,
        *(f"text_{role}" for role in roles),
        *(f"system_{role}" for role in roles),
        "family",
        "guess",
        "guess_probability",
        "system",
        "expected",
    }
    about = {str(key): value for key, value in row.items() if key not in used}
    if row.get("system"):
        systems["reply" if "reply" in roles else roles[0]] = str(row["system"])
    made = item(
        sounds,
        clips,
        texts,
        family=row.get("family") and str(row["family"])[:80],
        guess=_guess(row),
        systems=systems,
        about=about,
        expected=_expected(row, rules),
    )
    if rules.template != "words-voice":
        return [made]
    if not texts.get("speech"):
        raise EmotionOmniError("it has no 'text_speech'; words against voice needs the transcript.", "missing")
    return in_modes(made, sounds["speech"], clips)


def _guess(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row.get("guess"):
        return None
    return {"label": emotion.find(str(row["guess"])).name, "probability": _probability(row.get("guess_probability"))}


def _probability(given: Any) -> float | None:
    if given in (None, ""):
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        raise EmotionOmniError(f"guess_probability = {str(given)[:40]!r} must be a number from 0 to 1.", "bad-manifest")
    return value


def _expected(row: Mapping[str, Any], rules: Study) -> dict[str, Any] | None:
    """{scale: value}, or the value of the template's main scale."""
    given = row.get("expected")
    if not given:
        return None
    if isinstance(given, str) and given.startswith("{"):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise EmotionOmniError(f"expected = {given[:60]!r} is no JSON: {error}.", "bad-manifest") from error
    wanted = given if isinstance(given, dict) else {rules.form.main: given}
    known = {scale.name: scale for scale in rules.form.asked(True)}
    for name, value in wanted.items():
        scale = (known[name],) if name in known else ()
        for one in _each_value(value):
            check_answers(scale, {name: one})
    return wanted


def _each_value(wanted: Any) -> list[Any]:
    """The values that an expectation names: one, a list of them, or the ends of a range."""
    if not isinstance(wanted, dict):
        return wanted if isinstance(wanted, list) else [wanted]
    if not wanted or not set(wanted) <= {"low", "high"}:
        raise EmotionOmniError(
            f"expected: {str(wanted)[:60]} must be a value, a list of values, or low and high.", "bad-manifest"
        )
    return list(wanted.values())


# --- in bulk, by engines ----------------------------------------------------------------------------------------


def produce(
    engines: Sequence[tuple[str, Engine]],
    queries: Sequence[tuple[str, Audio]],
    rules: Study,
    clips: Clips,
    seed: int = 0,
    progress: Progress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[Item], list[str]]:
    """Answer every query with every engine → items of the template, and what could not be answered.

    Comparison needs two engines, or one that is asked with two seeds.
    """
    if rules.template == "compare" and len(engines) == 1:
        engines = [*engines, engines[0]]
    found, refused, total = [], [], len(queries) * len(engines)
    for number, (name, query) in enumerate(queries):
        answers = []
        for place, (engine_name, engine) in enumerate(engines):
            if stopped():
                return found, refused
            progress(number * len(engines) + place, total, f"{engine_name} answers")
            try:
                answers.append(answer(engine, query, seed + (place if rules.template == "compare" else 0)))
            except EmotionOmniError as error:
                refused.append(f"{name}: {error}")
        found += _answered(name, query, answers, rules, clips)
    progress(total, total, "Done")
    return found, refused


@dataclass(frozen=True)
class Answer:
    """What an engine made of a query."""

    engine: str
    heard: Heard
    planned: str
    text: str
    speech: Audio | None
    seed: int
    timings: Mapping[str, float]

    def about(self) -> dict[str, Any]:
        felt = self.heard.emotion
        return {
            "engine": self.engine,
            "seed": self.seed,
            "planned": self.planned,
            "transcript": self.heard.transcript,
            "heard": {name: round(value, 4) for name, value in felt.probabilities.items()},
            "valence": round(felt.valence, 4),
            "arousal": round(felt.arousal, 4),
            "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
        }


def answer(engine: Engine, query: Audio, seed: int = 0) -> Answer:
    heard, planned, text, sounds, timings = None, "", "", [], {}
    for event in engine.respond(Turn(query), seed=seed):
        match event:
            case Heard():
                heard = event
            case Plan():
                planned = event.emotion
            case Text():
                text += event.piece
            case Speech():
                sounds.append(event.audio)
            case Done():
                timings = event.timings
    return Answer(engine.name, heard, planned, text.strip(), audio.join(sounds) if sounds else None, seed, timings)


def _answered(name: str, query: Audio, answers: Sequence[Answer], rules: Study, clips: Clips) -> list[Item]:
    spoken = [one for one in answers if one.speech is not None]
    family = f"{name}"[:80]
    if not spoken:
        return []
    if rules.template == "compare":
        if len(spoken) < 2:
            return []
        a, b = spoken[:2]
        return [
            item(
                {"query": query, "a": a.speech, "b": b.speech},
                clips,
                {"query": a.heard.transcript, "a": a.text, "b": b.text},
                family=family,
                systems={"a": a.engine, "b": b.engine},
                about={"a": a.about(), "b": b.about(), "source": name},
            )
        ]
    if rules.form.clips == ("speech",):
        made = item(
            {"speech": query},
            clips,
            {"speech": spoken[0].heard.transcript},
            family=family,
            guess=guess_of(spoken[0].heard),
            systems={"speech": spoken[0].engine},
            about=spoken[0].about() | {"source": name},
        )
        return in_modes(made, query, clips) if rules.template == "words-voice" else [made]
    return [answered_item(query, one, clips, source=name) for one in spoken]


def answered_item(
    query: Audio, one: Answer, clips: Clips, source: str = "", contributor: str | None = None, **more: Any
) -> Item:
    """A query and its answer, for rating the answer."""
    return item(
        {"query": query, "reply": one.speech},
        clips,
        {"query": one.heard.transcript, "reply": one.text},
        contributor=contributor,
        systems={"reply": one.engine},
        guess=guess_of(one.heard),
        about=one.about() | {"source": source} | more,
    )


LIVE = "live-turns"


def save_turn(
    store: Store, clips: Clips, query: Audio, one: Answer, corrections: Mapping[str, str], study: str = ""
) -> str:
    """A live turn that its speaker gives to research → the code with which the speaker can take it back.

    Without a ``study`` it goes to "Live turns", which rests until a researcher opens it.
    """
    if one.speech is None:
        raise EmotionOmniError("This turn has no spoken reply yet. Wait until it is finished.", "missing")
    code = uuid.uuid4().hex
    with store.read() as view:
        row = view.study(study or LIVE)
    if row is None and study:
        raise EmotionOmniError("There is no such study.", "not-found")
    rules = Study.read(row["settings"]) if row else Study.read({"title": "Live turns", "template": "empathy"})
    found = _answered("live turn", query, [one], rules, clips)
    if not found:
        raise EmotionOmniError(
            f"“{rules.title}” compares two answers; a single turn cannot be added to it.", "bad-template"
        )
    for made in found:
        made["contributor"] = code
        made["content"]["about"] = made["content"]["about"] | {"corrections": dict(corrections)}
    if row is None:
        with suppress(EmotionOmniError):  # two at once: the second finds it made
            create(store, clips, rules, [], study=LIVE)
            set_state(store, LIVE, "paused")
    add_items(store, study or LIVE, found)
    return code


def guess_of(heard: Heard) -> dict[str, Any]:
    return {"label": heard.emotion.label, "probability": round(heard.emotion.confidence, 3)}


def templates() -> Iterable[tuple[str, str]]:
    return ((template.title, template.name) for template in TEMPLATES.values())
