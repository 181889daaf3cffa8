"""The change feed: who is told of what, on the event loop's thread."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from store.objects.meta import Object

T = TypeVar("T", bound=Object)
E = TypeVar("E")
_log = logging.getLogger(__name__)
_BACKLOG = 10_000
_HISTORY = 4_096


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One committed change: ``before`` is None for a new object, ``after`` for one that is gone."""

    kind: type[T]
    uid: str
    before: T | None
    after: T | None
    revision: int


class SlowReaderError(Exception):
    """The reader fell too far behind and was dropped; it has to list again and subscribe anew."""


class CursorExpiredError(Exception):
    """The feed no longer remembers that far back; list again and subscribe from the present."""


class Backlog(Generic[E]):
    """A bounded queue between the feed and one reader; iterate it, and close it (or use ``with``) when done.

    Raises ``SlowReaderError`` to a reader that more than ``limit`` items are waiting for. Ends when the store closes.
    """

    def __init__(self, closed: Callable[[Backlog[E]], None], limit: int = _BACKLOG) -> None:
        self._items: deque[E] = deque()
        self._limit = limit
        self._wake = asyncio.Event()
        self._closed = closed
        self._overrun = False
        self._ended = False

    def offer(self, item: E) -> None:
        """Queues the item; drops the reader when its queue is full."""
        if len(self._items) >= self._limit:
            self._overrun = True
            self._items.clear()
            self._closed(self)
        else:
            self._items.append(item)
        self._wake.set()

    def end(self) -> None:
        """No more items will come: the reader gets what is queued and then the end."""
        self._ended = True
        self._wake.set()

    def close(self) -> None:
        """The reader needs no more."""
        self._closed(self)
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[E]:
        return self

    async def __anext__(self) -> E:
        while not self._items:
            if self._overrun:
                raise SlowReaderError
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()


class Subscription(Backlog[Change[Any]]):
    """Changes of some kinds, in order of their revisions."""


@dataclass(eq=False)
class _Waiter:
    until: Callable[[Any], bool]
    future: asyncio.Future[Any]


class Feed:
    """Hands each change to callbacks, subscriptions and waiters, in that order."""

    def __init__(self) -> None:
        self._callbacks: dict[type[Object], list[Callable[[Change[Any]], None]]] = {}
        self._subscriptions: dict[Backlog[Change[Any]], frozenset[type[Object]]] = {}
        self._waiters: dict[tuple[type[Object], str], list[_Waiter]] = {}
        self._history: deque[Change[Any]] = deque(maxlen=_HISTORY)
        self._start = 0

    def begin(self, revision: int) -> None:
        """The feed remembers from here on."""
        self._start = revision

    def on_change(self, kind: type[Object], callback: Callable[[Change[Any]], None]) -> Callable[[], None]:
        """Calls back for each change of the kind; returns the function that ends it. What it raises is logged."""
        callbacks = self._callbacks.setdefault(kind, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    def subscribe(self, kinds: frozenset[type[Object]], after: int | None) -> Subscription:
        """A subscription to the kinds, from the present or from ``after``; see ``Store.subscribe``."""
        subscription = Subscription(self._drop)
        if after is not None:
            oldest = self._history[0].revision - 1 if len(self._history) == _HISTORY else self._start
            if after < oldest:
                raise CursorExpiredError
            for change in self._history:
                if change.revision > after and change.kind in kinds:
                    subscription.offer(change)
        self._subscriptions[subscription] = kinds
        return subscription

    async def wait(self, kind: type[Object], uid: str, until: Callable[[Any], bool], timeout: float | None) -> Any:
        """The object's next state that ``until`` likes."""
        waiter = _Waiter(until, asyncio.get_running_loop().create_future())
        waiters = self._waiters.setdefault((kind, uid), [])
        waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter.future
        finally:
            waiters.remove(waiter)
            if not waiters and self._waiters.get((kind, uid)) is waiters:
                del self._waiters[kind, uid]

    def _drop(self, subscription: Backlog[Change[Any]]) -> None:
        self._subscriptions.pop(subscription, None)

    def publish(self, change: Change[Any]) -> None:
        """Tells everybody. Only the store calls it, once its views show the change."""
        self._history.append(change)
        for callback in tuple(self._callbacks.get(change.kind, ())):
            try:
                callback(change)
            except Exception:
                _log.exception("a subscriber to changes of %s failed", change.kind.__name__)
        for subscription, kinds in tuple(self._subscriptions.items()):
            if change.kind in kinds:
                subscription.offer(change)
        for waiter in tuple(self._waiters.get((change.kind, change.uid), ())):
            _settle(waiter, change.after)

    def end(self, error: Exception) -> None:
        """Ends all subscriptions and fails all waiters."""
        for subscription in tuple(self._subscriptions):
            subscription.end()
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(error)


def _settle(waiter: _Waiter, state: Object | None) -> None:
    if waiter.future.done():
        return
    try:
        if waiter.until(state):
            waiter.future.set_result(state)
    except Exception as error:
        waiter.future.set_exception(error)
