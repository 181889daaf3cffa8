"""One client's connection: what HTTP's own parser does not limit.

A request's head must arrive in time and have a sane size, answers must be read, and only so many connections are
served at once. Streams that are alive are never cut: the limits end where a stream begins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from apiserver.config import Limits
from apiserver.heads import HeadFollower
from apiserver.middleware.metrics import CONNECTIONS
from apiserver.rendering import HEADERS, encode, error_response

if TYPE_CHECKING:
    from apiserver.config import Endpoint

log = logging.getLogger(__name__)

RAW_LIMIT = 256 * 1024
"""Bytes kept of a raw stream that nobody has taken over yet."""

HALF_CLOSE_GRACE = 2.0
"""Seconds for which a client that closed its writing side still gets an answer."""


class Admission:
    """How many connections of one listener are served at once; the others wait, unread."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self._serving: set[Connection] = set()
        self._waiting: deque[Connection] = deque()
        self._gauge = CONNECTIONS.labels(endpoint.scheme)

    def enter(self, connection: Connection) -> None:
        self._gauge.inc()
        if self.limits.connections and len(self._serving) >= self.limits.connections:
            self._waiting.append(connection)
            connection.hold()
        else:
            self._serving.add(connection)

    def leave(self, connection: Connection) -> None:
        self._gauge.dec()
        if connection not in self._serving:
            self._waiting.remove(connection)
            return
        self._serving.discard(connection)
        if self._waiting:
            following = self._waiting.popleft()
            self._serving.add(following)
            following.release()


class Connection(web.RequestHandler):
    """aiohttp's protocol with the limits of one listener."""

    def __init__(
        self,
        server: web.Server,
        admission: Admission,
        head_limit: int,
        instant: Callable[[bytes], bytes | None] | None,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._instant = instant
        self._admission = admission
        self._head_limit = head_limit
        self._head = HeadFollower()
        self._body_left = 0
        self._raw = bytearray()
        self._ended = False
        self._held: bytearray | None = None
        self._left = False
        self.stream_began: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def tcp(self) -> bool:
        """Whether the client came over TCP, where browsers and strangers can."""
        return self._admission.endpoint.scheme != "unix"

    @property
    def limits(self) -> Limits:
        """The listener's limits."""
        return self._admission.limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._admission.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._left:
            self._left = True
            self._admission.leave(self)
        self._stop_timer()
        self.write_finished()
        super().connection_lost(exc)

    def hold(self) -> None:
        """Answers nothing until released. uvloop begins to read only after this, so the first bytes do the pausing."""
        self._held = bytearray()

    def release(self) -> None:
        """Answers what has come, and reads on."""
        held, self._held = self._held, None
        if held and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(bytes(held))

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
            if self.transport is not None:
                self.transport.pause_reading()
            return
        if not data:
            # aiohttp's own call, by which a parser that was paused goes on with what it has.
            super().data_received(data)
            return
        if self._idle() and self._instant is not None and (answer := self._instant(data)) is not None:
            assert self.transport is not None
            self.transport.write(answer)
            self._rest()
            return
        if not self._head.complete:
            own = self._head.feed(data)
            if self._head.complete:
                self._stop_timer()
                self._body_left = self._head.body_length
            elif self._head.size > self._head_limit:
                self._refuse(431, "Request Header Fields Too Large", "request header fields too large")
                return
            else:
                self._start_timer()
            if self._head.upgrade:
                super().data_received(data[:own])
                data = data[own:]
        if self._head.upgrade:
            body, raw = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            self._keep(raw)
            data = body
        if data:
            super().data_received(data)

    def _idle(self) -> bool:
        """Whether the connection waits for a request, has answered all others, and the client reads."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._head.size and not self._paused

    def _rest(self) -> None:
        """Has aiohttp's limit of keep-alive begin anew, as after an answer of its own."""
        loop = asyncio.get_running_loop()
        self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive = True
            self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client may close its writing side and still read; one that is gone for good looks the same for a while."""
        transport = self.transport
        if transport is None or not self._head.complete:
            return None
        self.keep_alive(False)
        if self._head.upgrade:
            self._ended = True
            return True
        self.close()
        asyncio.get_running_loop().call_later(HALF_CLOSE_GRACE, transport.close)
        return True

    def take_over(self) -> tuple[bytes, bool]:
        """Hands the connection to a raw stream: what has been received of it, and whether that is its end."""
        self.keep_alive(False)
        self.begin_stream()
        raw, self._raw = bytes(self._raw), bytearray()
        return raw, self._ended

    def _keep(self, raw: bytes) -> None:
        self._raw += raw
        if len(self._raw) > RAW_LIMIT and self.transport is not None:
            self.transport.pause_reading()

    def begin_stream(self) -> None:
        """From here on the answer is a stream: no limit of time applies to it."""
        self.stream_began = time.perf_counter()
        self.write_finished()

    def answered(self) -> None:
        """The handler is done: the next request may begin."""
        if self._raw or self._ended:
            # What followed an upgrade that was refused is no HTTP.
            self.close_after_answer()
        self._head = HeadFollower()
        self.stream_began = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.stream_began is None and self.limits.write_timeout:
            self._write_timer = asyncio.get_running_loop().call_later(self.limits.write_timeout, self._not_read)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_finished()

    def write_finished(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP; the connection ends with it."""
        self.close_after_answer()
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun: the connection is cut instead")
        too_large = status == 400 and "bytes exceed" in (message or "").lower()
        first_line = (message or "bad request").partition("\n")[0].rstrip(":. ").lower()
        response = error_response(431 if too_large else status, first_line)
        response.headers.update(HEADERS)
        return response

    def close_after_answer(self) -> None:
        """The connection ends with the answer in progress."""
        self.keep_alive(False)
        self.close()

    def _start_timer(self) -> None:
        if self._timer is None and self.limits.read_timeout:
            self._timer = asyncio.get_running_loop().call_later(self.limits.read_timeout, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._refuse(408, "Request Timeout", "the request did not arrive in time")

    def _not_read(self) -> None:
        self._write_timer = None
        if self.transport is not None and self.stream_began is None:
            log.info("a client read nothing for %.0f s: its connection is cut", self.limits.write_timeout)
            self.transport.abort()

    def _refuse(self, status: int, reason: str, message: str) -> None:
        if self.transport is None:
            return
        body = encode({"message": message}) + b"\n"
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.force_close()
