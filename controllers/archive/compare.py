"""What a container's upper directory changes in the layers below it (``docker diff``)."""

from __future__ import annotations

import os
import stat

from controllers.archive.collect import OPAQUE_XATTR

MODIFIED, ADDED, DELETED = 0, 1, 2
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Found = list[tuple[bytes, int]]


def whiteout(info: os.stat_result) -> bool:
    """Whether overlayfs takes the file for "nothing here"."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def lookup(name: bytes, at: int) -> os.stat_result | None:
    """A member of an open directory, or None."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def listed(directory: int) -> list[bytes]:
    """The names in an open directory."""
    return [os.fsencode(name) for name in os.listdir(directory)]


def opaque(directory: int) -> bool:
    """Whether overlayfs hides what lies under the directory in lower layers."""
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


class Comparison:
    """Walks the upper directory beside the lower ones, by descriptors: no symbolic link is ever followed."""

    def __init__(self) -> None:
        self.found: Found = []

    def walk(self, upper: int, lowers: list[int], prefix: bytes = b"") -> None:
        """Add what differs under the open directories (top layer first) in the order of names."""
        names = set(listed(upper))
        removed = self._hidden(upper, lowers, names) if opaque(upper) else {}
        if removed:
            lowers = []
        for name in sorted(names | set(removed)):
            path = prefix + b"/" + name
            info = lookup(name, upper) if name in names else None
            before = removed.get(name) or self._before(name, lowers)
            if info is None or whiteout(info):
                if before is not None:
                    self.found.append((path, DELETED))
            elif before is None:
                self.found.append((path, ADDED))
                if stat.S_ISDIR(info.st_mode):
                    self._descend(name, upper, [], path)
            elif stat.S_ISDIR(info.st_mode) and stat.S_ISDIR(before.st_mode):
                self._directory(name, upper, lowers, path, info, before)
            else:
                self.found.append((path, MODIFIED))
                if stat.S_ISDIR(info.st_mode):
                    self._descend(name, upper, [], path)

    def _hidden(self, upper: int, lowers: list[int], names: set[bytes]) -> dict[bytes, os.stat_result]:
        hidden: dict[bytes, os.stat_result] = {}
        for lower in lowers:
            for name in listed(lower):
                before = self._before(name, lowers)
                if before is not None:
                    hidden[name] = before
        return hidden

    def _before(self, name: bytes, lowers: list[int]) -> os.stat_result | None:
        for lower in lowers:
            info = lookup(name, lower)
            if info is not None:
                return None if whiteout(info) else info
        return None

    def _directory(
        self, name: bytes, upper: int, lowers: list[int], path: bytes, info: os.stat_result, before: os.stat_result
    ) -> None:
        place = len(self.found)
        self._descend(name, upper, self._below(name, lowers), path)
        # The directory itself counts when something in it came or went, or when its own attributes differ.
        inside = path + b"/"
        came_or_went = any(kind != MODIFIED and b"/" not in child[len(inside) :] for child, kind in self.found[place:])
        own = (info.st_mode, info.st_uid, info.st_gid) != (before.st_mode, before.st_uid, before.st_gid)
        if came_or_went or own or len(self.found) > place or info.st_mtime_ns != before.st_mtime_ns:
            self.found.insert(place, (path, MODIFIED))

    def _below(self, name: bytes, lowers: list[int]) -> list[int]:
        """The same directory in each lower layer, down to the first that hides the rest."""
        below: list[int] = []
        for lower in lowers:
            info = lookup(name, lower)
            if info is None:
                continue
            if not stat.S_ISDIR(info.st_mode):
                break
            below.append(os.open(name, OPEN_DIRECTORY, dir_fd=lower))
            if opaque(below[-1]):
                break
        return below

    def _descend(self, name: bytes, upper: int, below: list[int], path: bytes) -> None:
        try:
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=upper)
            try:
                self.walk(inner, below, path)
            finally:
                os.close(inner)
        finally:
            for descriptor in below:
                os.close(descriptor)
