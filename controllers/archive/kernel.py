"""System calls that Python 3.11 has no function for, through libc.

Those by number have the same one on every architecture: they are newer than the common table.
"""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
AT_EMPTY_PATH = 0x1000
MOUNT_ATTR_RDONLY = 1
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_SYMLINKS = 0x10
RESOLVE_NO_XDEV = 1
RESOLVE_NO_SYMLINKS = 4
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)


class OpenHow(ctypes.Structure):
    """openat2(2)'s ``struct open_how``."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class MountAttributes(ctypes.Structure):
    """mount_setattr(2)'s ``struct mount_attr``."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def _check(result: int, what: str | bytes) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def sync_file_system(path: str | os.PathLike[str]) -> None:
    """Have all that was written to the file system of ``path`` so far be on the disk (syncfs(2)).

    Raises:
        OSError: something could not be written.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(descriptor), os.fspath(path))
    finally:
        os.close(descriptor)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Have a directory's own entries be on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_mount_namespace() -> None:
    """Give this process a mount namespace of its own, from which nothing gets back."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "/")


def cloned_mount(source: str) -> int | None:
    """A detached copy of the mounts at and under ``source``; None when there is no such path."""
    flags = OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    tree = int(_libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(source), flags))
    if tree < 0 and ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR):
        return None
    return _check(tree, source)


def enter_mount_namespace(descriptor: int) -> None:
    """Move this process, which must have one thread, into a mount namespace and to its root."""
    _check(_libc.setns(descriptor, CLONE_NEWNS), "setns")


def cloned_single_mount(path: str, information: int) -> int:
    """A detached copy of the one mount at ``path``, which no link leads to and which begins a mount.

    ``information`` is our own ``/proc/self/fdinfo``, opened where ``/proc`` is to be believed.

    Raises:
        OSError: there is nothing; it is a link; ENOTDIR when nothing is mounted just there.
    """
    how = OpenHow(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
    size = ctypes.sizeof(how)
    place = _check(int(_libc.syscall(SYS_OPENAT2, AT_FDCWD, os.fsencode(path), ctypes.byref(how), size)), path)
    above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=place) if path != "/" else -1
    if above >= 0 and _mount_id(place, information) == _mount_id(above, information):
        raise OSError(errno.ENOTDIR, "no mount", path)
    flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | os.O_CLOEXEC
    return _check(int(_libc.syscall(SYS_OPEN_TREE, place, b"", flags)), path)


def _mount_id(descriptor: int, information: int) -> bytes:
    with open(os.open(str(descriptor), os.O_RDONLY | os.O_CLOEXEC, dir_fd=information), "rb") as source:
        return next(line for line in source if line.startswith(b"mnt_id:"))


def make_writable(tree: int) -> None:
    """Let a detached mount be written to through itself; what its file system forbids stays forbidden."""
    wanted = MountAttributes(0, MOUNT_ATTR_RDONLY, 0, 0)
    size = ctypes.sizeof(wanted)
    _check(_libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(wanted), size), "mount_setattr")


def attach_mount(tree: int, place: str) -> None:
    """Lay a detached mount on a path."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS
    _check(_libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(place), flags), place)


def mount_device(device: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2); flags of a bind mount take the second call that the kernel asks for."""
    arguments = (os.fsencode(device), os.fsencode(target), os.fsencode(kind))
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data)), target)
    if flags & MS_BIND and flags & ~(MS_BIND | MS_REC):
        _check(_libc.mount(*arguments, ctypes.c_ulong(flags | MS_REMOUNT), os.fsencode(data)), target)


def unmount_all(target: str) -> None:
    """Detach whatever is mounted on ``target``, layer by layer; nothing happens when nothing is."""
    while _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _check(-1, target)


def open_same_mount(name: str, flags: int, directory: int) -> int:
    """Open a member of an open directory without following a link or entering another mount, a bind mount included.

    Raises:
        OSError: EXDEV for what is on another mount, ELOOP for a link.
    """
    how = OpenHow(flags | os.O_CLOEXEC, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
    size = ctypes.sizeof(how)
    return _check(int(_libc.syscall(SYS_OPENAT2, directory, os.fsencode(name), ctypes.byref(how), size)), name)


def is_mount_point(path: str | os.PathLike[str]) -> bool:
    """Whether something is mounted on ``path``. (``os.path.ismount`` does not see bind mounts of the same device.)"""
    parent, name = os.path.split(os.path.abspath(path))
    try:
        directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.close(open_same_mount(name, os.O_PATH, directory))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
        raise
    finally:
        os.close(directory)
    return False
