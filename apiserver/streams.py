"""Answers that are streams: taken-over connections, multiplexed frames, progress lines."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from apiserver.connection import Connection as HttpConnection
from apiserver.dispatch import Call
from apiserver.rendering import encode
from store.errors import EngineError

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

_HEADER = struct.Struct(">BxxxL")
_READ_LIMIT = 256 * 1024
_WRITE_LIMIT = 64 * 1024
_HANGUP_CHECK = 1.0
# As SO_SNDBUF, beyond the system's limit for those without CAP_NET_ADMIN (asm-generic/socket.h).
SO_SNDBUFFORCE = 32
_DOWNLOAD_BUFFER = 1 << 20


def frame(stream: int, data: bytes) -> bytes:
    """One frame of a multiplexed stream: the stream's number, the length, the data (API: ContainerAttach)."""
    return _HEADER.pack(stream, len(data)) + data


class Connection(asyncio.Protocol):
    """A connection taken over from HTTP: bytes both ways, each direction closed on its own, both with back-pressure."""

    def __init__(self, transport: asyncio.Transport, http: asyncio.Protocol) -> None:
        self._transport = transport
        self._http = http
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading_paused = False
        self._ended = False
        self._lost = asyncio.Event()
        self._hangup_check: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> bool:
        """Whether the client is gone."""
        return self._lost.is_set()

    async def read(self) -> bytes:
        """What the client sent, at least one byte; empty once it closed its writing side or is gone."""
        while not self._received:
            if self._ended or self.lost:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._received)
        self._received.clear()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Sends; waits while the client reads too slowly. Raises ConnectionResetError when it is gone."""
        if self.lost:
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()
            if self.lost:
                raise ConnectionResetError("the client is gone")

    async def wait_lost(self) -> None:
        """Returns when the client is gone."""
        await self._lost.wait()

    def unsent(self) -> int:
        """How many bytes wait for the client to take them."""
        return 0 if self.lost else self._transport.get_write_buffer_size()

    def cut(self) -> None:
        """Ends the connection at once, whatever waits."""
        self._transport.abort()

    async def close(self, timeout: float = 10.0) -> None:
        """Sends what is still waiting, then closes; after ``timeout`` seconds it cuts the connection."""
        if self.lost:
            return
        self._transport.close()
        try:
            await asyncio.wait_for(self._lost.wait(), timeout)
        except TimeoutError:
            self._transport.abort()

    def begin(self, received: bytes, *, ended: bool) -> None:
        """Starts with what arrived before the connection was taken over, and whether that was all."""
        self._transport.resume_reading()
        if received:
            self.data_received(received)
        if ended:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._arrived.set()
        if len(self._received) > _READ_LIMIT and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._arrived.set()
        self._check_hangup()
        return True

    def _check_hangup(self) -> None:
        """Nothing wakes a loop that has read the end of a socket when that socket is later closed altogether."""
        connection = self._transport.get_extra_info("socket")
        if self.lost or connection is None or connection.fileno() < 0:
            return
        poll = select.poll()
        poll.register(connection.fileno(), 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            self._transport.abort()
            return
        self._hangup_check = asyncio.get_running_loop().call_later(_HANGUP_CHECK, self._check_hangup)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hangup_check is not None:
            self._hangup_check.cancel()
        self._lost.set()
        self._arrived.set()
        self._writable.set()
        self._http.connection_lost(exc)


class Hijacked(web.StreamResponse):
    """The answer of a handler that took its connection over: nothing is left for HTTP to do."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def is_upgrade(call: Call) -> bool:
    """Whether the client asks for the connection as a raw stream (``Upgrade: tcp``)."""
    return call.request.headers.get("Upgrade", "").lower() == "tcp"


async def hijack(
    call: Call, *, content_type: str = RAW_STREAM, headers: Mapping[str, str] = MappingProxyType({})
) -> Connection:
    """Takes the connection over: after 101 UPGRADED when the client asked for it, else after 200.

    The handler closes the connection and returns ``hijacked(call)``. After this no error can be told by HTTP.
    """
    request = call.request
    transport, http = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the client is gone")
    assert isinstance(http, HttpConnection)
    raw, ended = http.take_over()
    connection = Connection(transport, http)
    transport.set_protocol(connection)
    transport.set_write_buffer_limits(high=_WRITE_LIMIT)
    connection.begin(raw, ended=ended)
    upgrade = is_upgrade(call)
    lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK"]
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    lines += [f"{name}: {value}" for name, value in (("Content-Type", content_type), *headers.items())]
    lines += ["", ""]
    await connection.write("\r\n".join(lines).encode())
    return connection


def hijacked(call: Call) -> Hijacked:
    """What a handler returns after ``hijack``."""
    return Hijacked(101 if is_upgrade(call) else 200)


async def stream(call: Call, content_type: str, *, status: int = 200) -> web.StreamResponse:
    """An answer written piece by piece; its headers go out at once, so that the client knows that it is heard."""
    response = web.StreamResponse(status=status, headers={"Content-Type": content_type})
    await response.prepare(call.request)
    return response


def expect_download(call: Call) -> None:
    """Let the kernel hold a megabyte of the answer, over a unix socket.

    With its usual fifth, the processes through which an archive goes wait for each other a thousand times, and on a
    busy machine each wait is long. Not for answers that many clients may leave unread.
    """
    connection = call.request.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, _DOWNLOAD_BUFFER)


class ProgressWriter:
    """Lines of JSON for pull, load, import and push.

    Nothing is sent before the first line, so errors till then are HTTP's. After it an error is one more
    line (``error`` and ``errorDetail``), as dockerd has it.
    """

    def __init__(self, call: Call, content_type: str = "application/json") -> None:
        self._call = call
        self._content_type = content_type
        self._response: web.StreamResponse | None = None

    @property
    def started(self) -> bool:
        """Whether a line has been sent."""
        return self._response is not None

    async def line(self, value: Any) -> None:
        """Sends one value as a line; waits while the client reads too slowly."""
        if self._response is None:
            self._response = await stream(self._call, self._content_type)
        await self._response.write(encode(value) + b"\r\n")

    async def status(self, status: str, identity: str = "", current: int = 0, total: int = 0) -> None:
        """Sends a status, with an id and a progress bar where given (bytes)."""
        value: dict[str, Any] = {"status": status}
        if current or total:
            value["progressDetail"] = {"current": current, "total": total}
            value["progress"] = progress_bar(current, total)
        elif identity:
            value["progressDetail"] = {}
        if identity:
            value["id"] = identity
        await self.line(value)

    async def fail(self, error: EngineError) -> None:
        """Ends with an error: as a line when lines were sent before, else raised for an HTTP answer."""
        if self._response is None:
            raise error
        await self.line({"errorDetail": {"message": error.message}, "error": error.message})

    async def finish(self) -> web.StreamResponse:
        """Ends the stream; the answer to return from the handler."""
        if self._response is None:
            self._response = await stream(self._call, self._content_type)
        await self._response.write_eof()
        return self._response


def progress_bar(current: int, total: int) -> str:
    """The bar that old clients print as it comes: fifty wide, with sizes (moby: JSONProgress)."""
    if total <= 0:
        return f"{human_size(current):>8}"
    filled = min(50, current * 50 // total)
    sizes = f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")
    return f"[{'=' * filled}>{' ' * (50 - filled)}] {sizes}"


def human_size(size: float) -> str:
    """Decimal units with four significant digits (go-units: HumanSize)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.4g}{unit}"
        size /= 1000
    raise AssertionError
