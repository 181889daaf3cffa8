"""Files below a container's root, looked up by the kernel with that root as ``/``.

A path inside an image may lead through symbolic links that an attacker chose; ``openat2`` with ``RESOLVE_IN_ROOT``
cannot be led out, however the links change while it looks.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: Path | int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open ``path`` with ``root`` (a path or a directory's descriptor) as ``/``; gives a descriptor, raises OSError."""
    directory = root if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        descriptor: int = _libc.syscall(
            _SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        )
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return descriptor
    finally:
        if not isinstance(root, int):
            os.close(directory)


def read_in_root(root: Path | int, path: str, limit: int) -> bytes:
    """The first ``limit`` bytes of a regular file below ``root``; OSError as open(2), or when it is no regular file."""
    descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as source:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "not a regular file", path)
        return source.read(limit)
