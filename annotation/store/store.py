"""The store of studies, raters and ratings. All SQL of the project is in this file.

Every change is an *event*: it is checked, applied to the database and appended to the event log (see
``log.py``) in one step, so that the log alone can rebuild the database. One writer thread takes the
operations that wait, runs them in one transaction, writes their events to the log with one fsync, then
commits: an operation returns only when both are on disk. If a crash falls between the two, the next
start replays what the database lacks. SQLite (WAL, synchronous=FULL) by default; PostgreSQL by URL.

Knows nothing of scales, screens or people: what may be done is decided by its callers.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Column, Connection, Float, Index, Integer, MetaData, String, Table, select

from annotation.store.event_log import UNKNOWN, Event, EventLog
from annotation.study.rules import TASK_KINDS
from emotion_omni.types import EmotionOmniError

Result = TypeVar("Result")
Row = dict[str, Any]
BATCH = 256  # operations at most that share one commit
MIGRATING = 0x0E0_57D10  # PostgreSQL advisory lock: one process at a time makes tables

tables = MetaData()
meta = Table("meta", tables, Column("name", String(40), primary_key=True), Column("value", BigInteger, nullable=False))
studies = Table(
    "studies",
    tables,
    Column("id", String(40), primary_key=True),
    Column("state", String(12), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("owner", String(40)),
    Column("created", Float, nullable=False),
)
items = Table(
    "items",
    tables,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("role", String(12), nullable=False),
    Column("family", String(80), nullable=False),
    Column("content", JSON, nullable=False),
    Column("expected", JSON),
    Column("contributor", String(40)),
    Column("shuffle", Float, nullable=False),
    Column("claimed", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("flipped", Integer, nullable=False),
    Column("disagreement", Float, nullable=False),
    Index("items_next", "study", "role", "claimed", "shuffle"),
    Index("items_contributor", "contributor"),
)
raters = Table(
    "raters",
    tables,
    Column("id", String(40), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("account", String(120), unique=True),
    Column("secret", String(200)),
    Column("role", String(12), nullable=False),
    Column("cohort", String(80), nullable=False),
    Column("created", Float, nullable=False),
)
enrolments = Table(
    "enrolments",
    tables,
    Column("study", String(40), primary_key=True),
    Column("rater", String(40), primary_key=True),
    Column("phase", String(16), nullable=False),
    Column("block", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("block_began", Float),
    Column("done", Integer, nullable=False),
    Column("trained", Integer, nullable=False),
    Column("answers", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Index("enrolments_rater", "rater"),
)
assignments = Table(
    "assignments",
    tables,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("rater", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("family", String(80), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("block", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("flip", Integer, nullable=False),
    Column("guess", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("created", Float, nullable=False),
    Index("assignments_rater", "study", "rater", "family"),
    Index("assignments_open", "study", "rater", "state"),
    Index("assignments_lease", "state", "leased_until"),
    Index("assignments_item", "item"),
)
ratings = Table(
    "ratings",
    tables,
    Column("id", String(40), primary_key=True),
    Column("assignment", String(40), nullable=False, unique=True),
    Column("study", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("rater", String(40), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("answers", JSON, nullable=False),
    Column("right", Integer),
    Column("heard", JSON, nullable=False),
    Column("seconds", Float),
    Column("clicks", JSON),
    Column("at", Float, nullable=False),
    Index("ratings_item", "item"),
    Index("ratings_rater", "study", "rater"),
)
decisions = Table(
    "decisions",
    tables,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("subject", String(8), nullable=False),
    Column("item", String(40)),
    Column("rater", String(40)),
    Column("scale", String(40)),
    Column("value", JSON),
    Column("reason", String(400), nullable=False),
    Column("by", String(40), nullable=False),
    Column("at", Float, nullable=False),
    Index("decisions_study", "study"),
)


# --- migrations -------------------------------------------------------------------------------------------------
# Each brings a database one version up, once. They are never edited after a release: a change is a new one, and the
# form that its table had until then is written out in the migrations before it.


def m001_first(connection: Connection) -> None:
    tables.create_all(connection, tables=[meta, studies, items, raters, enrolments, assignments, ratings])
    connection.execute(meta.insert(), [{"name": "applied", "value": 0}, {"name": "erasing", "value": 0}])


def m002_decisions(connection: Connection) -> None:
    """Adjudications and verdicts of a researcher."""
    decisions.create(connection)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (m001_first, m002_decisions)


def migrate(connection: Connection, to: int | None = None) -> int:
    """Bring a database to a version (default: the newest) and return it."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(sa.func.pg_advisory_xact_lock(MIGRATING)))
    version = Table("version", MetaData(), Column("number", Integer, nullable=False))
    version.create(connection, checkfirst=True)
    at = connection.execute(select(version.c.number)).scalar()
    if at is None:
        connection.execute(version.insert().values(number=0))
        at = 0
    if at > len(MIGRATIONS):
        raise EmotionOmniError(
            f"This database has version {at}; this program knows versions up to {len(MIGRATIONS)}. Update the program.",
            "too-new",
        )
    for number in range(at, len(MIGRATIONS) if to is None else to):
        MIGRATIONS[number](connection)
        connection.execute(version.update().values(number=number + 1))
    return connection.execute(select(version.c.number)).scalar_one()


# --- statements -------------------------------------------------------------------------------------------------
# Building a statement costs more than running it, so those that every rating needs are built once.


@cache
def _found_by(table: Table, *names: str) -> sa.Select:
    return select(table).where(*(table.c[name] == sa.bindparam(name) for name in names))


@cache
def _insert(table: Table) -> sa.Insert:
    return table.insert()


@cache
def _set(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> sa.Update:
    """Set columns where the keys match; parameters are the names, and the keys after ``key_``."""
    matching = (table.c[key] == sa.bindparam(f"key_{key}") for key in keys)
    return table.update().where(*matching).values({name: sa.bindparam(name) for name in names})


@cache
def _step_by(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> sa.Update:
    """Add to columns where the keys match; parameters are the names after ``by_``, and the keys after ``key_``."""
    matching = (table.c[key] == sa.bindparam(f"key_{key}") for key in keys)
    return table.update().where(*matching).values({name: table.c[name] + sa.bindparam(f"by_{name}") for name in names})


@cache
def _candidates(by_disagreement: bool) -> sa.Select:
    met = select(assignments.c.id).where(
        assignments.c.study == sa.bindparam("study"),
        assignments.c.rater == sa.bindparam("rater"),
        assignments.c.family == items.c.family,
        assignments.c.state != "expired",
    )
    order = ([items.c.disagreement.desc()] if by_disagreement else []) + [items.c.claimed, items.c.shuffle]
    free = (
        items.c.study == sa.bindparam("study"),
        items.c.role == "rate",
        items.c.claimed < sa.bindparam("wanted"),
        ~met.exists(),
    )
    return select(items).where(*free).order_by(*order).limit(sa.bindparam("most"))


_HELD = _found_by(assignments, "study", "rater", "state").order_by(assignments.c.created.desc()).limit(1)
_EXPIRED = (
    select(assignments.c.id)
    .where(assignments.c.state == "open", assignments.c.leased_until < sa.bindparam("now"))
    .limit(sa.bindparam("most"))
)


# --- reading ----------------------------------------------------------------------------------------------------


class View:
    """Questions to the database, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def study(self, study: str) -> Row | None:
        return self._one(_found_by(studies, "id"), id=study)

    def studies(self) -> list[Row]:
        return self._all(select(studies).order_by(studies.c.created, studies.c.id))

    def item(self, item: str) -> Row | None:
        return self._one(_found_by(items, "id"), id=item)

    def items(self, study: str, role: str | None = None, limit: int | None = None) -> list[Row]:
        chosen = select(items).where(items.c.study == study).order_by(items.c.id).limit(limit)
        return self._all(chosen.where(items.c.role == role) if role else chosen)

    def families(self, study: str) -> int:
        """How many different things there are to rate."""
        wanted = select(sa.func.count(items.c.family.distinct())).where(items.c.study == study, items.c.role == "rate")
        return self.connection.execute(wanted).scalar_one()

    def rater(self, rater: str) -> Row | None:
        return self._one(_found_by(raters, "id"), id=rater)

    def account(self, account: str) -> Row | None:
        return self._one(_found_by(raters, "account"), account=account)

    def raters(self, study: str | None = None) -> list[Row]:
        chosen = select(raters).order_by(raters.c.created, raters.c.id)
        enrolled = select(enrolments.c.rater).where(enrolments.c.study == study)
        return self._all(chosen.where(raters.c.id.in_(enrolled)) if study else chosen)

    def enrolment(self, study: str, rater: str) -> Row | None:
        return self._one(_found_by(enrolments, "study", "rater"), study=study, rater=rater)

    def enrolments(self, study: str | None = None, rater: str | None = None) -> list[Row]:
        chosen = select(enrolments).order_by(enrolments.c.created, enrolments.c.rater)
        if study:
            chosen = chosen.where(enrolments.c.study == study)
        return self._all(chosen.where(enrolments.c.rater == rater) if rater else chosen)

    def assignment(self, assignment: str) -> Row | None:
        return self._one(_found_by(assignments, "id"), id=assignment)

    def held(self, study: str, rater: str) -> Row | None:
        """The assignment that a rater has in hand."""
        return self._one(_HELD, study=study, rater=rater, state="open")

    def history(self, study: str, rater: str) -> list[Row]:
        """All that a rater was given, oldest first."""
        mine = select(assignments).where(assignments.c.study == study, assignments.c.rater == rater)
        return self._all(mine.order_by(assignments.c.created, assignments.c.slot))

    def candidates(self, study: str, rater: str, wanted: int, by_disagreement: bool, limit: int = 24) -> list[Row]:
        """Items still short of ratings whose family this rater has not met, the neediest first."""
        return self._all(_candidates(by_disagreement), study=study, rater=rater, wanted=wanted, most=limit)

    def expired(self, now: float, limit: int = 200) -> list[str]:
        return list(self.connection.execute(_EXPIRED, {"now": now, "most": limit}).scalars())

    def given(self, study: str, rater: str) -> int:
        """How many ordinary ratings a rater has given."""
        mine = (ratings.c.study == study, ratings.c.rater == rater, ratings.c.kind == "rate")
        return self.connection.execute(select(sa.func.count()).select_from(ratings).where(*mine)).scalar_one()

    def rating(self, submit: str) -> Row | None:
        return self._one(_found_by(ratings, "id"), id=submit)

    def rating_of(self, assignment: str) -> Row | None:
        return self._one(_found_by(ratings, "assignment"), assignment=assignment)

    def ratings(self, study: str, item: str | None = None, rater: str | None = None) -> list[Row]:
        """Ratings with what was shown: side, guess, block, slot, in order of arrival."""
        shown = [assignments.c[name] for name in ("flip", "guess", "block", "slot", "family")]
        chosen = (
            select(ratings, *shown)
            .join(assignments, assignments.c.id == ratings.c.assignment)
            .where(ratings.c.study == study)
        )
        if item:
            chosen = chosen.where(ratings.c.item == item)
        if rater:
            chosen = chosen.where(ratings.c.rater == rater)
        return self._all(chosen.order_by(ratings.c.at, ratings.c.id))

    def answers_to(self, item: str) -> list[dict]:
        chosen = select(ratings.c.answers).where(ratings.c.item == item, ratings.c.kind == "rate")
        return list(self.connection.execute(chosen).scalars())

    def decisions(self, study: str) -> list[Row]:
        return self._all(select(decisions).where(decisions.c.study == study).order_by(decisions.c.at, decisions.c.id))

    def counts(self, study: str) -> Row:
        """Items, ratings wanted so far given, raters, for the monitor."""
        mine = items.c.study == study
        total = select(sa.func.count(), sa.func.coalesce(sa.func.sum(items.c.done), 0)).where(
            mine, items.c.role == "rate"
        )
        found, done = self.connection.execute(total).one()
        people = select(sa.func.count()).select_from(enrolments).where(enrolments.c.study == study)
        skipped = (
            select(sa.func.count())
            .select_from(assignments)
            .where(assignments.c.study == study, assignments.c.state == "skipped")
        )
        return {
            "items": found,
            "done": int(done),
            "raters": self.connection.execute(people).scalar_one(),
            "skipped": self.connection.execute(skipped).scalar_one(),
        }

    def contributed(self, contributor: str) -> list[Row]:
        return self._all(select(items).where(items.c.contributor == contributor))

    def clips_in_use(self) -> set[str]:
        """The SHA-256 of every clip that some item still holds."""
        contents = self.connection.execute(select(items.c.content)).scalars()
        return {
            sha
            for content in contents
            for clip in content.get("clips", {}).values()
            for sha in (clip["sha"], clip["played"])
        }

    def applied(self) -> int:
        return self._number("applied")

    def _number(self, name: str) -> int:
        return self.connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one()

    def _one(self, query: sa.Select, **values: Any) -> Row | None:
        row = self.connection.execute(query, values).mappings().first()
        return dict(row) if row else None

    def _all(self, query: sa.Select, **values: Any) -> list[Row]:
        return [dict(row) for row in self.connection.execute(query, values).mappings()]


# --- writing ----------------------------------------------------------------------------------------------------


class Work(View):
    """A transaction that may also change things. ``record`` is the only way to."""

    def __init__(self, connection: Connection, applied: int) -> None:
        super().__init__(connection)
        self.sequence = applied
        self.events: list[Event] = []

    def record(self, event_name: str, /, **facts: Any) -> Event:
        """Something happened: apply it, and keep it for the log."""
        self.sequence += 1
        event = {"sequence": self.sequence, "event": event_name, "at": time.time()} | facts
        self.apply(event)
        self.events.append(event)
        return event

    def apply(self, event: Event) -> None:
        """The effect of an event. Replaying a log calls nothing else."""
        APPLY[event["event"]](self, event)

    def renew(self, assignment: str, until: float) -> None:
        """Longer leases are not history, so no event."""
        self._change(assignments, {"id": assignment}, leased_until=until)

    def _execute(self, statement: Any, *rows: Any) -> None:
        self.connection.execute(statement, *rows)

    def _add(self, table: Table, **row: Any) -> None:
        self._execute(_insert(table), row)

    def _change(self, table: Table, where: Row, **values: Any) -> None:
        if values:
            self._execute(
                _set(table, tuple(where), tuple(values)), values | {f"key_{key}": value for key, value in where.items()}
            )

    def _count(self, table: Table, where: Row, **steps: int) -> None:
        changes = {f"by_{name}": step for name, step in steps.items()}
        self._execute(
            _step_by(table, tuple(where), tuple(steps)), changes | {f"key_{key}": value for key, value in where.items()}
        )

    def _study_created(self, event: Event) -> None:
        row = {
            "id": event["study"],
            "state": event["state"],
            "settings": event["settings"],
            "owner": event["by"],
            "created": event["at"],
        }
        self._add(studies, **row)

    def _study_changed(self, event: Event) -> None:
        changes = {name: event[name] for name in ("state", "settings") if event.get(name) is not None}
        self._change(studies, {"id": event["study"]}, **changes)

    def _study_deleted(self, event: Event) -> None:
        for table in (ratings, assignments, enrolments, items, decisions):
            self._execute(table.delete().where(table.c.study == event["study"]))
        self._execute(studies.delete().where(studies.c.id == event["study"]))

    def _items_added(self, event: Event) -> None:
        zero = {"claimed": 0, "done": 0, "flipped": 0, "disagreement": 0.0}
        rows = [
            {name: item.get(name) for name in ("id", "role", "family", "content", "expected", "contributor")}
            | {"study": event["study"], "shuffle": random.Random(item["id"]).random()}
            | zero
            for item in event["items"]
        ]
        self._execute(_insert(items), rows)

    def _rater_joined(self, event: Event) -> None:
        row = {name: event.get(name) for name in ("name", "account", "secret", "role", "cohort")}
        self._add(raters, id=event["rater"], created=event["at"], **row)

    def _rater_changed(self, event: Event) -> None:
        changes = {name: event[name] for name in ("role", "cohort", "secret", "name") if event.get(name) is not None}
        self._change(raters, {"id": event["rater"]}, **changes)

    def _enrolled(self, event: Event) -> None:
        self._execute(
            enrolments.insert().values(
                study=event["study"],
                rater=event["rater"],
                phase="consent",
                block=0,
                slot=0,
                done=0,
                trained=0,
                answers={},
                created=event["at"],
            )
        )

    def _phase_changed(self, event: Event) -> None:
        names = ("phase", "block", "slot", "block_began", "trained", "answers")
        changes = {name: event[name] for name in names if name in event}
        self._change(enrolments, {"study": event["study"], "rater": event["rater"]}, **changes)

    def _assigned(self, event: Event) -> None:
        names = ("study", "rater", "item", "family", "kind", "block", "slot", "flip", "guess", "leased_until")
        row = {name: event[name] for name in names}
        self._add(assignments, id=event["assignment"], state="open", created=event["at"], **row)
        if event["kind"] == "rate":
            self._count(items, {"id": event["item"]}, claimed=1, flipped=event["flip"])

    def _rated(self, event: Event) -> None:
        names = ("assignment", "study", "item", "rater", "kind", "answers", "right", "heard", "seconds", "clicks", "at")
        self._add(ratings, id=event["submit"], **{name: event[name] for name in names})
        self._close(event, "done")
        if event["kind"] == "rate":
            again = event["reclaimed"]  # 1 where the lease had run out and the place was still free
            self._count(items, {"id": event["item"]}, done=1, claimed=again, flipped=again * event["flip"])
        if event.get("disagreement") is not None:
            self._change(items, {"id": event["item"]}, disagreement=event["disagreement"])
        self._step(event, done=int(event["kind"] in TASK_KINDS))

    def _skipped(self, event: Event) -> None:
        self._close(event, "skipped")
        if event["kind"] == "rate":
            self._count(items, {"id": event["item"]}, claimed=-1, flipped=-event["flip"])
        self._step(event, done=0)

    def _expired(self, event: Event) -> None:
        """The lease ran out: the item is free for others, the slot is still to be filled."""
        self._close(event, "expired")
        if event["kind"] == "rate":
            self._count(items, {"id": event["item"]}, claimed=-1, flipped=-event["flip"])

    def _close(self, event: Event, state: str) -> None:
        self._change(assignments, {"id": event["assignment"]}, state=state)

    def _step(self, event: Event, done: int) -> None:
        self._count(enrolments, {"study": event["study"], "rater": event["rater"]}, slot=1, done=done)

    def _decided(self, event: Event) -> None:
        names = ("study", "subject", "item", "rater", "scale", "value", "reason", "by", "at")
        self._add(decisions, id=event["decision"], **{name: event.get(name) for name in names})

    def _rater_withdrawn(self, event: Event) -> None:
        """Everything a rater gave, in one study or in all, is deleted; with all, the rater too."""
        mine = assignments.c.rater == event["rater"]
        where = [mine] if event["study"] is None else [mine, assignments.c.study == event["study"]]
        counted = select(assignments).where(
            *where, assignments.c.kind == "rate", assignments.c.state.in_(("open", "done"))
        )
        for row in self._all(counted):
            self._count(items, {"id": row["item"]}, claimed=-1, flipped=-row["flip"], done=-int(row["state"] == "done"))
        for table in (ratings, assignments, enrolments, decisions):
            gone = [table.c.rater == event["rater"]] + (
                [] if event["study"] is None else [table.c.study == event["study"]]
            )
            self._execute(table.delete().where(*gone))
        if event["study"] is None:
            self._execute(raters.delete().where(raters.c.id == event["rater"]))
        self._erase_from_log(event)

    def _contributor_withdrawn(self, event: Event) -> None:
        """A voice is taken back: its items go, and what was said of them."""
        theirs = select(items.c.id).where(items.c.contributor == event["contributor"]).scalar_subquery()
        for table in (ratings, assignments, decisions):
            self._execute(table.delete().where(table.c.item.in_(theirs)))
        self._execute(items.delete().where(items.c.contributor == event["contributor"]))
        self._erase_from_log(event)

    def _erased(self, event: Event) -> None:
        """A tombstone: what stood here belonged to somebody who has withdrawn. Another rater's progress is kept."""
        if "rater" in event:
            self._step(event, event["done"])

    def _erase_from_log(self, event: Event) -> None:
        """The newest withdrawal whose traces are still in the log."""
        self._execute(meta.update().where(meta.c.name == "erasing").values(value=event["sequence"]))

    def _erased_from_log(self, last: int) -> None:
        """Nothing is left to erase, unless somebody has withdrawn after event ``last``."""
        self._execute(meta.update().where(meta.c.name == "erasing", meta.c.value <= last).values(value=0))


APPLY: Mapping[str, Callable[[Work, Event], None]] = {
    "study.created": Work._study_created,
    "study.changed": Work._study_changed,
    "study.deleted": Work._study_deleted,
    "items.added": Work._items_added,
    "rater.joined": Work._rater_joined,
    "rater.changed": Work._rater_changed,
    "enrolled": Work._enrolled,
    "phase.changed": Work._phase_changed,
    "assigned": Work._assigned,
    "rated": Work._rated,
    "skipped": Work._skipped,
    "expired": Work._expired,
    "decided": Work._decided,
    "rater.withdrawn": Work._rater_withdrawn,
    "contributor.withdrawn": Work._contributor_withdrawn,
    "erased": Work._erased,
}


class Store:
    """Opens, migrates and catches up a store; then runs operations on it, one batch at a time."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.url = home, url or f"sqlite:///{home / 'studio.db'}"
        self.log = EventLog(home / "log", shared=True)
        self._writer, self._reader = _engine(self.url, writes=True), _engine(self.url, writes=False)
        self._closed = False
        self._waiting: queue.SimpleQueue[tuple[Callable[[Work], Any], Future] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True, name="store-writer")
        with self._writer.begin() as connection:
            migrate(connection)
        self._batch([])
        self._thread.start()
        self._finish_erasing()

    def write(self, operation: Callable[[Work], Result]) -> Result:
        """Run an operation; when this returns, its effect is on disk."""
        return self.enqueue(operation).result()

    def enqueue(self, operation: Callable[[Work], Result]) -> Future[Result]:
        if self._closed:
            raise EmotionOmniError(
                "The studio is shutting down. Try again in a moment; nothing that was saved is lost.", "closed"
            )
        done: Future[Result] = Future()
        self._waiting.put((operation, done))
        return done

    @contextmanager
    def read(self) -> Iterator[View]:
        with self._reader.connect() as connection, _dropped_if_broken(connection):
            yield View(connection)

    def close(self) -> None:
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._writer.dispose()
        self._reader.dispose()

    def withdraw(self, **who: str | None) -> int:
        """Erase a ``rater`` (of one ``study``, or of all) or a ``contributor``: from the database, then from the log.

        Returns the number of events erased.
        """
        kind = "contributor.withdrawn" if "contributor" in who else "rater.withdrawn"
        self.write(lambda work: work.record(kind, **who))
        return self._finish_erasing()

    def _finish_erasing(self) -> int:
        """Erase from the log all who have withdrawn. Runs again at the next start if a crash cuts it short."""
        with self.read() as view:
            if not view._number("erasing"):
                return 0
        erased = self.write(self._erase)
        if self.url.startswith("sqlite"):  # the write-ahead log still holds the pages
            with closing(self._reader.raw_connection()) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased

    def _erase(self, work: Work) -> int:
        """An operation, so that nobody appends meanwhile. Those who withdraw in the same batch are not in the log yet."""
        erased = _erase_withdrawn(self.log)
        work._erased_from_log(self.log.last)
        return erased

    def rebuild(self) -> int:
        """Throw the database away and make it anew from the log. Returns the number of events replayed."""

        def anew(connection: Connection) -> int:
            for table in reversed(tables.sorted_tables):
                table.drop(connection, checkfirst=True)
            connection.execute(sa.text("DROP TABLE IF EXISTS version"))
            migrate(connection)
            return self._catch_up(Work(connection, 0))

        with self._writer.begin() as connection:
            replayed = anew(connection)
        self._finish_erasing()
        return replayed

    def fill(self, count: int, raters_each: int = 5) -> None:
        """Ratings of an older study, for measuring how size slows a store. They bypass the log: for benchmarks only."""
        now, step = time.time(), 20_000
        for start in range(0, count, step):
            numbers = range(start, min(start + step, count))
            shared = [
                {"study": "earlier", "item": f"e{n // raters_each}", "rater": f"er{n % 997}", "kind": "rate"}
                for n in numbers
            ]
            given = {"block": 0, "slot": 0, "flip": 1, "guess": 0, "state": "done", "leased_until": now, "created": now}
            handed = [
                row | given | {"id": f"ea{n}", "family": row["item"]} for n, row in zip(numbers, shared, strict=True)
            ]
            answered = {"answers": {"primary": "sad", "intensity": 3}, "heard": {"0": 1.0}, "seconds": 3.0, "at": now}
            rated = [
                row | answered | {"id": f"es{n}", "assignment": f"ea{n}"}
                for n, row in zip(numbers, shared, strict=True)
            ]
            items_ = [
                {
                    "id": f"e{n}",
                    "study": "earlier",
                    "role": "rate",
                    "family": f"e{n}",
                    "content": {"clips": {}},
                    "shuffle": 0.5,
                    "claimed": raters_each,
                    "done": raters_each,
                    "flipped": 0,
                    "disagreement": 0.0,
                }
                for n in range(start // raters_each, -(-min(start + step, count) // raters_each))
            ]
            with self._writer.begin() as connection:
                for table, rows in ((items, items_), (assignments, handed), (ratings, rated)):
                    connection.execute(table.insert(), rows)

    # -- the writer

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    self._waiting.put(None)
                    break
                batch.append(following)
            self._serve([one for one in batch if one[1].set_running_or_notify_cancel()])

    def _serve(self, batch: list[tuple[Callable[[Work], Any], Future]]) -> None:
        """All in one commit; if one of them breaks it, each alone, so that nobody pays for another's failure."""
        try:
            outcomes = self._batch([operation for operation, _ in batch])
        except Exception as error:  # whatever went wrong belongs to whoever waits for it
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for one in batch:
                    self._serve([one])
            return
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, EmotionOmniError):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

    def _batch(self, operations: Iterable[Callable[[Work], Any]]) -> list[Any]:
        """Run operations → their results, or the errors of those that were refused before they changed anything."""
        appended = False
        try:
            with self._writer.begin() as connection, _dropped_if_broken(connection):
                work = Work(connection, self._lock(connection))
                if self.log.last != work.sequence:
                    self._catch_up(work)
                before = work.sequence
                outcomes = [self._outcome(work, operation) for operation in operations]
                if work.events:
                    self._set_applied(work)
                    self.log.append(work.events)
                    appended = True
        except Exception:  # whatever broke the commit
            if not appended or not self._has_reached(before):
                raise
        return outcomes

    @staticmethod
    def _outcome(work: Work, operation: Callable[[Work], Any]) -> Any:
        """The result of an operation or why it was refused. Its events belong together: all but the last say so."""
        so_far, first = work.sequence, len(work.events)
        try:
            result = operation(work)
        except EmotionOmniError as error:
            if work.sequence != so_far:  # half of it has been applied: nothing of this batch may stay
                raise
            return error
        for event in work.events[first:-1]:
            event["more"] = 1
        return result

    def _has_reached(self, before: int) -> bool:
        """Whether a commit that failed has reached the database all the same. If not, its events leave the log."""
        self.log.last = UNKNOWN
        with self._writer.begin() as connection:
            if self._lock(connection) > before:
                return True
            self.log.cut_back(before)
        return False

    def _lock(self, connection: Connection) -> int:
        """One writer at a time, also among processes. SQLite has locked with BEGIN IMMEDIATE already."""
        return connection.execute(select(meta.c.value).where(meta.c.name == "applied").with_for_update()).scalar_one()

    def _catch_up(self, work: Work) -> int:
        """Replay what the log has and the database has not."""
        self.log.last = self.log.mend()
        if self.log.last < work.sequence:
            raise EmotionOmniError(
                f"The event log ends at {self.log.last}, but the database has applied {work.sequence}: part of the log is missing. "
                "Restore the folder 'log' from a backup.",
                "log-missing",
            )
        replayed = 0
        for event in self.log.read(after=work.sequence):
            work.apply(event)
            work.sequence = event["sequence"]
            replayed += 1
        self._set_applied(work)
        return replayed

    @staticmethod
    def _set_applied(work: Work) -> None:
        work._execute(meta.update().where(meta.c.name == "applied").values(value=work.sequence))


@contextmanager
def _dropped_if_broken(connection: Connection) -> Iterator[None]:
    """An unexpected error may leave a driver in the middle of an answer, which the next one to ask would be given."""
    try:
        yield
    except EmotionOmniError:
        raise
    except Exception:
        connection.invalidate()
        raise


def _erase_withdrawn(log: EventLog) -> int:
    """Whose withdrawal stands in the log, their events before it become tombstones. It stays: it holds a pseudonym only."""
    gone: dict[tuple[str, str, str | None], int] = {}
    for event in log.read():
        if event["event"] == "rater.withdrawn":
            gone["rater", event["rater"], event["study"]] = event["sequence"]
        elif event["event"] == "contributor.withdrawn":
            gone["contributor", event["contributor"], None] = event["sequence"]
            gone |= {("item", item, None): event["sequence"] for item in event["items"]}
    return log.erase(lambda event: _tombstone(event, gone))


def _tombstone(event: Event, gone: Mapping[tuple[str, str, str | None], int]) -> Event | None:
    """What is left of an event, or None if it stays. Of a rating about a voice that was taken back, the rater's progress is left."""
    if event["event"] in ("rater.withdrawn", "contributor.withdrawn", "erased"):
        return None
    bare = {"sequence": event["sequence"], "event": "erased"}
    rater, study = event.get("rater"), event.get("study")
    own = [("rater", rater, None), ("rater", rater, study)]
    if any(event["sequence"] < gone.get(key, 0) for key in own):
        return bare
    if event["event"] == "items.added":
        kept = [
            item
            for item in event["items"]
            if event["sequence"] > gone.get(("contributor", item.get("contributor"), None), 0)
        ]
        return None if len(kept) == len(event["items"]) else event | {"items": kept} if kept else bare
    if event["sequence"] < gone.get(("item", event.get("item"), None), 0):
        steps = {"rated": 1, "skipped": 0}
        progress = {"study": study, "rater": rater, "done": steps[event["event"]]} if event["event"] in steps else {}
        return bare | progress
    return None


def _engine(url: str, writes: bool) -> sa.Engine:
    """SQLite's own transactions are taken over from the driver, so that a write locks at its beginning."""
    if not url.startswith("sqlite"):
        named = url.replace("postgresql://", "postgresql+pg8000://", 1)
        seen = "READ COMMITTED" if writes else "REPEATABLE READ"  # whoever reads, reads one moment, as with SQLite
        return sa.create_engine(named, pool_pre_ping=True, pool_size=1 if writes else 10, isolation_level=seen)
    engine = sa.create_engine(
        url, connect_args={"check_same_thread": False, "timeout": 30}, pool_size=1 if writes else 48
    )

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
            "busy_timeout=30000",
            "cache_size=-65536",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
