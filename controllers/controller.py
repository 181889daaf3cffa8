"""A controller: workers that take keys from a queue and make each one's object so.

The reconcile function is the contract. It gets a key, never a reason: it reads what is asked and what is, and does what
is missing, so it is right whatever woke it and however often. It returns None when all is as it should be, or
``Result(after=…)`` to look again later. What it raises means: try again with back-off; ``TerminalError``: trying again
would not help until something changes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from controllers import metrics
from controllers.workqueue import QueueShutDownError, WorkQueue
from store.errors import EngineError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """How a reconcile ended well: ``after`` is in how many seconds to look again, None for not before a change."""

    after: float | None = None


class TerminalError(Exception):
    """The reconcile failed and is not tried again before something changes."""


class Controller:
    """Runs ``reconcile`` for keys, up to ``workers`` at once and never one key twice at once.

    ``keys`` lists all keys there are, for the start and the periodic resync. A reconcile that takes longer than
    ``timeout`` seconds is cancelled and counts as failed.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[str], Awaitable[Result | None]],
        *,
        workers: int = 8,
        keys: Callable[[], Iterable[str]],
        timeout: float = 120,
        queue: WorkQueue | None = None,
    ) -> None:
        self.name = name
        self._keys = keys
        self._reconcile = reconcile
        self._workers = workers
        self._timeout = timeout
        self._queue = queue or WorkQueue(name)
        self._tasks: list[asyncio.Task[None]] = []
        self._time = metrics.RECONCILE_TIME.labels(name)
        self._active = metrics.ACTIVE_WORKERS.labels(name)
        self._results = {result: metrics.RECONCILES.labels(name, result) for result in _RESULTS}
        self._errors = metrics.RECONCILE_ERRORS.labels(name)
        self._terminal_errors = metrics.RECONCILE_TERMINAL_ERRORS.labels(name)
        metrics.MAX_CONCURRENT.labels(name).set(workers)

    def enqueue(self, key: str) -> None:
        """Asks for the key to be reconciled now."""
        self._queue.add(key)

    def enqueue_after(self, key: str, seconds: float) -> None:
        """Asks for the key to be reconciled in ``seconds``, or earlier if asked before."""
        self._queue.add_after(key, seconds)

    def start(self) -> None:
        """Starts the workers and enqueues all keys."""
        for number in range(self._workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"{self.name}-{number}"))
        self.resync(0)

    def resync(self, spread: float) -> None:
        """Enqueues all keys, at random moments of the next ``spread`` seconds."""
        for key in self._keys():
            self.enqueue_after(key, random.uniform(0, spread))

    async def stop(self, grace: float) -> None:
        """Takes no more keys; lets what runs finish for ``grace`` seconds, then cancels it."""
        self._queue.shut_down()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueShutDownError:
                return
            self._active.inc()
            try:
                with self._time.time():
                    await self._process(key)
            finally:
                self._active.dec()
                self._queue.done(key)

    async def _process(self, key: str) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._reconcile(key)
        except TerminalError as error:
            self._queue.forget(key)
            self._count_error()
            self._terminal_errors.inc()
            _log.warning("%s %s failed and is not retried: %s", self.name, key, error)
        except Exception as error:
            self._count_error()
            delay = self._queue.add_rate_limited(key)
            self._report(key, error, delay)
        else:
            self._queue.forget(key)
            if result is None or result.after is None:
                self._results["success"].inc()
            else:
                self._results["requeue_after"].inc()
                self._queue.add_after(key, result.after)

    def _count_error(self) -> None:
        self._results["error"].inc()
        self._errors.inc()

    def _report(self, key: str, error: Exception, delay: float) -> None:
        # The first time says where it came from; after that a line each is enough.
        unexpected = not isinstance(error, EngineError | OSError) and self._queue.failures(key) == 1
        text = str(error) or type(error).__name__
        _log.error("%s %s failed, again in %.2f s: %s", self.name, key, delay, text, exc_info=unexpected)


_RESULTS = ("success", "requeue_after", "error")
