"""Removing a tree that strangers wrote: no link is followed and no mount is entered."""

from __future__ import annotations

import errno
import os

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove the directory and all that is in it; nothing happens when it does not exist.

    Raises:
        OSError: EBUSY when something is mounted in it, else what the file system says.
    """
    try:
        top = os.open(path, OPEN_DIRECTORY)
    except FileNotFoundError:
        return
    device = os.fstat(top).st_dev
    if os.path.ismount(path):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
    # Names of the directories on the way down; their descriptors are opened again on the way up, so that a deep tree
    # does not use up the limit on open files.
    current, depth = top, 0
    pending: list[list[str]] = [_emptied(current)]
    while True:
        if pending[-1]:
            inner = os.open(pending[-1][-1], OPEN_DIRECTORY, dir_fd=current)
            if os.fstat(inner).st_dev != device:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            os.close(current)
            current, depth = inner, depth + 1
            pending.append(_emptied(current))
        elif depth == 0:
            break
        else:
            outer = os.open("..", OPEN_DIRECTORY, dir_fd=current)
            os.close(current)
            current, depth = outer, depth - 1
            pending.pop()
            os.rmdir(pending[-1].pop(), dir_fd=current)
    os.close(current)
    os.rmdir(path)


def _emptied(directory: int) -> list[str]:
    """Unlink all but directories; the names of those."""
    directories: list[str] = []
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            directories.append(name)
    return directories
