"""Where the file system puts what is below a directory."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
from pathlib import Path

# linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL.
GET_FLAGS = 0x80086601
SET_FLAGS = 0x40086602
TOP_DIRECTORY = 0x20000


def spread(directory: Path) -> None:
    """Have ext4 begin each new subdirectory in a part of the disk of its own (``chattr +T``, as for ``/home``).

    What the subdirectories hold has nothing to do with each other. In one part, files that are made where many were
    just removed are slow: without a journal ext4 does not use an inode again for minutes, and passes over all such
    one by one. Nothing happens on file systems that know no such flag.
    """
    flags = array.array("L", [0])
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, GET_FLAGS, flags)
            flags[0] |= TOP_DIRECTORY
            fcntl.ioctl(descriptor, SET_FLAGS, flags)
        finally:
            os.close(descriptor)
