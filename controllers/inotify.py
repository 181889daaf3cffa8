"""inotify(7) on the event loop: directories are watched, and what happens in them is told."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

CLOSE_WRITE, MOVED_TO, DELETE = 0x8, 0x80, 0x200
OVERFLOW = 0x4000
_IGNORED = 0x8000
_ONLY_DIRECTORY = 0x1000000
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """``on_event(directory, mask, name)`` is called for what happens in watched directories.

    OVERFLOW, which is of no directory, means that events were lost. Raises OSError where inotify has no more to give.
    """

    def __init__(self, on_event: Callable[[Path, int, str], None]) -> None:
        self._on_event = on_event
        self._watched: dict[int, Path] = {}
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def add(self, directory: Path, mask: int) -> None:
        """Watch a directory; one that is watched already stays so. Raises OSError."""
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask | _ONLY_DIRECTORY)
        self._watched[_checked(number, str(directory))] = directory

    def remove(self, directory: Path) -> None:
        """Watch a directory no longer, which may be gone; one that is not watched is fine."""
        for number in [number for number, watched in self._watched.items() if watched == directory]:
            del self._watched[number]
            _libc.inotify_rm_watch(self._descriptor, number)

    def close(self) -> None:
        """Watch no longer."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + length].rstrip(b"\0").decode("utf-8", "replace")
            offset += length
            if mask & _IGNORED:
                self._watched.pop(number, None)
            elif number in self._watched or mask & OVERFLOW:
                self._on_event(self._watched.get(number, Path()), mask, name)


def _checked(number: int, what: str) -> int:
    if number < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return number
