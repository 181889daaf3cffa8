"""The log of events: kept in the database, followed in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from sqlalchemy import Engine, select

from store.feed import Backlog
from store.objects import Event
from store.tables import EVENTS

_log = logging.getLogger(__name__)
_ATTRIBUTES = msgspec.json.Decoder(dict[str, str])
_FOLLOWER_BACKLOG = 4_096

LATEST = 2**63 - 1


class EventLog:
    """Past and coming events."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: dict[Backlog[Event], None] = {}
        self._callbacks: list[Callable[[Event], None]] = []

    async def read(self, since_ns: int = 0, until_ns: int | None = None) -> list[Event]:
        """The kept events with ``since_ns <= at <= until_ns`` (nanoseconds since the epoch), oldest first."""
        return await asyncio.to_thread(self._read, since_ns, until_ns)

    def follow(self) -> Backlog[Event]:
        """Events from now on, to be iterated and closed (or used with ``with``).

        A reader with thousands of unread events is dropped: it gets ``SlowReaderError``.
        """
        follower: Backlog[Event] = Backlog(self._drop, _FOLLOWER_BACKLOG)
        self._followers[follower] = None
        return follower

    def on_event(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Calls back for each event from now on; returns the function that ends it. What it raises is logged."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def publish(self, event: Event) -> None:
        """Tells followers of a committed event. Only the store calls it."""
        for callback in tuple(self._callbacks):
            try:
                callback(event)
            except Exception:
                _log.exception("a subscriber to events failed")
        for follower in tuple(self._followers):
            follower.offer(event)

    def end(self) -> None:
        """Ends all followers."""
        for follower in tuple(self._followers):
            follower.end()

    def _drop(self, follower: Backlog[Event]) -> None:
        self._followers.pop(follower, None)

    def _read(self, since_ns: int, until_ns: int | None) -> list[Event]:
        # A client may ask for any time at all; a column holds 64 bits.
        statement = select(EVENTS).where(EVENTS.c.at >= min(max(since_ns, 0), LATEST)).order_by(EVENTS.c.sequence)
        if until_ns is not None:
            statement = statement.where(EVENTS.c.at <= min(max(until_ns, 0), LATEST))
        with self._engine.connect() as connection:
            return [
                Event(**{**row, "attributes": _ATTRIBUTES.decode(row["attributes"])})
                for row in connection.execute(statement).mappings()
            ]
