"""Moving bytes between coroutines and pipes without a thread for each."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

PIPE_SIZE = 1 << 20
READ_SIZE = 1 << 18


def wide_pipe() -> tuple[int, int]:
    """A pipe (read end, write end) that holds a megabyte, where the system's limit for pipes allows it."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return reader, writer


async def _ready(descriptor: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(descriptor, wake)
    try:
        await future
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)


async def write_all(descriptor: int, data: bytes) -> None:
    """Write to a non-blocking descriptor, waiting while it is full.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _ready(descriptor, writing=True)


async def feed(chunks: AsyncIterator[bytes], writer: int) -> None:
    """Write all chunks to a pipe and close it. A reader that left early is no error here: it reports itself."""
    os.set_blocking(writer, False)
    try:
        async for chunk in chunks:
            await write_all(writer, chunk)
    except BrokenPipeError:
        pass
    finally:
        os.close(writer)


async def read_chunks(reader: int) -> AsyncIterator[bytes]:
    """What comes out of a pipe until its end. The caller closes the pipe after this generator."""
    os.set_blocking(reader, False)
    while True:
        try:
            chunk = os.read(reader, READ_SIZE)
        except BlockingIOError:
            await _ready(reader, writing=False)
            continue
        if not chunk:
            return
        yield chunk
