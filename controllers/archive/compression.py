"""Recognising and undoing compression of a byte stream: gzip, bzip2, xz and zstd, by their first bytes.

Decompressing happens in threads and in bounded pieces, so that neither the loop nor the memory suffers from a bomb.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import zstandard

from store.errors import InvalidParameterError

PIECE = 1 << 20
GATHER = 1 << 18
LONGEST_MAGIC = 6
LARGEST_XZ_MEMORY = 256 << 20
# One zstd block of four bytes can stand for 128 KiB, and zstandard hands out all that a call produced.
ZSTD_SLICE = 2048


class Decoder(Protocol):
    """Undoes one kind of compression."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def end(self) -> None: ...


def truncated() -> InvalidParameterError:
    """The compressed stream stops in the middle."""
    return InvalidParameterError("unexpected EOF")


class Gzip:
    """gzip, also of several members."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner.eof:
                # Zeros after the last member are padding.
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inner = zlib.decompressobj(wbits=31)
            piece = self._inner.decompress(data, PIECE)
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        if not self._inner.eof:
            raise truncated()


class Blockwise:
    """bzip2 and xz, whose decompressors share one interface."""

    def __init__(self, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._make = make
        self._inner = make()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._inner.eof or self._inner.needs_input):
            if self._inner.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inner = self._make()
            piece = self._inner.decompress(data, PIECE)
            data = self._inner.unused_data if self._inner.eof else b""
            if piece:
                yield piece

    def end(self) -> None:
        if not self._inner.eof:
            raise truncated()


class Zstd:
    """zstd, also of several frames."""

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        for start in range(0, len(view), ZSTD_SLICE):
            rest = bytes(view[start : start + ZSTD_SLICE])
            while rest:
                if self._inner.eof:
                    self._inner = zstandard.ZstdDecompressor().decompressobj()
                piece = self._inner.decompress(rest)
                rest = self._inner.unused_data if self._inner.eof else b""
                if piece:
                    yield piece

    def end(self) -> None:
        if not self._inner.eof:
            raise truncated()


def decoder(prefix: bytes) -> Decoder | None:
    """What undoes the compression of a stream with these first bytes (six are enough); None when there is none."""
    if prefix.startswith(b"\x1f\x8b\x08"):
        return Gzip()
    if prefix.startswith(b"BZh"):
        return Blockwise(bz2.BZ2Decompressor)
    if prefix.startswith(b"\xfd7zXZ\0"):
        return Blockwise(lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=LARGEST_XZ_MEMORY))
    if prefix.startswith(b"\x28\xb5\x2f\xfd"):
        return Zstd()
    return None


async def open_uncompressed(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream without its compression, if it has one.

    Raises:
        InvalidParameterError: the compressed data is damaged or incomplete.
    """
    head = b""
    async for chunk in source:
        head += chunk
        if len(head) >= LONGEST_MAGIC:
            break
    undo = decoder(head)
    if undo is None:
        if head:
            yield head
        async for chunk in source:
            yield chunk
        return
    async for data in _gathered(head, source):
        pieces = _joined(undo.feed(data))
        while piece := await asyncio.to_thread(_next, pieces):
            yield piece
    undo.end()


async def _gathered(head: bytes, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks big enough to be worth a thread's while."""
    pending = bytearray(head)
    async for chunk in source:
        pending += chunk
        if len(pending) >= GATHER:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        pending += piece
        if len(pending) >= PIECE:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _next(pieces: Iterator[bytes]) -> bytes:
    try:
        return next(pieces, b"")
    except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, EOFError, ValueError) as error:
        raise InvalidParameterError(f"archive/tar: {error}") from None
