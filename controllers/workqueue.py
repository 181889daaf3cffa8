"""The work queue: what is to be looked at, each key once.

The rules are client-go's: a key that is queued is not queued again; a key that is being worked on is never handed out a
second time, and one that was added meanwhile comes back when its work is done. So nothing runs twice at once and no
wish to look again is lost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

from controllers import metrics

FIRST_RETRY = 0.01
LONGEST_RETRY = 60.0


class QueueShutDownError(Exception):
    """The queue hands out nothing more."""


class WorkQueue:
    """A de-duplicating queue with delays and back-off; all calls belong to one event loop's thread.

    Add anything at any time; a worker calls ``get``, works, then ``done``, and ``forget`` or ``add_rate_limited``
    before it. Delays are in seconds. ``jitter`` gives the factor that a back-off delay is multiplied by.
    """

    def __init__(
        self,
        name: str,
        *,
        first_retry: float = FIRST_RETRY,
        longest_retry: float = LONGEST_RETRY,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),
    ) -> None:
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._jitter = jitter
        self._queue: deque[str] = deque()
        self._dirty: dict[str, float] = {}
        self._processing: dict[str, float] = {}
        self._delayed: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False
        self._adds = metrics.QUEUE_ADDS.labels(name)
        self._retries = metrics.QUEUE_RETRIES.labels(name)
        self._queue_duration = metrics.QUEUE_DURATION.labels(name)
        self._work_duration = metrics.WORK_DURATION.labels(name)
        metrics.QUEUE_DEPTH.labels(name).set_function(self.__len__)
        metrics.UNFINISHED_WORK.labels(name).set_function(lambda: sum(self._ages()))
        metrics.LONGEST_RUNNING.labels(name).set_function(lambda: max(self._ages(), default=0.0))

    def add(self, key: str) -> None:
        """Asks for the key to be looked at, now or as soon as the present look at it is over."""
        if self._shut_down or key in self._dirty:
            return
        self._adds.inc()
        self._dirty[key] = time.monotonic()
        if key not in self._processing:
            self._enqueue(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Asks for the key to be looked at in ``seconds``; of several such wishes the earliest holds."""
        if self._shut_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        pending = self._delayed.get(key)
        if pending is not None:
            if pending.when() <= when:
                return
            pending.cancel()
        self._delayed[key] = loop.call_at(when, self._due, key)

    def add_rate_limited(self, key: str) -> float:
        """Asks for the key after its back-off, which doubles with each call until ``forget``; returns the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Beyond 2**30 the delay is the longest anyway, and a float power would overflow in the end.
        delay = min(self._first_retry * 2.0 ** min(failures, 30), self._longest_retry) * self._jitter()
        self._retries.inc()
        self.add_after(key, delay)
        return delay

    def failures(self, key: str) -> int:
        """How often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """The key is well: its back-off begins anew."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key, which is the caller's until ``done``. Raises ``QueueShutDownError`` after ``shut_down``."""
        while not self._queue and not self._shut_down:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter in self._getters:
                    self._getters.remove(getter)
                else:
                    # It was woken and cancelled at once: the key that woke it is another's to take.
                    self._wake()
                raise
        if self._shut_down:
            raise QueueShutDownError
        key = self._queue.popleft()
        now = time.monotonic()
        self._queue_duration.observe(now - self._dirty.pop(key))
        self._processing[key] = now
        return key

    def done(self, key: str) -> None:
        """The work on the key is over; it is queued again if it was added meanwhile."""
        self._work_duration.observe(time.monotonic() - self._processing.pop(key))
        if key in self._dirty:
            self._enqueue(key)

    def shut_down(self) -> None:
        """Hands out nothing more, at once, and takes nothing: what is queued is found again at the next start."""
        self._shut_down = True
        self._queue.clear()
        self._dirty.clear()
        for pending in self._delayed.values():
            pending.cancel()
        self._delayed.clear()
        while self._getters:
            self._wake()

    def __len__(self) -> int:
        return len(self._queue)

    def _due(self, key: str) -> None:
        del self._delayed[key]
        self.add(key)

    def _enqueue(self, key: str) -> None:
        self._queue.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _ages(self) -> list[float]:
        now = time.monotonic()
        return [now - since for since in list(self._processing.values())]
