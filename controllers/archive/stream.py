"""A stream of bytes out of a file descriptor, for the tar reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from store.errors import InvalidParameterError

READ_SIZE = 1 << 18


class Hash(Protocol):
    """What a stream's bytes are fed to, in order."""

    def update(self, data: bytes, /) -> None: ...


class Stream:
    """The bytes of a file descriptor, in blocks, with an optional ``tap`` that sees all that is not file content."""

    def __init__(self, source: int, digest: Hash | None = None) -> None:
        self.source = source
        self.digest = digest
        self.tap: Callable[[bytes], None] | None = None
        self.total = 0
        self._chunk = b""
        self._position = 0

    def _refill(self) -> bool:
        chunk = os.read(self.source, READ_SIZE)
        if self.digest is not None and chunk:
            self.digest.update(chunk)
        self.total += len(chunk)
        self._chunk = chunk
        self._position = 0
        return bool(chunk)

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or fewer where the stream ends."""
        end = self._position + count
        if end <= len(self._chunk):
            piece = self._chunk[self._position : end]
            self._position = end
        else:
            pieces = [self._chunk[self._position :]]
            missing = count - len(pieces[0])
            while missing and self._refill():
                part = self._chunk[:missing]
                self._position = len(part)
                missing -= len(part)
                pieces.append(part)
            if missing:
                self._position = len(self._chunk)
            piece = b"".join(pieces)
        if self.tap is not None:
            self.tap(piece)
        return piece

    def exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises:
            InvalidParameterError: the stream ends before.
        """
        piece = self.take(count)
        if len(piece) != count:
            raise InvalidParameterError("unexpected EOF")
        return piece

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes (the tap sees them)."""
        while count:
            count -= len(self.exactly(min(count, READ_SIZE)))

    def copy(self, count: int, sink: int) -> None:
        """Write the next ``count`` bytes to a file descriptor; the tap does not see them."""
        while count:
            available = len(self._chunk) - self._position
            if not available:
                if not self._refill():
                    raise InvalidParameterError("unexpected EOF")
                continue
            size = min(available, count)
            piece = memoryview(self._chunk)[self._position : self._position + size]
            self._position += size
            count -= size
            while piece:
                piece = piece[os.write(sink, piece) :]

    def drain(self) -> None:
        """Read to the end: a digest covers what follows the archive's end, and a writer must not get EPIPE."""
        while self.take(READ_SIZE):
            pass
