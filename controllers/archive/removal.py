"""Removing a tree that strangers wrote: no link is followed and no mount is entered."""

from __future__ import annotations

import errno
import os

from controllers.archive.kernel import AT_FDCWD, open_same_mount
from controllers.archive.unlinking import Unlinker

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def remove_tree(path: str) -> None:
    """Remove the directory (relative to the working directory) and all in it; nothing happens when there is none.

    Raises:
        OSError: EBUSY when something is mounted in it, else what the file system says.
    """
    unlinker = Unlinker()
    try:
        _remove(path, unlinker)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path) from None
        raise
    finally:
        unlinker.finish()


def _remove(path: str, unlinker: Unlinker) -> None:
    try:
        top = open_same_mount(path, OPEN_DIRECTORY, AT_FDCWD)
    except FileNotFoundError:
        return
    # Names of the directories on the way down; their descriptors are opened again on the way up, so that a deep tree
    # does not use up the limit on open files.
    current, depth = top, 0
    pending: list[list[str]] = [_emptied(current, unlinker)]
    while True:
        if pending[-1]:
            inner = open_same_mount(pending[-1][-1], OPEN_DIRECTORY, current)
            os.close(current)
            current, depth = inner, depth + 1
            pending.append(_emptied(current, unlinker))
        elif depth == 0:
            break
        else:
            outer = open_same_mount("..", OPEN_DIRECTORY, current)
            os.close(current)
            current, depth = outer, depth - 1
            pending.pop()
            os.rmdir(pending[-1].pop(), dir_fd=current)
    os.close(current)
    os.rmdir(path)


def _emptied(directory: int, unlinker: Unlinker) -> list[str]:
    """Unlink all but directories; the names of those."""
    directories: list[str] = []
    for name in os.listdir(directory):
        try:
            unlinker.unlink(name, at=directory)
        except IsADirectoryError:
            directories.append(name)
    return directories
