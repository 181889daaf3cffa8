"""Packing files of the working directory, in a process confined to the tree, as a tar stream."""

from __future__ import annotations

import os
import stat

from controllers.archive import tarread, tarwrite
from controllers.archive.stream import READ_SIZE
from controllers.archive.tarread import Entry

SEND_SIZE = 1 << 20
SMALL = 1 << 16
# writev(2) takes 1,024.
MOST_PIECES = 1000
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOATIME
OPAQUE_XATTR = b"trusted.overlay.opaque"
KINDS = {
    stat.S_IFREG: tarread.REGULAR,
    stat.S_IFDIR: tarread.DIRECTORY,
    stat.S_IFLNK: tarread.SYMLINK,
    stat.S_IFCHR: tarread.CHARACTER,
    stat.S_IFBLK: tarread.BLOCK_DEVICE,
    stat.S_IFIFO: tarread.FIFO,
}


class Collector:
    """Writes members to ``sink``; small ones are gathered into big writes."""

    def __init__(self, sink: int, *, layer: bool = False) -> None:
        self.sink = sink
        self.layer = layer
        self._pending: list[bytes] = []
        self._size = 0
        self._links: dict[tuple[int, int], bytes] = {}

    def add_tree(self, path: bytes, name: bytes | None) -> None:
        """``path`` with all that is under it, as ``name``; without a name, only what is under it.

        Raises:
            FileNotFoundError: ``path`` does not exist. What vanishes under it meanwhile is left out.
        """
        info = os.lstat(path)
        if name is not None:
            self._member(path, name, info)
        if not stat.S_ISDIR(info.st_mode):
            return
        prefix = b"" if name is None else name.rstrip(b"/") + b"/"
        stack = [(path, prefix, iter(self._names(path)))]
        while stack:
            directory, prefix, names = stack[-1]
            base = next(names, None)
            if base is None:
                stack.pop()
                continue
            child = directory.rstrip(b"/") + b"/" + base
            try:
                info = os.lstat(child)
                self._member(child, prefix + base, info)
                if stat.S_ISDIR(info.st_mode):
                    stack.append((child, prefix + base + b"/", iter(self._names(child))))
            except FileNotFoundError:
                continue

    def finish(self) -> None:
        """Write the archive's end and all that is pending."""
        self._put(tarwrite.END)
        self._flush()

    @staticmethod
    def _names(path: bytes) -> list[bytes]:
        return sorted(os.listdir(path))

    def _member(self, path: bytes, name: bytes, info: os.stat_result) -> None:
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return
        entry = Entry(
            name=name,
            kind=kind,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            size=0,
            mtime=info.st_mtime_ns,
            link=b"",
        )
        if kind == tarread.REGULAR:
            self._regular(path, entry, info)
            return
        if kind == tarread.SYMLINK:
            entry.link = os.readlink(path)
        elif kind in (tarread.CHARACTER, tarread.BLOCK_DEVICE):
            entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
            if self.layer and kind == tarread.CHARACTER and info.st_rdev == 0:
                self._whiteout(entry)
                return
        self._attributes(path, entry)
        opaque = entry.xattrs.pop(OPAQUE_XATTR, b"")
        self._put(tarwrite.header(entry))
        if self.layer and opaque == b"y":
            entry.name += b"/.wh..wh..opq"
            entry.kind = tarread.REGULAR
            self._put(tarwrite.header(entry))

    def _whiteout(self, entry: Entry) -> None:
        directory, slash, base = entry.name.rpartition(b"/")
        entry.name = directory + slash + b".wh." + base
        entry.kind, entry.mode = tarread.REGULAR, 0o600
        self._put(tarwrite.header(entry))

    def _attributes(self, path: bytes | int, entry: Entry) -> None:
        try:
            names = os.listxattr(path) if isinstance(path, int) else os.listxattr(path, follow_symlinks=False)
        except OSError:
            return
        for name in names:
            wanted = name == "security.capability" or name.startswith("user.")
            if wanted or (self.layer and name == OPAQUE_XATTR.decode()):
                try:
                    value = (
                        os.getxattr(path, name)
                        if isinstance(path, int)
                        else os.getxattr(path, name, follow_symlinks=False)
                    )
                except OSError:
                    continue
                entry.xattrs[os.fsencode(name)] = value

    def _regular(self, path: bytes, entry: Entry, info: os.stat_result) -> None:
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), entry.name)
            if first != entry.name:
                entry.kind, entry.link = tarread.LINK, first
                self._put(tarwrite.header(entry))
                return
        descriptor = os.open(path, OPEN_FILE)
        try:
            opened = os.fstat(descriptor)
            if not stat.S_ISREG(opened.st_mode):
                return
            entry.size = opened.st_size
            self._attributes(descriptor, entry)
            self._put(tarwrite.header(entry))
            if entry.size:
                self._content(descriptor, entry.size)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, size: int) -> None:
        """Exactly ``size`` bytes: a file that shrinks meanwhile is filled up with zeros, one that grows is cut."""
        missing = size
        if size <= SMALL:
            data = os.read(descriptor, size)
            self._put(data)
            missing -= len(data)
        else:
            self._flush()
            while missing:
                sent = os.sendfile(self.sink, descriptor, None, min(missing, SEND_SIZE))
                if not sent:
                    break
                missing -= sent
        while missing:
            part = min(missing, SEND_SIZE)
            self._put(bytes(part))
            missing -= part
        self._put(tarwrite.padding(size))

    def _put(self, data: bytes) -> None:
        if data:
            self._pending.append(data)
            self._size += len(data)
            if self._size >= READ_SIZE or len(self._pending) >= MOST_PIECES:
                self._flush()

    def _flush(self) -> None:
        pieces, self._pending = self._pending, []
        total, self._size = self._size, 0
        written = os.writev(self.sink, pieces) if pieces else 0
        if written < total:
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                rest = rest[os.write(self.sink, rest) :]
