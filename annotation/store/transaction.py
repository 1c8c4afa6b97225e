"""A transaction: reads like a view, and records events, which are the only way to change the store."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from annotation.store import effects
from annotation.store.event_log import Event
from annotation.store.queries import View
from annotation.store.tables import assignments, meta


class Transaction(View):
    """``sequence``: the number of the last event applied; ``events``: those recorded here, not yet in the log."""

    def __init__(self, connection: Connection, applied: int) -> None:
        super().__init__(connection)
        self.sequence = applied
        self.events: list[Event] = []

    def record(self, event_name: str, /, **facts: Any) -> Event:
        """Apply a new event, and keep it for the log."""
        event = {"sequence": self.sequence + 1, "event": event_name, "at": time.time()} | facts
        self.sequence += 1
        effects.apply(self.connection, event)
        self.events.append(event)
        return event

    def replay(self, event: Event) -> None:
        """Apply an event that is in the log already."""
        effects.apply(self.connection, event)
        self.sequence = event["sequence"]

    def extend_lease(self, assignment: str, until: float) -> None:
        """Not an event: how long a lease was extended is not history."""
        effects.update(self.connection, assignments, {"id": assignment}, leased_until=until)

    def set_applied(self) -> None:
        """Store how far the database has followed the log."""
        self.connection.execute(meta.update().where(meta.c.name == "applied").values(value=self.sequence))

    def finish_erasure(self, last: int) -> None:
        """All that was requested up to event ``last`` is erased. A withdrawal after it stays to be done."""
        self.connection.execute(meta.update().where(meta.c.name == "erasing", meta.c.value <= last).values(value=0))
