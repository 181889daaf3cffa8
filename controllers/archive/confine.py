"""Confining a process to a tree, and laying mounts into the tree that only this process sees.

System calls that Python 3.11 has no function for go through libc's ``syscall``: their numbers are the same on every
architecture (they are newer than the common table).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

CLONE_NEWNS = 0x00020000
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_SYMLINKS = 0x10
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """A system call's result; OSError with ``what`` for a name when it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def confine(root: str, mounts: list[tuple[str, str]]) -> None:
    """Make ``root`` this process's root and working directory; first lay each (source, destination) into it.

    The mounts are seen by this process alone. Destinations are paths inside the root, resolved there, and made when
    missing. Sources that do not exist are passed over.

    Raises:
        OSError: the root does not exist, or the kernel refuses.
    """
    sources: list[tuple[int, str]] = []
    if mounts:
        check(libc.unshare(CLONE_NEWNS), "unshare")
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
        for source, destination in mounts:
            flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
            tree = libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(source), flags)
            if tree >= 0:
                sources.append((tree, destination))
    os.chdir(root)
    os.chroot(".")
    for tree, destination in sources:
        make_place(destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        moved = libc.syscall(
            SYS_MOVE_MOUNT,
            tree,
            b"",
            AT_FDCWD,
            os.fsencode(destination),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS,
        )
        check(moved, destination)
        os.close(tree)


def make_place(path: str, *, directory: bool) -> None:
    """What a mount can be laid on, if there is nothing yet."""
    if os.path.exists(path):
        return
    os.makedirs(path if directory else os.path.dirname(path), 0o755, exist_ok=True)
    if not directory:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755))


def mount_device(device: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2); a change of flags of a bind mount takes the second call that the kernel asks for.

    Raises:
        OSError: the kernel refuses.
    """
    arguments = (os.fsencode(device), os.fsencode(target), os.fsencode(kind))
    check(libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data)), target)
    if flags & MS_BIND and flags & ~(MS_BIND | MS_REC):
        again = libc.mount(*arguments, ctypes.c_ulong(flags | MS_REMOUNT), os.fsencode(data))
        check(again, target)


def unmount_all(target: str) -> None:
    """Detach whatever is mounted on ``target``, layer by layer; nothing happens when nothing is.

    Raises:
        OSError: the kernel refuses.
    """
    while libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        check(-1, target)
