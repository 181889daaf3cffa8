"""The SQL of changes, events and the counter, compiled once for each shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine, bindparam, delete, insert, or_, select, update
from sqlalchemy.sql.base import Executable

from store.database import Compiler, WriteConnection
from store.feed import Change
from store.kinds import KINDS, Row, encoded
from store.objects import Event
from store.tables import COUNTERS, EVENTS, REVISION


class Statements:
    """Writes changes through a ``WriteConnection``."""

    def __init__(self, engine: Engine) -> None:
        self._compiler = Compiler(engine)
        self._cache: dict[tuple[str, ...], str] = {}
        self._event = self._compiler.text(insert(EVENTS))
        self._revision = self._compiler.text(update(COUNTERS).where(COUNTERS.c.name == bindparam("counter")), ["value"])
        newest = (
            select(EVENTS.c.sequence)
            .order_by(EVENTS.c.sequence.desc())
            .offset(bindparam("keep"))
            .limit(bindparam("one"))
        )
        self._prune = self._compiler.text(
            delete(EVENTS).where(or_(EVENTS.c.sequence <= newest.scalar_subquery(), EVENTS.c.at < bindparam("oldest")))
        )

    def write(self, connection: WriteConnection, change: Change[Any]) -> None:
        """Writes one change of one object."""
        kind = KINDS[change.kind]
        table = kind.table
        if change.after is None:
            sql = self._text(("delete", table.name), lambda: delete(table).where(table.c.uid == bindparam("uid")))
            connection.execute(sql, {"uid": change.uid})
        elif change.before is None:
            row = kind.row(change.after)
            connection.execute(self._text(("insert", table.name), lambda: insert(table)), row)
        else:
            row = kind.difference(change.before, change.after)
            connection.execute(self._update(change, row), row)

    def write_events(self, connection: WriteConnection, events: Iterable[Event]) -> None:
        """Appends the events."""
        connection.execute_many(self._event, [event_row(event) for event in events])

    def write_revision(self, connection: WriteConnection, revision: int) -> None:
        """Records how far the store's number has grown."""
        connection.execute(self._revision, {"counter": REVISION, "value": revision})

    def prune(self, connection: WriteConnection, *, keep: int, oldest: int) -> None:
        """Deletes events beyond the newest ``keep`` or before ``oldest`` (nanoseconds since the epoch)."""
        connection.execute(self._prune, {"keep": keep, "oldest": oldest, "one": 1})

    def _update(self, change: Change[Any], row: Row) -> str:
        table = KINDS[change.kind].table
        columns = [name for name in row if name != "uid"]
        return self._text(
            ("update", table.name, *columns),
            lambda: update(table).where(table.c.uid == bindparam("uid")),
            columns,
        )

    def _text(self, key: tuple[str, ...], make: Callable[[], Executable], columns: list[str] | None = None) -> str:
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._compiler.text(make(), columns)
        return found


def event_row(event: Event) -> Row:
    """All columns of the event."""
    return {
        "sequence": event.sequence,
        "at": event.at,
        "type": event.type,
        "action": event.action,
        "actor": event.actor,
        "attributes": encoded(event.attributes),
        "scope": event.scope,
    }
