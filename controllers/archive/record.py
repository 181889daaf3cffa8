"""What a layer's tar looked like, so that it can be written again byte for byte from the unpacked files.

The record is a file of frames, each ``kind (1 byte), packed length (4), length (4)``, then zlib data. ``O`` frames
hold operations in order; an operation is ``R length bytes`` (bytes as they are) or ``F size path-length path`` (the
content of a file). Content that is no longer on disk, because a later member replaced the file, is kept in ``L``
frames, which begin with the number of the ``F`` operation they stand for.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from controllers.archive.stream import Hash
from store.errors import EngineError

MAGIC = b"WHREC1\n\0"
FRAME = struct.Struct(">cII")
RAW = struct.Struct(">cI")
FILE = struct.Struct(">cQH")
LOST = struct.Struct(">I")
BATCH = 1 << 17
LARGEST_FRAME = 1 << 26


class Recorder:
    """Writes a record while a tar is unpacked. Inode numbers tell which recorded file a path is."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._batch = bytearray()
        self._raw = bytearray()
        self._files = 0
        self._inodes: dict[tuple[int, int], int] = {}
        sink.write(MAGIC)

    def raw(self, data: bytes) -> None:
        """The tar's next bytes, kept as they are."""
        self._raw += data
        if len(self._raw) >= BATCH:
            self._flush_raw()

    def file(self, path: bytes, size: int, inode: tuple[int, int]) -> None:
        """The tar's next ``size`` bytes are the content of ``path``."""
        self._flush_raw()
        self._batch += FILE.pack(b"F", size, len(path)) + path
        self._inodes[inode] = self._files
        self._files += 1
        self._flush_batch(BATCH)

    def rescue(self, path: bytes, inode: tuple[int, int]) -> None:
        """Keep the content of a recorded file that is about to be removed."""
        number = self._inodes.pop(inode, None)
        if number is None:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while chunk := os.read(descriptor, BATCH):
                self._frame(b"L", LOST.pack(number) + chunk)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Write what is still in memory."""
        self._flush_raw()
        self._flush_batch(1)
        self._sink.flush()

    def _flush_raw(self) -> None:
        if self._raw:
            self._batch += RAW.pack(b"R", len(self._raw)) + self._raw
            self._raw.clear()
            self._flush_batch(BATCH)

    def _flush_batch(self, least: int) -> None:
        if len(self._batch) >= least:
            self._frame(b"O", bytes(self._batch))
            self._batch.clear()

    def _frame(self, kind: bytes, data: bytes) -> None:
        packed = zlib.compress(data, 1)
        self._sink.write(FRAME.pack(kind, len(packed), len(data)) + packed)


def damaged() -> EngineError:
    """The record on disk is not one that ``Recorder`` wrote."""
    return EngineError("layer record is damaged")


class Reader:
    """Reads a record: a first pass finds what was rescued, so that the second can go in order."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._lost: dict[int, list[int]] = {}
        if source.read(len(MAGIC)) != MAGIC:
            raise damaged()
        while frame := self._next(content=False):
            if frame[0] == b"L":
                position = source.tell()
                source.seek(frame[2])
                data = self._next(content=True)
                if data is None or len(data[1]) < LOST.size:
                    raise damaged()
                self._lost.setdefault(LOST.unpack_from(data[1])[0], []).append(frame[2])
                source.seek(position)

    def _next(self, *, content: bool) -> tuple[bytes, bytes, int] | None:
        position = self._source.tell()
        head = self._source.read(FRAME.size)
        if not head:
            return None
        if len(head) != FRAME.size:
            raise damaged()
        kind, packed_length, length = FRAME.unpack(head)
        if packed_length > LARGEST_FRAME or length > LARGEST_FRAME:
            raise damaged()
        if not content:
            self._source.seek(packed_length, os.SEEK_CUR)
            return kind, b"", position
        try:
            data = zlib.decompress(self._source.read(packed_length), bufsize=length)
        except zlib.error:
            raise damaged() from None
        if len(data) != length:
            raise damaged()
        return kind, data, position

    def operations(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """``(kind, bytes or path, size, number)``: ``R`` with bytes, or ``F`` with path, size and its number."""
        self._source.seek(len(MAGIC))
        number = 0
        while frame := self._next(content=True):
            kind, data, _ = frame
            if kind != b"O":
                continue
            position = 0
            while position < len(data):
                if data[position : position + 1] == b"R":
                    _, size = RAW.unpack_from(data, position)
                    position += RAW.size
                    yield b"R", data[position : position + size], size, -1
                    position += size
                else:
                    _, size, length = FILE.unpack_from(data, position)
                    position += FILE.size
                    yield b"F", data[position : position + length], size, number
                    position += length
                    number += 1

    def lost(self, number: int) -> Iterator[bytes] | None:
        """The rescued content of an ``F`` operation, None when the file should still be there."""
        if number not in self._lost:
            return None
        return self._rescued(number)

    def _rescued(self, number: int) -> Iterator[bytes]:
        back = self._source.tell()
        for position in self._lost[number]:
            self._source.seek(position)
            frame = self._next(content=True)
            if frame is None:
                raise damaged()
            yield frame[1][LOST.size :]
        self._source.seek(back)


def assemble(source: BinaryIO, sink: int, digest: Hash) -> None:
    """Write the recorded tar to a file descriptor, the files' content read relative to the working directory.

    Raises:
        EngineError: the record is damaged, or a file is gone or has another size.
    """
    reader = Reader(source)
    pending = bytearray()

    def flush() -> None:
        digest.update(bytes(pending))
        piece = memoryview(bytes(pending))
        pending.clear()
        while piece:
            piece = piece[os.write(sink, piece) :]

    for kind, data, size, number in reader.operations():
        if kind == b"R":
            pending += data
        elif (rescued := reader.lost(number)) is not None:
            for chunk in rescued:
                pending += chunk
                if len(pending) >= BATCH:
                    flush()
        else:
            descriptor = os.open(data, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                missing = size
                while missing:
                    chunk = os.read(descriptor, min(BATCH * 2, missing))
                    if not chunk:
                        raise EngineError(f"layer file {os.fsdecode(data)} is shorter than it was")
                    missing -= len(chunk)
                    pending += chunk
                    if len(pending) >= BATCH:
                        flush()
            finally:
                os.close(descriptor)
        if len(pending) >= BATCH:
            flush()
    flush()
