"""The store: what was asked and what is, durable, watched, and read without waiting.

Reads come from views in memory; writes go through one writer thread. Views, feed and futures belong to the event loop
that opened the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from sqlalchemy import Engine

from store import migrate
from store.database import engine as make_engine
from store.errors import UnavailableError
from store.event_log import EventLog
from store.feed import Change, CursorExpiredError, Feed, SlowReaderError, Subscription
from store.kinds import KINDS
from store.migrate import SchemaTooNewError
from store.objects import AddressLease, Container, Image, Layer, Network, PortLease, Reference, Volume
from store.objects.meta import Object
from store.transaction import GoneError, NameTakenError, Transaction
from store.view import View
from store.writer import CommitError, Group, Job, Memory, Writer

__all__ = [
    "Change",
    "CommitError",
    "CommitReport",
    "CursorExpiredError",
    "GoneError",
    "NameTakenError",
    "SchemaTooNewError",
    "SlowReaderError",
    "Store",
    "Subscription",
    "Transaction",
    "View",
]

T = TypeVar("T", bound=Object)
R = TypeVar("R")

EVENTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class CommitReport:
    """One commit: how many changes it carried, how long it took, how long until readers saw it (seconds)."""

    size: int
    seconds: float
    lag: float
    failed: bool


class Store:
    """All objects and events of the engine."""

    def __init__(self, engine: Engine, *, events_kept: int = EVENTS_KEPT) -> None:
        """Use ``Store.open``."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._feed = Feed()
        self._views: Memory = {kind: View(entry) for kind, entry in KINDS.items()}
        self._writer = Writer(engine, self._hand_over, event_limit=events_kept)
        self._observers: list[Callable[[CommitReport], None]] = []
        self._closed = False
        self.events = EventLog(engine)
        self.revision = 0
        """The number of the newest change; it only grows, also across restarts."""

    @classmethod
    async def open(cls, url: str, *, events_kept: int = EVENTS_KEPT) -> Self:
        """Opens the database, bringing its schema up to date first.

        ``url`` is ``sqlite:///PATH`` or ``postgresql://…``. Raises ``SchemaTooNewError`` for a schema from the future,
        ``store.database.DatabaseError`` if the database cannot be used.
        """
        await asyncio.to_thread(migrate.upgrade, url)
        store = cls(make_engine(url), events_kept=events_kept)
        memory = await asyncio.to_thread(store._writer.load)
        for kind, view in memory.items():
            for obj in view:
                store._views[kind].put(obj)
        store.revision = store._writer.revision
        store._feed.begin(store.revision)
        store._writer.start()
        return store

    async def close(self) -> None:
        """Commits what is queued, ends subscriptions and closes the database. Waiters get ``UnavailableError``."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        # The writer's last group is still on its way to this loop.
        handed_over = self._loop.create_future()
        self._loop.call_soon(handed_over.set_result, None)
        await handed_over
        self._feed.end(UnavailableError("the store is closed"))
        self.events.end()
        await asyncio.to_thread(self._engine.dispose)

    def view(self, kind: type[T]) -> View[T]:
        """The view of a kind."""
        return self._views[kind]

    @property
    def containers(self) -> View[Container]:
        """All containers; indexes ``image``, ``network``, ``volume``."""
        return self._views[Container]

    @property
    def networks(self) -> View[Network]:
        """All networks."""
        return self._views[Network]

    @property
    def volumes(self) -> View[Volume]:
        """All volumes."""
        return self._views[Volume]

    @property
    def images(self) -> View[Image]:
        """All images; indexes ``layer`` (chain id), ``parent``."""
        return self._views[Image]

    @property
    def references(self) -> View[Reference]:
        """All image references; index ``image``."""
        return self._views[Reference]

    @property
    def layers(self) -> View[Layer]:
        """All layers; index ``parent``."""
        return self._views[Layer]

    @property
    def address_leases(self) -> View[AddressLease]:
        """All leased addresses; indexes ``owner``, ``network``."""
        return self._views[AddressLease]

    @property
    def port_leases(self) -> View[PortLease]:
        """All leased host ports; index ``owner``."""
        return self._views[PortLease]

    async def commit(self, change: Callable[[Transaction], R], *, durable: bool = True) -> R:
        """Runs ``change`` in the writer's thread and commits what it did; returns what it returned.

        ``change`` must be quick and must not wait; what it raises undoes it alone and is raised here. When this
        returns, views and subscribers have seen the change, and a durable one is on the disk; one that is not durable
        can be lost to a power cut, but not to the death of the process. A cancelled caller does not cancel the change.
        Raises ``CommitError`` when the database fails.
        """
        if self._closed:
            raise UnavailableError("the store is closed")
        future: asyncio.Future[R] = self._loop.create_future()
        self._writer.submit(Job(change, durable, future))
        return await future

    def subscribe(self, *kinds: type[Object], after: int | None = None) -> Subscription:
        """Changes of the kinds (all kinds if none is named) from now on, or from those after revision ``after``.

        Iterate it; close it when done. A reader that falls thousands of changes behind gets ``SlowReaderError``. Raises
        ``CursorExpiredError`` if changes after ``after`` are no longer known: list again.
        """
        return self._feed.subscribe(frozenset(kinds or KINDS), after)

    def on_change(self, kind: type[T], callback: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Calls back on the loop's thread for each change of the kind; returns the function that ends it."""
        return self._feed.on_change(kind, callback)

    def on_commit(self, observer: Callable[[CommitReport], None]) -> None:
        """Calls back on the loop's thread after each group that was committed, or failed: for metrics."""
        self._observers.append(observer)

    async def wait_for(
        self, kind: type[T], uid: str, until: Callable[[T | None], bool], timeout: float | None = None
    ) -> T | None:
        """The object's first state, from the present one on, that ``until`` likes; None stands for: does not exist.

        Raises ``TimeoutError`` after ``timeout`` seconds.
        """
        current = self._views[kind].get(uid)
        if until(current):
            return current
        state: T | None = await self._feed.wait(kind, uid, until, timeout)
        return state

    def _hand_over(self, group: Group) -> None:
        try:
            self._loop.call_soon_threadsafe(self._publish, group)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            return

    def _publish(self, group: Group) -> None:
        for change in group.changes:
            view = self._views[change.kind]
            if change.after is not None:
                view.put(change.after)
            elif change.uid in view:
                view.remove(change.uid)
        self.revision = group.revision
        for change in group.changes:
            self._feed.publish(change)
        for event in group.events:
            self.events.publish(event)
        for job in group.jobs:
            _answer(job)
        if group.written or group.failed:
            report = CommitReport(group.written, group.seconds, time.monotonic() - group.committed_at, group.failed)
            for observer in self._observers:
                observer(report)


def _answer(job: Job) -> None:
    # A caller that was cancelled has cancelled the future; its change happened all the same.
    if job.future.done():
        return
    if job.error is not None:
        job.future.set_exception(job.error)
    else:
        job.future.set_result(job.result)
