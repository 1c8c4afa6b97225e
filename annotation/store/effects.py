"""What each kind of event changes in the tables. Replaying the event log calls :func:`apply` and nothing else.

Kinds and keys of events are data on people's disks: they are never renamed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table, select

from annotation.store.event_log import Event
from annotation.store.queries import View, lock_id
from annotation.store.tables import (
    TASK_KINDS,
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


def apply(connection: Connection, event: Event) -> None:
    EFFECTS[event["event"]](connection, event)


def recall_reasons(connection: Connection, events: Iterable[Event]) -> None:
    """Fill the table of skips, which a database of an earlier release lacks, from the events that it has applied."""
    skipped = select(assignments.c.id).where(assignments.c.state == "skipped")
    missing = set(connection.execute(skipped).scalars()) - set(connection.execute(select(skips.c.assignment)).scalars())
    if not missing:
        return
    for event in events:
        if event["event"] == "skipped" and event["assignment"] in missing:
            _keep_reason(connection, event)


# --- studies and items ------------------------------------------------------------------------------------------


def _study_created(connection: Connection, event: Event) -> None:
    row = {"id": event["study"], "owner": event["by"], "created": event["at"]}
    row |= {name: event[name] for name in ("state", "settings")}
    connection.execute(_insert(studies), row)


def _study_changed(connection: Connection, event: Event) -> None:
    update(connection, studies, {"id": event["study"]}, **_given(event, "state", "settings"))


def _study_deleted(connection: Connection, event: Event) -> None:
    for table in (ratings, skips, assignments, enrolments, items, decisions, invites):
        connection.execute(table.delete().where(table.c.study == event["study"]))
    connection.execute(studies.delete().where(studies.c.id == event["study"]))
    for guest in event.get("guests", ()):  # who were in this study only; release 0.1 kept them
        _delete_rater(connection, guest)
    _request_erasure(connection, event)


def _items_added(connection: Connection, event: Event) -> None:
    names = ("id", "role", "family", "content", "expected", "contributor")
    counters = {"claimed": 0, "done": 0, "flipped": 0, "disagreement": 0.0}
    rows = []
    for item in event["items"]:
        shuffle = random.Random(item["id"]).random()  # the same after a rebuild
        row = {name: item.get(name) for name in names}
        rows.append(row | counters | {"study": event["study"], "shuffle": shuffle})
    connection.execute(_insert(items), rows)


def _items_locked(connection: Connection, event: Event) -> None:
    """Tags of items of evaluation studies, by kind. They name no study, so they stay when it is deleted."""
    tags = {lock_id(kind, value): (kind, value) for kind, values in event["tags"].items() for value in values}
    fresh = tags.keys() - View(connection).known_locks(tags)
    rows = [{"id": name, "kind": tags[name][0], "value": tags[name][1]} for name in sorted(fresh)]
    if rows:
        connection.execute(_insert(locks), rows)


# --- raters and their way through a study -----------------------------------------------------------------------


def _rater_joined(connection: Connection, event: Event) -> None:
    row = {name: event.get(name) for name in ("name", "account", "secret", "role", "cohort")}
    connection.execute(_insert(raters), row | {"id": event["rater"], "created": event["at"]})


def _rater_changed(connection: Connection, event: Event) -> None:
    update(connection, raters, {"id": event["rater"]}, **_given(event, "role", "cohort", "secret", "name", "account"))


def _enrolled(connection: Connection, event: Event) -> None:
    row = {"study": event["study"], "rater": event["rater"], "created": event["at"]}
    begin = {"phase": "consent", "block": 0, "slot": 0, "block_began": None, "done": 0, "trained": 0, "answers": {}}
    connection.execute(_insert(enrolments), row | begin)


def _phase_changed(connection: Connection, event: Event) -> None:
    names = ("phase", "block", "slot", "block_began", "trained", "answers")
    changes = {name: event[name] for name in names if name in event}
    update(connection, enrolments, _enrolment(event), **changes)


def _assigned(connection: Connection, event: Event) -> None:
    names = ("study", "rater", "item", "family", "kind", "block", "slot", "flip", "guess", "leased_until")
    row = {name: event[name] for name in names}
    connection.execute(_insert(assignments), row | {"id": event["assignment"], "state": "open", "created": event["at"]})
    if event["kind"] == "rate":
        _count(connection, items, {"id": event["item"]}, claimed=1, flipped=event["flip"])


def _rated(connection: Connection, event: Event) -> None:
    names = ("assignment", "study", "item", "rater", "kind", "answers", "right", "heard", "seconds", "clicks", "at")
    connection.execute(_insert(ratings), {name: event[name] for name in names} | {"id": event["submit"]})
    _close(connection, event, "done")
    item = {"id": event["item"]}
    if event["kind"] == "rate":
        again = event["reclaimed"]  # 1 where the lease had run out and the item was still short of ratings
        _count(connection, items, item, done=1, claimed=again, flipped=again * event["flip"])
    if event.get("disagreement") is not None:
        update(connection, items, item, disagreement=event["disagreement"])
    _advance(connection, event, done=int(event["kind"] in TASK_KINDS))


def _skipped(connection: Connection, event: Event) -> None:
    _keep_reason(connection, event)
    _close(connection, event, "skipped")
    _release_item(connection, event)
    _advance(connection, event, done=0)


def _keep_reason(connection: Connection, event: Event) -> None:
    facts = {name: event[name] for name in ("assignment", "study", "item", "rater", "kind", "at")}
    connection.execute(_insert(skips), facts | {"reason": event.get("reason") or "other"})


def _expired(connection: Connection, event: Event) -> None:
    """The lease ran out: others may rate the item, and the rater's slot is still to be filled."""
    _close(connection, event, "expired")
    _release_item(connection, event)


def _close(connection: Connection, event: Event, state: str) -> None:
    update(connection, assignments, {"id": event["assignment"]}, state=state)


def _release_item(connection: Connection, event: Event) -> None:
    if event["kind"] == "rate":
        _count(connection, items, {"id": event["item"]}, claimed=-1, flipped=-event["flip"])


def _advance(connection: Connection, event: Event, done: int) -> None:
    _count(connection, enrolments, _enrolment(event), slot=1, done=done)


def _enrolment(event: Event) -> Row:
    return {"study": event["study"], "rater": event["rater"]}


# --- invites and logins -----------------------------------------------------------------------------------------


def _invite_created(connection: Connection, event: Event) -> None:
    names = ("rater", "role", "study", "cohort", "name", "by", "uses", "expires")
    row = {name: event[name] for name in names}
    connection.execute(_insert(invites), row | {"id": event["invite"], "used": 0, "created": event["at"]})


def _invite_used(connection: Connection, event: Event) -> None:
    _count(connection, invites, {"id": event["invite"]}, used=1)


def _invite_revoked(connection: Connection, event: Event) -> None:
    update(connection, invites, {"id": event["invite"]}, revoked=event["at"])


def _login_created(connection: Connection, event: Event) -> None:
    row = {"id": event["login"], "rater": event["rater"], "how": event["how"], "created": event["at"]}
    connection.execute(_insert(logins), row | {"revoked": None})


def _login_revoked(connection: Connection, event: Event) -> None:
    update(connection, logins, {"id": event["login"]}, revoked=event["at"])


# --- researchers ------------------------------------------------------------------------------------------------


def _decided(connection: Connection, event: Event) -> None:
    names = ("study", "subject", "item", "rater", "scale", "value", "reason", "by", "at")
    connection.execute(_insert(decisions), {name: event.get(name) for name in names} | {"id": event["decision"]})


# --- withdrawals ------------------------------------------------------------------------------------------------


def _rater_withdrawn(connection: Connection, event: Event) -> None:
    """Delete everything that a rater gave, in one study or in all; with all, the rater too."""
    rater, study = event["rater"], event["study"]
    mine = [assignments.c.rater == rater] + ([] if study is None else [assignments.c.study == study])
    counted = select(assignments).where(*mine, assignments.c.kind == "rate", assignments.c.state.in_(("open", "done")))
    for row in connection.execute(counted).mappings().all():
        steps = {"claimed": -1, "flipped": -row["flip"], "done": -int(row["state"] == "done")}
        _count(connection, items, {"id": row["item"]}, **steps)
    for table in (ratings, skips, assignments, enrolments, decisions, invites):
        gone = [table.c.rater == rater] + ([] if study is None else [table.c.study == study])
        connection.execute(table.delete().where(*gone))
    if study is None:
        _delete_rater(connection, rater)
    _request_erasure(connection, event)


def _contributor_withdrawn(connection: Connection, event: Event) -> None:
    """Delete the items with a voice that is taken back, and the ratings of them."""
    theirs = select(items.c.id).where(items.c.contributor == event["contributor"]).scalar_subquery()
    for table in (ratings, skips, assignments, decisions):
        connection.execute(table.delete().where(table.c.item.in_(theirs)))
    connection.execute(items.delete().where(items.c.contributor == event["contributor"]))
    _request_erasure(connection, event)


def _erased(connection: Connection, event: Event) -> None:
    """A tombstone: the event here belonged to somebody or something erased. Another rater's progress is kept."""
    if "rater" in event:
        _advance(connection, event, event["done"])


def _delete_rater(connection: Connection, rater: str) -> None:
    """A person, after all that they gave."""
    for table in (logins, invites):
        connection.execute(table.delete().where(table.c.rater == rater))
    connection.execute(raters.delete().where(raters.c.id == rater))


def _request_erasure(connection: Connection, event: Event) -> None:
    """Keep the number of the newest withdrawal or deletion whose traces are still in the event log."""
    connection.execute(meta.update().where(meta.c.name == "erasing").values(value=event["sequence"]))


EFFECTS: Mapping[str, Callable[[Connection, Event], None]] = {
    "study.created": _study_created,
    "study.changed": _study_changed,
    "study.deleted": _study_deleted,
    "items.added": _items_added,
    "items.locked": _items_locked,
    "rater.joined": _rater_joined,
    "rater.changed": _rater_changed,
    "enrolled": _enrolled,
    "phase.changed": _phase_changed,
    "assigned": _assigned,
    "rated": _rated,
    "skipped": _skipped,
    "expired": _expired,
    "invite.created": _invite_created,
    "invite.used": _invite_used,
    "invite.revoked": _invite_revoked,
    "login.created": _login_created,
    "login.revoked": _login_revoked,
    "decided": _decided,
    "rater.withdrawn": _rater_withdrawn,
    "contributor.withdrawn": _contributor_withdrawn,
    "erased": _erased,
}


# --- statements -------------------------------------------------------------------------------------------------
# Building a statement costs more than running it, so the statements that every rating needs are built once.


def update(connection: Connection, table: Table, where: Row, **values: Any) -> None:
    """Set columns of the rows whose keys match."""
    if values:
        keys = {f"key_{key}": value for key, value in where.items()}
        connection.execute(_set(table, tuple(where), tuple(values)), values | keys)


def _count(connection: Connection, table: Table, where: Row, **steps: int) -> None:
    """Add to counters of the rows whose keys match."""
    keys = {f"key_{key}": value for key, value in where.items()}
    changes = {f"by_{name}": step for name, step in steps.items()}
    connection.execute(_add_to(table, tuple(where), tuple(steps)), changes | keys)


def _given(event: Event, *names: str) -> Row:
    return {name: event[name] for name in names if event.get(name) is not None}


@cache
def _insert(table: Table) -> sa.Insert:
    return table.insert()


@cache
def _set(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> sa.Update:
    """Parameters: the columns' names, and the keys' names after ``key_``."""
    matching = (table.c[key] == sa.bindparam(f"key_{key}") for key in keys)
    return table.update().where(*matching).values({name: sa.bindparam(name) for name in names})


@cache
def _add_to(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> sa.Update:
    """Parameters: the columns' names after ``by_``, and the keys' names after ``key_``."""
    matching = (table.c[key] == sa.bindparam(f"key_{key}") for key in keys)
    return table.update().where(*matching).values({name: table.c[name] + sa.bindparam(f"by_{name}") for name in names})
