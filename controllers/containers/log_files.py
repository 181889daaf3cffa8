"""The files of a container's log: the one that conmon writes, and the full ones before it. All here blocks.

``log`` is written; ``log.1``, ``log.2`` … are full, the highest number the newest, some compressed as ``log.1.gz``. A
log begins a new file in two steps: ``log`` loses its name (it gets the next number, or is removed where it is all that
is kept), then conmon is told to open ``log`` anew. Until it does, there is no ``log``, and it writes on where it wrote:
so a daemon that died in between finds out what is left to do.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path

from store.crashpoints import crashpoint
from store.objects.log_options import Rotation

COMPRESSED = ".gz"
_UNFINISHED = ".new"
_BLOCK = 16 * 1024
_TRIES = 20


class LogFile:
    """One file of a log, open for reading. ``number`` is the one that it has, or will get when it is full."""

    def __init__(self, descriptor: int, path: Path, number: int) -> None:
        self.number = number
        self._descriptor = descriptor
        self._packed_in = path.parent if path.suffix == COMPRESSED else None
        self._size = -1 if self._packed_in else os.fstat(descriptor).st_size
        self.changed_at = os.fstat(descriptor).st_mtime_ns

    def unpack(self) -> None:
        """Have the plain text of a file that is compressed; once is enough."""
        if self._packed_in is not None:
            plain = _uncompressed(self._descriptor, self._packed_in)
            os.close(self._descriptor)
            self._descriptor, self._packed_in = plain, None
            self._size = os.fstat(plain).st_size

    @property
    def descriptor(self) -> int:
        """The plain text."""
        self.unpack()
        return self._descriptor

    @property
    def size(self) -> int:
        """How many bytes of whole lines there were when it was opened."""
        descriptor, begin = self.descriptor, self._size
        while begin:
            end, begin = begin, max(0, begin - _BLOCK)
            found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
            if found >= 0:
                self._size = begin + found + 1
                return self._size
        return 0

    def is_same(self, other: os.stat_result) -> bool:
        """Whether it is the file that a stat was of."""
        return os.path.samestat(other, os.fstat(self._descriptor))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def _uncompressed(descriptor: int, directory: Path) -> int:
    """The descriptor of a file without a name that holds the content; what is damaged ends where the damage is."""
    with tempfile.TemporaryFile(dir=directory) as plain:
        with contextlib.suppress(OSError, EOFError, zlib.error), open(os.dup(descriptor), "rb") as source:
            shutil.copyfileobj(gzip.GzipFile(fileobj=source), plain)
        plain.flush()
        return os.dup(plain.fileno())


def full(path: Path) -> dict[int, Path]:
    """The full files of a log by number."""
    form = re.compile(re.escape(path.name) + r"\.(\d+)(\.gz)?")
    found: dict[int, Path] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(path.parent):
            matched = form.fullmatch(name)
            # While both are there, the plain one is whole and the other may not be.
            if matched and not (matched[2] and int(matched[1]) in found):
                found[int(matched[1])] = path.with_name(name)
    return found


def open_all(path: Path) -> list[LogFile]:
    """All files of a log as they are at one moment, the oldest first. Close them."""
    live: LogFile | None = None
    numbered: dict[int, Path] = {}
    for _ in range(_TRIES):
        if live is not None:
            live.close()
        numbered = full(path)
        live = _opened(path, max(numbered, default=0) + 1)
        if max(full(path), default=0) == max(numbered, default=0):
            break
    found = [_opened(numbered[number], number) or _opened_packed(path, number) for number in sorted(numbered)]
    return [file for file in (*found, live) if file is not None]


def _opened(path: Path, number: int) -> LogFile | None:
    try:
        return LogFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path, number)
    except FileNotFoundError:
        return None


def _opened_packed(path: Path, number: int) -> LogFile | None:
    """A file that was compressed since it was listed."""
    return _opened(path.with_name(f"{path.name}.{number}{COMPRESSED}"), number)


def after(path: Path, file: LogFile) -> LogFile | None:
    """The file that follows, when there is one: then ``file`` is full, and nothing more will be written to it."""
    try:
        live = os.stat(path)
    except FileNotFoundError:
        return None
    if file.is_same(live):
        return None
    files = open_all(path)
    # Where one file is all that is kept, the next one has the same number.
    following = [each for each in files if each.number > file.number] or files[-1:]
    return _only(following[:1], files)


def first(path: Path) -> LogFile | None:
    """The oldest file, if there is one."""
    files = open_all(path)
    return _only(files[:1], files)


def _only(wanted: list[LogFile], files: list[LogFile]) -> LogFile | None:
    for each in files:
        if each not in wanted:
            each.close()
    return wanted[0] if wanted else None


def begin_anew(path: Path, rotation: Rotation) -> None:
    """Take the name of the file that is written, and remove those that are too many. Then conmon must be told."""
    numbered = full(path)
    with contextlib.suppress(FileNotFoundError):
        if rotation.files == 1:
            path.unlink()
        else:
            newest = max(numbered, default=0) + 1
            path.rename(path.with_name(f"{path.name}.{newest}"))
            numbered[newest] = path
    crashpoint("log.rotate.renamed")
    for number in sorted(numbered)[: max(0, len(numbered) - (rotation.files - 1))]:
        for suffix in ("", COMPRESSED):
            path.with_name(f"{path.name}.{number}{suffix}").unlink(missing_ok=True)


def compress(path: Path) -> None:
    """Compress the full files that are not yet. Idempotent; a file that goes meanwhile is let go."""
    if not path.exists():
        # conmon still writes to the newest of them.
        return
    for number, plain in full(path).items():
        if plain.suffix == COMPRESSED:
            continue
        packed = path.with_name(f"{path.name}.{number}{COMPRESSED}")
        unfinished = packed.with_name(packed.name + _UNFINISHED)
        with contextlib.suppress(FileNotFoundError):
            with plain.open("rb") as source, unfinished.open("wb") as sink:
                with gzip.GzipFile(fileobj=sink, mode="wb", filename="") as packer:
                    shutil.copyfileobj(source, packer, 1 << 18)
                sink.flush()
                os.fsync(sink.fileno())
            unfinished.rename(packed)
            crashpoint("log.rotate.compressed")
            plain.unlink()
