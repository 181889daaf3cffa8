"""A container's streams, through conmon's attach socket.

conmon sends each piece of output as one packet, its first byte the stream; it takes packets of input, and closes the
container's input when the writing side is shut down. Control (window size, log rotation) goes through a FIFO. Several
clients may be attached at once; each sees all output from when it connected.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict, deque
from pathlib import Path

from controllers.containers.waiting import writable
from controllers.layout import Layout
from store.errors import ConflictError

STDOUT, STDERR = 1, 2
_PACKET = 32 * 1024
_INPUT_PACKET = 8 * 1024
_BUFFERED = 32 * 1024
_CONMON_STREAMS = {2: STDOUT, 3: STDERR}


class AttachConnection:
    """One connection to a container's streams. What is read too slowly holds the container up, once a little waits."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._packets: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._reading = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._ended and not self._closed:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(16):
            try:
                packet = self._socket.recv(_PACKET)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                self._ended = True
                self._pause_reading()
                break
            self._packets.append(packet)
            self._buffered += len(packet)
            if self._buffered > _BUFFERED:
                self._pause_reading()
                break
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> list[tuple[int, bytes]]:
        """The output that has come since the last call, at least one piece, as (stream, data); empty at the end."""
        while not self._packets:
            if self._ended or self._closed:
                return []
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pieces = [
            (stream, packet[1:]) for packet in self._packets if (stream := _CONMON_STREAMS.get(packet[0])) is not None
        ]
        self._packets.clear()
        self._buffered = 0
        self._resume_reading()
        return pieces or await self.read()

    async def write(self, data: bytes) -> None:
        """Send input; waits while the container does not read. ConnectionError when the container has ended."""
        for offset in range(0, len(data), _INPUT_PACKET):
            piece = data[offset : offset + _INPUT_PACKET]
            while not self._closed:
                try:
                    self._socket.send(piece, socket.MSG_NOSIGNAL)
                    break
                except BlockingIOError:
                    await self._writable()
            else:
                raise BrokenPipeError

    async def _writable(self) -> None:
        await writable(self._socket.fileno())

    def close_input(self) -> None:
        """Say that no more input comes."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Let go; a reader that waits gets the end."""
        if self._closed:
            return
        self._pause_reading()
        self._closed = True
        self._socket.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _connect(path: Path) -> AttachConnection:
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # A socket's path has 108 bytes, the bundle's may be longer.
        client.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        client.close()
        raise
    finally:
        os.close(directory)
    return AttachConnection(client)


async def connect(layout: Layout, uid: str) -> AttachConnection:
    """Attach to a container that has a conmon; ConflictError when it has none."""
    try:
        return _connect(layout.bundle(uid) / "attach")
    except OSError as error:
        raise ConflictError(f"Container {uid} is not running") from error


def control(layout: Layout, uid: str, message: str) -> bool:
    """Write a line to conmon's control FIFO; False when there is no conmon to read it."""
    try:
        descriptor = os.open(layout.bundle(uid) / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, message.encode())
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def resize(layout: Layout, uid: str, height: int, width: int) -> bool:
    """Set the size of a container's terminal in rows and columns; False when it has no conmon."""
    return control(layout, uid, f"1 {height} {width}\n")


def reopen_log(layout: Layout, uid: str) -> bool:
    """Let conmon open its log anew, after the old one was renamed."""
    return control(layout, uid, "2 0 0\n")


class Attachments:
    """Clients who attached before the start: they are connected when conmon is there and the process not yet let go."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._waiting: defaultdict[str, list[asyncio.Future[AttachConnection]]] = defaultdict(list)

    def waiting(self, uid: str) -> bool:
        """Whether somebody waits for the container's start."""
        return uid in self._waiting

    async def next_start(self, uid: str) -> AttachConnection:
        """The streams of the container's next run, from its first byte; waits for it."""
        future: asyncio.Future[AttachConnection] = asyncio.get_running_loop().create_future()
        self._waiting[uid].append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close()
            raise
        finally:
            self._forget(uid, future)

    def _forget(self, uid: str, future: asyncio.Future[AttachConnection]) -> None:
        futures = self._waiting.get(uid, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(uid, None)

    async def connect_waiting(self, uid: str) -> None:
        """Connect those who wait; called between the container's creation and its start."""
        for future in self._waiting.pop(uid, []):
            if not future.done():
                try:
                    future.set_result(await connect(self._layout, uid))
                except ConflictError as error:
                    future.set_exception(error)

    def give_up(self, uid: str, error: Exception) -> None:
        """Tell those who wait that the start has failed, or the container is gone."""
        for future in self._waiting.pop(uid, []):
            if not future.done():
                future.set_exception(error)
