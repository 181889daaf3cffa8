"""Unpacking a tar into the working directory of a process that is confined to the tree."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from controllers.archive import tarread
from controllers.archive.failures import TAR_IS_TO_BLAME
from controllers.archive.record import Recorder
from controllers.archive.stream import READ_SIZE, Stream
from controllers.archive.tarread import Entry, TarReader
from controllers.archive.unlinking import Unlinker
from store.errors import EngineError, InvalidParameterError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
AUFS_METADATA = b".wh..wh."
OPEN_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EPERM})
OPERATIONS = {
    tarread.REGULAR: "open",
    tarread.DIRECTORY: "mkdir",
    tarread.SYMLINK: "symlink",
    tarread.LINK: "link",
    tarread.FIFO: "mkfifo",
}
# Python's C layer takes times in this range of nanoseconds; what lies outside is clamped, as Go's chtimes does.
LATEST_TIME = (1 << 63) - 1


class Rules(NamedTuple):
    """How to unpack.

    ``whiteouts``: ``overlay`` turns them into overlayfs' own marks, ``keep-out`` drops them, None takes them for files.
    ``no_overwrite_dir_non_dir``: a directory is never replaced by something else, nor the reverse. ``owner``: give
    everything to this (uid, gid) instead of what the tar says. ``own_destination``: ``.`` changes the top itself.
    """

    whiteouts: str | None = None
    no_overwrite_dir_non_dir: bool = False
    owner: tuple[int, int] | None = None
    own_destination: bool = False


class Extractor:
    """One unpacking, relative to the working directory ``top`` (an absolute path in the confined tree)."""

    def __init__(self, stream: Stream, rules: Rules, top: bytes = b"/", recorder: Recorder | None = None) -> None:
        self.stream = stream
        self.rules = rules
        self.top = top
        self.recorder = recorder
        self.size = 0
        self.entries = 0
        self._unlinker = Unlinker()
        self._directories: list[tuple[bytes, int]] = []
        self._parents: dict[bytes, tuple[int, bool]] = {}
        self._makers: dict[bytes, Callable[[Entry, bytes, int], None]] = {
            tarread.DIRECTORY: self._directory,
            tarread.SYMLINK: self._symlink,
            tarread.LINK: self._link,
            tarread.CHARACTER: self._device,
            tarread.BLOCK_DEVICE: self._device,
            tarread.FIFO: self._device,
        }
        if recorder is not None:
            stream.tap = recorder.raw

    def run(self) -> None:
        """Unpack the whole stream.

        Raises:
            InvalidParameterError: the tar is broken, or wants to write outside of the top.
            OSError: the file system refuses.
        """
        reader = TarReader(self.stream)
        while (entry := reader.next()) is not None:
            self.entries += 1
            try:
                self._extract(entry)
            except OSError as error:
                raise self._explained(entry, error) from None
        self.stream.drain()
        self._unlinker.finish()
        self._forget_parents()
        for path, mtime in reversed(self._directories):
            try:
                set_times(path, mtime)
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _extract(self, entry: Entry) -> None:
        name = entry.name
        if name == b".":
            self.stream.skip(entry.size)
            if self.rules.own_destination and entry.kind == tarread.DIRECTORY:
                self._finish(entry, b".", -1)
            return
        if name.startswith(b"../") or name == b"..":
            raise InvalidParameterError(f"{go_quoted(name)} is outside of {go_quoted(self.top)}")
        parent, _, base = name.rpartition(b"/")
        if self.rules.whiteouts is not None and base.startswith(WHITEOUT):
            self.stream.skip(entry.size)
            if self.rules.whiteouts == "overlay":
                self._whiteout(entry, parent, base)
            return
        at, inherits_group = self._parent(parent)
        if entry.kind == tarread.REGULAR:
            self._file(entry, base, at, inherits_group)
            return
        maker = self._makers.get(entry.kind)
        if maker is None:
            raise InvalidParameterError(f"unhandled tar header type {entry.kind[0]}")
        maker(entry, base, at)

    # Parents are opened once, and all forgotten when any of them may have been replaced.

    def _parent(self, parent: bytes) -> tuple[int, bool]:
        known = self._parents.get(parent)
        if known is not None:
            return known
        if len(self._parents) >= 64:
            self._forget_parents()
        try:
            descriptor = os.open(parent or b".", OPEN_DIRECTORY)
        except FileNotFoundError:
            self._make_parents(parent)
            descriptor = os.open(parent, OPEN_DIRECTORY)
        known = descriptor, bool(os.stat(descriptor).st_mode & stat.S_ISGID)
        self._parents[parent] = known
        return known

    def _make_parents(self, parent: bytes) -> None:
        path = b""
        for part in parent.split(b"/"):
            path = path + b"/" + part if path else part
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                continue
            if self.rules.owner is not None:
                os.chown(path, *self.rules.owner)

    def _forget_parents(self) -> None:
        for descriptor, _ in self._parents.values():
            os.close(descriptor)
        self._parents.clear()

    # Members by type.

    def _file(self, entry: Entry, base: bytes, at: int, inherits_group: bool) -> None:
        try:
            descriptor = os.open(base, OPEN_FILE, 0o600, dir_fd=at)
        except FileExistsError:
            at = self._make_room(entry, base, at)
            descriptor = os.open(base, OPEN_FILE, 0o600, dir_fd=at)
        try:
            self._content(entry, descriptor)
            self.size += entry.real_size
            uid, gid = self.rules.owner or (entry.uid, entry.gid)
            if uid or gid or inherits_group:
                os.fchown(descriptor, uid, gid)
            for key, value in entry.xattrs.items():
                set_xattr(descriptor, key, value)
            os.fchmod(descriptor, entry.mode)
            set_times(descriptor, entry.mtime)
        finally:
            os.close(descriptor)

    def _content(self, entry: Entry, descriptor: int) -> None:
        recorder = self.recorder
        if entry.sparse is None:
            if entry.size:
                self.stream.copy(entry.size, descriptor)
                if recorder is not None:
                    info = os.fstat(descriptor)
                    recorder.file(entry.name, entry.size, (info.st_dev, info.st_ino))
            return
        for offset, length in entry.sparse:
            os.lseek(descriptor, offset, os.SEEK_SET)
            while length:
                piece = self.stream.exactly(min(length, READ_SIZE))
                length -= len(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, entry.real_size)

    def _directory(self, entry: Entry, base: bytes, at: int) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=at)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(base, dir_fd=at, follow_symlinks=False).st_mode):
                at = self._make_room(entry, base, at)
                os.mkdir(base, 0o700, dir_fd=at)
        self._finish(entry, base, at)

    def _symlink(self, entry: Entry, base: bytes, at: int) -> None:
        self._check_link(entry, os.path.join(os.path.dirname(entry.name), entry.link.lstrip(b"/")), "symlink")
        try:
            os.symlink(entry.link, base, dir_fd=at)
        except FileExistsError:
            at = self._make_room(entry, base, at)
            os.symlink(entry.link, base, dir_fd=at)
        self._finish(entry, base, at)

    def _link(self, entry: Entry, base: bytes, at: int) -> None:
        self._check_link(entry, entry.link, "hardlink")
        target = tarread.clean(entry.link)
        try:
            os.link(target, base, dst_dir_fd=at, follow_symlinks=False)
        except FileExistsError:
            info = os.stat(base, dir_fd=at, follow_symlinks=False)
            if os.path.samestat(info, os.lstat(target)):
                return
            at = self._make_room(entry, base, at)
            os.link(target, base, dst_dir_fd=at, follow_symlinks=False)

    def _device(self, entry: Entry, base: bytes, at: int) -> None:
        form = {tarread.FIFO: stat.S_IFIFO, tarread.CHARACTER: stat.S_IFCHR}.get(entry.kind, stat.S_IFBLK)
        try:
            device = 0 if entry.kind == tarread.FIFO else os.makedev(entry.major, entry.minor)
        except (OverflowError, ValueError):
            raise tarread.invalid_header() from None
        try:
            os.mknod(base, form | 0o600, device, dir_fd=at)
        except FileExistsError:
            at = self._make_room(entry, base, at)
            os.mknod(base, form | 0o600, device, dir_fd=at)
        self._finish(entry, base, at)

    def _check_link(self, entry: Entry, target: bytes, what: str) -> None:
        # Only what leaves the destination is refused; the kernel contains the rest in any case.
        place = b"/" + tarread.clean(b"/" + os.path.join(self.top, target.lstrip(b"/")))
        if self.top == b"/" or (place + b"/").startswith(self.top + b"/"):
            return
        shown = place if what == "hardlink" else os.path.join(self.top, entry.name)
        raise InvalidParameterError(f"invalid {what} {go_quoted(shown)} -> {go_quoted(entry.link)}")

    def _explained(self, entry: Entry, error: OSError) -> EngineError:
        """What the file system refused, in Go's words."""
        reason = os.strerror(error.errno or errno.EIO).lower()
        path = os.fsdecode(os.path.join(self.top, entry.name))
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            return EngineError(f"write {path}: {reason}")
        if error.errno == errno.EBUSY:
            return EngineError(f"unlinkat {path}: {reason}")
        if entry.kind == tarread.LINK:
            path = f"{os.fsdecode(os.path.join(self.top, tarread.clean(entry.link)))} {path}"
        blamed = error.errno in TAR_IS_TO_BLAME or error.errno == errno.ENOENT
        # A link to a directory, across a mount, or one too many.
        blamed = blamed or (entry.kind == tarread.LINK and error.errno in (errno.EPERM, errno.EXDEV, errno.EMLINK))
        return (InvalidParameterError if blamed else EngineError)(
            f"{OPERATIONS.get(entry.kind, 'mknod')} {path}: {reason}"
        )

    def _whiteout(self, entry: Entry, parent: bytes, base: bytes) -> None:
        at, _ = self._parent(parent)
        if base == OPAQUE:
            os.setxattr(parent or b".", b"trusted.overlay.opaque", b"y")
            return
        if base.startswith(AUFS_METADATA):
            return
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InvalidParameterError(f"invalid whiteout {go_quoted(entry.name)}")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=at)
        except FileExistsError:
            self._remove(os.path.join(parent, hidden))
            at, _ = self._parent(parent)
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=at)
        os.chown(hidden, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)

    # What was there before.

    def _make_room(self, entry: Entry, base: bytes, at: int) -> int:
        """Remove what has the member's name; the parent's descriptor, opened anew if need be."""
        info = os.stat(base, dir_fd=at, follow_symlinks=False)
        is_directory = stat.S_ISDIR(info.st_mode)
        if self.rules.no_overwrite_dir_non_dir and is_directory != (entry.kind == tarread.DIRECTORY):
            path = os.path.join(self.top, entry.name)
            first, second = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
            raise InvalidParameterError(
                f"cannot overwrite {first} {go_quoted(path)} with {second} {go_quoted(self.top)}"
            )
        self._remove(entry.name)
        return self._parent(entry.name.rpartition(b"/")[0])[0]

    def _remove(self, path: bytes) -> None:
        info = os.lstat(path)
        if stat.S_ISDIR(info.st_mode):
            self._forget_parents()
            for name in os.listdir(path):
                self._remove(os.path.join(path, name))
            os.rmdir(path)
            return
        if stat.S_ISLNK(info.st_mode):
            self._forget_parents()
        if self.recorder is not None and stat.S_ISREG(info.st_mode):
            self.recorder.rescue(path, (info.st_dev, info.st_ino))
        self._unlinker.unlink(path)

    def _finish(self, entry: Entry, base: bytes, at: int) -> None:
        """Owner, attributes, mode and times of anything but a regular file."""
        where = at if at >= 0 else None
        uid, gid = self.rules.owner or (entry.uid, entry.gid)
        os.chown(base, uid, gid, dir_fd=where, follow_symlinks=False)
        if entry.xattrs:
            for key, value in entry.xattrs.items():
                set_xattr(entry.name, key, value)
        if entry.kind != tarread.SYMLINK:
            os.chmod(base, entry.mode, dir_fd=where)
        if entry.kind == tarread.DIRECTORY:
            self._directories.append((entry.name, entry.mtime))
        else:
            set_times(base, entry.mtime, at=where)


def set_times(path: bytes | int, mtime: int, *, at: int | None = None) -> None:
    """Set both times of a path (itself, not its target) or descriptor to ``mtime`` nanoseconds."""
    when = min(max(mtime, 0), LATEST_TIME)
    if isinstance(path, int):
        os.utime(path, ns=(when, when))
    else:
        os.utime(path, ns=(when, when), dir_fd=at, follow_symlinks=False)


def set_xattr(path: bytes | int, key: bytes, value: bytes) -> None:
    """Set an attribute, unless the file system has none of the kind (dockerd leaves it out too)."""
    if key.startswith(b"trusted.overlay."):
        # overlayfs' own marks never come from a tar: a redirect in one could name any path.
        return
    try:
        if isinstance(path, int):
            os.setxattr(path, key, value)
        else:
            os.setxattr(path, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def go_quoted(name: bytes) -> str:
    """A name as Go's ``%q`` prints it."""
    text = os.fsdecode(name).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text) + '"'
