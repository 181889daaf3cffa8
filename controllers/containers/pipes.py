"""Pipes and terminals of processes, without threads: read when there is something, written when there is room."""

from __future__ import annotations

import asyncio
import os

from controllers.containers.waiting import settle

_CHUNK = 64 * 1024


class ReadEnd:
    """Our end of a pipe (or a terminal) that a process writes to."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._closed = False
        self._ready: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What has come, at least a byte; empty at the end."""
        while not self._closed:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                await self._readable()
            except OSError:
                # A terminal whose last writer has gone says EIO.
                return b""
        return b""

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = self._ready = loop.create_future()
        loop.add_reader(self._descriptor, settle, ready)
        try:
            await ready
        finally:
            self._ready = None
            if not self._closed:
                loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Let go; a reader that waits gets the end."""
        if not self._closed:
            self._closed = True
            if self._ready is not None:
                asyncio.get_running_loop().remove_reader(self._descriptor)
                settle(self._ready)
            os.close(self._descriptor)


class WriteEnd:
    """Our end of a pipe (or a terminal) that a process reads from."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._closed = False
        self._ready: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of it; waits while the process does not read. BrokenPipeError when it never will."""
        view = memoryview(data)
        while view:
            if self._closed:
                raise BrokenPipeError
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise BrokenPipeError from error

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = self._ready = loop.create_future()
        loop.add_writer(self._descriptor, settle, ready)
        try:
            await ready
        finally:
            self._ready = None
            if not self._closed:
                loop.remove_writer(self._descriptor)

    def close(self) -> None:
        """Say that no more comes."""
        if not self._closed:
            self._closed = True
            if self._ready is not None:
                asyncio.get_running_loop().remove_writer(self._descriptor)
                settle(self._ready)
            os.close(self._descriptor)
