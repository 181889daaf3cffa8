"""Mounts that somebody else takes away: noticed, and laid again from whoever still has them.

The kernel tells that something changed in our mount namespace, not what (proc(5), ``/proc/PID/mountinfo``: a change
makes it ready as if for urgent data); so what is gone is found by comparing, and those who know what should be mounted
look at that.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

SOON, PAUSE = 0.01, 0.2
"""Seconds until the first look after a change, and at least between two looks: a busy engine mounts all the time."""
_ESCAPED = re.compile(rb"\\([0-7]{3})")

Look = Callable[[frozenset[str]], None]


def entries(directory: Path, points: Iterable[str]) -> set[str]:
    """The names of those entries of a directory that some mount points are, or are below."""
    above = os.path.realpath(directory) + "/"
    return {point[len(above) :].partition("/")[0] for point in points if point.startswith(above)}


class MountWatch:
    """Calls each of ``looks`` on the event loop soon after mounts have gone, with the mount points that are no more."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = looks
        self._source = -1
        self._poll: select.epoll | None = None
        self._due: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._points: frozenset[bytes] = frozenset()

    def start(self) -> None:
        """Begin. Raises OSError."""
        self._source = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        # An event loop asks whether a file can be read, which this one always can; the inner epoll asks for news alone.
        self._poll = select.epoll()
        self._poll.register(self._source, select.EPOLLPRI)
        self._points = self._read()
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
        before, self._points = self._points, self._read()
        if gone := frozenset(_path(point) for point in before - self._points):
            for look in self._looks:
                look(gone)

    def _read(self) -> frozenset[bytes]:
        parts = []
        os.lseek(self._source, 0, os.SEEK_SET)
        while part := os.read(self._source, 1 << 20):
            parts.append(part)
        return frozenset(line.split(b" ", 5)[4] for line in b"".join(parts).splitlines())


def _path(point: bytes) -> str:
    """A mount point as the kernel shows it, blanks and the like in octal."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), point))
