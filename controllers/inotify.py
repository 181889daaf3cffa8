"""inotify(7) on the event loop: files and directories are watched, and what happens to them is told."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

MODIFY, CLOSE_WRITE, MOVED_TO, DELETE = 0x2, 0x8, 0x80, 0x200
ONLY_DIRECTORY, ONCE = 0x1000000, 0x80000000
OVERFLOW = 0x4000
_IGNORED = 0x8000
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """``on_event(path, mask, name)`` is called for what happens to a watched path, or to ``name`` in it.

    OVERFLOW, which is of no path, means that events were lost. Raises OSError where inotify has no more to give.
    """

    def __init__(self, on_event: Callable[[Path, int, str], None]) -> None:
        self._on_event = on_event
        self._watched: dict[int, Path] = {}
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def add(self, path: Path, mask: int) -> None:
        """Watch a path; one that is watched already stays so. Raises OSError."""
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask)
        self._watched[_checked(number, str(path))] = path

    def remove(self, path: Path) -> None:
        """Watch a path no longer, which may be gone; one that is not watched is fine."""
        for number in [number for number, watched in self._watched.items() if watched == path]:
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
