"""Mounts that somebody else takes away: noticed, and laid again from whoever still has them.

The kernel tells that something changed in our mount namespace, not what (proc(5), ``/proc/PID/mountinfo``: a change
makes it ready as if for urgent data); so each change only wakes those who know what should be mounted, and they look.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Sequence

SOON, PAUSE = 0.01, 0.2
"""Seconds until the first look after a change, and at least between two looks: a busy engine mounts all the time."""


class MountWatch:
    """Calls each of ``looks`` on the event loop soon after mounts have changed."""

    def __init__(self, looks: Sequence[Callable[[], None]]) -> None:
        self._looks = looks
        self._source = -1
        self._poll: select.epoll | None = None
        self._due: asyncio.TimerHandle | None = None
        self._looked = 0.0

    def start(self) -> None:
        """Begin. Raises OSError."""
        self._source = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # An event loop asks whether a file can be read, which this one always can; the inner epoll asks for news alone.
        self._poll = select.epoll()
        self._poll.register(self._source, select.EPOLLPRI)
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._changed)

    def stop(self) -> None:
        """End."""
        if self._due is not None:
            self._due.cancel()
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
            self._poll.close()
            os.close(self._source)
            self._poll = None

    def _changed(self) -> None:
        assert self._poll is not None
        self._poll.poll(0)
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(max(SOON, self._looked + PAUSE - loop.time()), self._look)

    def _look(self) -> None:
        self._due = None
        self._looked = asyncio.get_running_loop().time()
        for look in self._looks:
            look()
