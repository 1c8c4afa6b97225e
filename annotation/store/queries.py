"""What the store can be asked. A :class:`View` reads inside one transaction, so it sees one moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table, select

from annotation.store.tables import (
    Row,
    assignments,
    decisions,
    enrolments,
    invites,
    items,
    locks,
    logins,
    meta,
    raters,
    ratings,
    skips,
    studies,
)

RATING_JSON = ("answers", "heard")

# Building a statement costs more than running it, so the statements that every rating needs are built once.


@cache
def _found_by(table: Table, *names: str) -> sa.Select:
    return select(table).where(*(table.c[name] == sa.bindparam(name) for name in names))


def _met(unless: str) -> sa.Exists:
    """Whether the rater was handed an item of this family; assignments in the state ``unless`` do not count."""
    met = select(assignments.c.id).where(
        assignments.c.study == sa.bindparam("study"),
        assignments.c.rater == sa.bindparam("rater"),
        assignments.c.family == items.c.family,
        assignments.c.state != unless,
    )
    return met.exists()


@cache
def _candidates(by_disagreement: bool, again: bool) -> sa.Select:
    """Items still short of ratings, without those whose family the rater has met; ``again``: or let run out."""
    order = ([items.c.disagreement.desc()] if by_disagreement else []) + [items.c.claimed, items.c.shuffle]
    free = (
        items.c.study == sa.bindparam("study"),
        items.c.role == "rate",
        items.c.claimed < sa.bindparam("wanted"),
        ~_met("expired" if again else ""),
    )
    return select(items).where(*free).order_by(*order).limit(sa.bindparam("most"))


_UNFINISHED = (
    select(items.c.id)
    .where(
        items.c.study == sa.bindparam("study"),
        items.c.role == "rate",
        items.c.done < sa.bindparam("wanted"),
        ~_met("expired"),
    )
    .limit(1)
)
_OPEN = _found_by(assignments, "study", "rater", "state").order_by(assignments.c.created.desc()).limit(1)
_EXPIRED = (
    select(assignments.c.id)
    .where(assignments.c.state == "open", assignments.c.leased_until < sa.bindparam("now"))
    .limit(sa.bindparam("most"))
)


MOST_AT_ONCE = 500  # values in one statement


def lock_id(kind: str, value: str) -> str:
    return hashlib.blake2b(f"{kind}:{value}".encode(), digest_size=16).hexdigest()


def _parsed(texts: Sequence[str]) -> list:
    """JSON texts, parsed in one pass."""
    return json.loads(f"[{','.join(texts)}]")


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
        others = [column for column in items.c if column.name != "content"]
        content = sa.cast(items.c.content, sa.Text).label("content")
        chosen = select(*others, content).where(items.c.study == study).order_by(items.c.id).limit(limit)
        rows = self._all(chosen.where(items.c.role == role) if role else chosen)
        for row, parsed in zip(rows, _parsed([row["content"] for row in rows]), strict=True):
            row["content"] = parsed
        return rows

    def count_families(self, study: str) -> int:
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

    def guests_of(self, study: str) -> list[str]:
        """Raters of a study without an account, an invite or another study."""
        other = enrolments.alias()
        elsewhere = select(other.c.rater).where(other.c.rater == raters.c.id, other.c.study != study)
        here = select(enrolments.c.rater).where(enrolments.c.study == study)
        guests = (raters.c.account.is_(None), raters.c.role == "rater")
        chosen = select(raters.c.id).where(raters.c.id.in_(here), *guests, ~elsewhere.exists())
        return list(self.connection.execute(chosen.order_by(raters.c.id)).scalars())

    def skips(self, study: str) -> list[Row]:
        """Skipped items with the raters' reasons, in order of arrival."""
        shown = [assignments.c[name] for name in ("block", "slot", "family")]
        chosen = (
            select(skips, *shown)
            .join(assignments, assignments.c.id == skips.c.assignment)
            .where(skips.c.study == study)
            .order_by(skips.c.at, skips.c.assignment)
        )
        return self._all(chosen)

    def invite(self, invite: str) -> Row | None:
        return self._one(_found_by(invites, "id"), id=invite)

    def invites(self, rater: str | None = None) -> list[Row]:
        """Newest first."""
        chosen = select(invites).order_by(invites.c.created.desc(), invites.c.id)
        return self._all(chosen.where(invites.c.rater == rater) if rater else chosen)

    def login(self, login: str) -> Row | None:
        return self._one(_found_by(logins, "id"), id=login)

    def logins(self, rater: str | None = None) -> list[Row]:
        """Newest first."""
        chosen = select(logins).order_by(logins.c.created.desc(), logins.c.id)
        return self._all(chosen.where(logins.c.rater == rater) if rater else chosen)

    def first_login(self) -> float | None:
        """When the oldest known login began; None if there is none."""
        return self.connection.execute(select(sa.func.min(logins.c.created))).scalar_one()

    def last_ratings(self) -> dict[str, float]:
        """When each rater last gave a rating."""
        newest = select(ratings.c.rater, sa.func.max(ratings.c.at)).group_by(ratings.c.rater)
        return {row[0]: row[1] for row in self.connection.execute(newest)}

    def enrolment(self, study: str, rater: str) -> Row | None:
        return self._one(_found_by(enrolments, "study", "rater"), study=study, rater=rater)

    def enrolments(self, study: str | None = None, rater: str | None = None) -> list[Row]:
        chosen = select(enrolments).order_by(enrolments.c.created, enrolments.c.rater)
        if study:
            chosen = chosen.where(enrolments.c.study == study)
        return self._all(chosen.where(enrolments.c.rater == rater) if rater else chosen)

    def assignment(self, assignment: str) -> Row | None:
        return self._one(_found_by(assignments, "id"), id=assignment)

    def open_assignment(self, study: str, rater: str) -> Row | None:
        """The assignment that a rater is working on."""
        return self._one(_OPEN, study=study, rater=rater, state="open")

    def assignments(self, study: str, rater: str) -> list[Row]:
        """All assignments of a rater, oldest first."""
        mine = select(assignments).where(assignments.c.study == study, assignments.c.rater == rater)
        return self._all(mine.order_by(assignments.c.created, assignments.c.slot))

    def candidates(
        self, study: str, rater: str, wanted: int, by_disagreement: bool, limit: int = 24, again: bool = True
    ) -> list[Row]:
        """Items still short of ratings whose family this rater has not met, those with the fewest first.

        ``again`` False: without those of which this rater let the lease run out.
        """
        return self._all(_candidates(by_disagreement, again), study=study, rater=rater, wanted=wanted, most=limit)

    def is_unfinished(self, study: str, rater: str, wanted: int) -> bool:
        """Whether there are items for this rater that may come free: they are not rated yet, even if all are leased."""
        return bool(self._all(_UNFINISHED, study=study, rater=rater, wanted=wanted))

    def expired(self, now: float, limit: int = 200) -> list[str]:
        """Open assignments whose lease has run out."""
        return list(self.connection.execute(_EXPIRED, {"now": now, "most": limit}).scalars())

    def count_ratings(self, study: str, rater: str) -> int:
        """How many ordinary ratings a rater has given: without checks and repeats."""
        mine = (ratings.c.study == study, ratings.c.rater == rater, ratings.c.kind == "rate")
        return self.connection.execute(select(sa.func.count()).select_from(ratings).where(*mine)).scalar_one()

    def has_ratings(self, study: str, least: int) -> bool:
        """Whether a study has at least so many ratings, of any kind."""
        some = select(ratings.c.id).where(ratings.c.study == study).limit(least).subquery()
        return self.connection.execute(select(sa.func.count()).select_from(some)).scalar_one() >= least

    def rating(self, submit: str) -> Row | None:
        return self._one(_found_by(ratings, "id"), id=submit)

    def rating_of(self, assignment: str) -> Row | None:
        return self._one(_found_by(ratings, "assignment"), assignment=assignment)

    def ratings(self, study: str, item: str | None = None, rater: str | None = None) -> list[Row]:
        """Ratings with what was shown (side, guess, block, slot), and when (``handed``), in order of arrival."""
        given = [assignments.c[name] for name in ("flip", "guess", "block", "slot", "family")]
        shown = [*given, assignments.c.created.label("handed")]
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

    def rating_columns(self, study: str) -> dict[str, list]:
        """What :meth:`ratings` reads, without clicks, as columns: a large study is read in a
        fraction of the time and memory that one dictionary a rating takes.
        """
        texts = [sa.cast(ratings.c[name], sa.Text).label(name) for name in RATING_JSON]
        given = [ratings.c[name] for name in ("id", "item", "rater", "kind", "right", "seconds", "at")]
        shown = [assignments.c[name] for name in ("flip", "guess", "block", "slot")]
        chosen = (
            select(*given, *shown, assignments.c.created.label("handed"), *texts)
            .join(assignments, assignments.c.id == ratings.c.assignment)
            .where(ratings.c.study == study)
            .order_by(ratings.c.at, ratings.c.id)
        )
        found = self.connection.execute(chosen)
        names = list(found.keys())
        columns = {name: list(values) for name, values in zip(names, zip(*found.all(), strict=True), strict=False)}
        if not columns:
            return {name: [] for name in names}
        return columns | {name: _parsed(columns[name]) for name in RATING_JSON}

    def skipped_checks(self, study: str) -> list[Row]:
        """(rater, kind) of every trap and gold item that was skipped."""
        chosen = select(assignments.c.rater, assignments.c.kind).where(
            assignments.c.study == study, assignments.c.state == "skipped", assignments.c.kind.in_(("trap", "gold"))
        )
        return self._all(chosen)

    def answers_to(self, item: str) -> list[dict]:
        chosen = select(ratings.c.answers).where(ratings.c.item == item, ratings.c.kind == "rate")
        return list(self.connection.execute(chosen).scalars())

    def decisions(self, study: str) -> list[Row]:
        return self._all(select(decisions).where(decisions.c.study == study).order_by(decisions.c.at, decisions.c.id))

    def counts(self, study: str) -> Row:
        """Items to rate, ratings given of those needed, raters, skips: for the monitor."""
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
        """The items made of a voice."""
        return self._all(select(items).where(items.c.contributor == contributor))

    def clips_in_use(self) -> set[str]:
        """The SHA-256 of every clip that an item holds."""
        contents = self.connection.execute(select(items.c.content)).scalars()
        return {
            sha
            for content in contents
            for clip in content.get("clips", {}).values()
            for sha in (clip["sha"], clip["played"])
        }

    def locks(self) -> set[tuple[str, str]]:
        """(kind, value) of all that evaluation studies have locked out of training, deleted ones included."""
        return {(row[0], row[1]) for row in self.connection.execute(select(locks.c.kind, locks.c.value))}

    def known_locks(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids (:func:`lock_id`) that are locked already."""
        wanted, found = sorted(ids), set()
        for start in range(0, len(wanted), MOST_AT_ONCE):
            chosen = select(locks.c.id).where(locks.c.id.in_(wanted[start : start + MOST_AT_ONCE]))
            found |= set(self.connection.execute(chosen).scalars())
        return found

    def applied(self) -> int:
        """The sequence number of the last event applied."""
        return self._number("applied")

    def erasing(self) -> int:
        """The number of the newest withdrawal or deletion whose traces are still in the event log; 0: all are gone."""
        return self._number("erasing")

    def _number(self, name: str) -> int:
        return self.connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one()

    def _one(self, query: sa.Select, **values: Any) -> Row | None:
        row = self.connection.execute(query, values).mappings().first()
        return dict(row) if row else None

    def _all(self, query: sa.Select, **values: Any) -> list[Row]:
        return [dict(row) for row in self.connection.execute(query, values).mappings()]
