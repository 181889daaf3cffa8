"""Finding and describing one path in the confined tree."""

from __future__ import annotations

import errno
import os
import stat

GO_BITS = (
    (stat.S_ISUID, 1 << 23),
    (stat.S_ISGID, 1 << 22),
    (stat.S_ISVTX, 1 << 20),
)
GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}


def go_mode(mode: int) -> int:
    """A mode as Go's ``os.FileMode`` has it."""
    value = mode & 0o777 | GO_TYPES.get(stat.S_IFMT(mode), 0)
    for bit, go_bit in GO_BITS:
        if mode & bit:
            value |= go_bit
    return value


def resolve(path: str) -> bytes:
    """A client's path as one to look at: the parent resolved, the last part not, unless ``/`` or ``/.`` follows it.

    Raises:
        OSError: a parent is missing or not a directory.
    """
    rooted = "/" + path.lstrip("/")
    cleaned = os.path.normpath(rooted)
    cleaned = "/" + cleaned.lstrip("/")
    if cleaned == "/":
        return b"/"
    if rooted.endswith(("/", "/.")):
        found = os.path.realpath(cleaned, strict=True)
        if not os.path.isdir(found):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"lstat {rooted}")
        return os.fsencode(found)
    parent, base = os.path.split(cleaned)
    found = os.path.realpath(parent, strict=True)
    if not os.path.isdir(found):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"lstat {rooted}")
    return os.fsencode(os.path.join(found, base))


def shown_name(path: str) -> str:
    """How ``docker cp`` wants the top of an archive of ``path`` to be called: its last part, ``.`` or ``/``."""
    if path.endswith("/.") and path.strip("/") != ".":
        return "."
    return os.path.basename(os.path.normpath("/" + path.lstrip("/"))) or "/"


def describe(path: str) -> dict[str, object]:
    """Name, size, mode, mtime and, for a symbolic link, what it finally leads to inside the tree.

    Raises:
        OSError: there is no such path.
    """
    found = resolve(path)
    info = os.lstat(found)
    return {
        "name": shown_name(path),
        "size": info.st_size,
        "mode": go_mode(info.st_mode),
        "mtime": info.st_mtime_ns,
        "link_target": os.path.realpath(os.fsdecode(found)) if stat.S_ISLNK(info.st_mode) else "",
        "path": os.fsdecode(found),
    }
