"""TLS for the server's side of a connection, with directions that end on their own.

asyncio closes a TLS connection as soon as the client says that it will send no more. ``docker run -i`` says just that
when its input ends, and still waits for the output: so the engine has this layer of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, cast

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024


class TlsProtocol(asyncio.Protocol):
    """Below: a TCP transport. Above, once the client has shown what it must: a protocol made by ``connect``."""

    def __init__(
        self, context: ssl.SSLContext, connect: Callable[[], asyncio.Protocol], handshake_timeout: float
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._context = context
        self._connect = connect
        self._handshake_timeout = handshake_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._transport: TlsTransport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by class.
        self._raw = cast(asyncio.Transport, transport)
        if self._handshake_timeout:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._handshake_timeout, self._raw.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self.advance()

    def eof_received(self) -> bool:
        """The client has closed TCP: with or without a word of farewell it is gone."""
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._transport.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.protocol.resume_writing()

    def advance(self) -> None:
        """Goes on with the handshake, then with reading, as far as what has arrived allows."""
        try:
            if self._transport is None:
                self._handshake()
            if self._transport is not None:
                self._read(self._transport)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            log.debug("TLS: %s", error)
            self._flush()
            self._raw.close()

    def write(self, data: bytes) -> None:
        """Encrypts and sends."""
        view = memoryview(data)
        while view:
            written = self._tls.write(view[:_CHUNK])
            view = view[written:]
            self._flush()

    def say_farewell(self) -> None:
        """Tells the client that nothing more will be sent."""
        # It wants to hear the client's farewell too, for which nobody waits.
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()
        self._flush()

    def _handshake(self) -> None:
        self._tls.do_handshake()
        self._flush()
        self._stop_timer()
        self._transport = TlsTransport(self._raw, self, self._tls, self._context, self._connect())
        self._transport.protocol.connection_made(self._transport)

    def _read(self, transport: TlsTransport) -> None:
        while not (transport.reading_paused or self._ended or self._raw.is_closing()):
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self._end()
                return
            transport.protocol.data_received(data)
        self._flush()

    def _end(self) -> None:
        transport = self._transport
        if transport is None or self._ended:
            return
        self._ended = True
        if not transport.protocol.eof_received():
            transport.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TlsTransport(asyncio.Transport):
    """What the protocol above sees."""

    def __init__(
        self,
        raw: asyncio.Transport,
        below: TlsProtocol,
        tls: ssl.SSLObject,
        context: ssl.SSLContext,
        protocol: asyncio.Protocol,
    ) -> None:
        super().__init__({"sslcontext": context, "ssl_object": tls, "peercert": tls.getpeercert()})
        self._raw = raw
        self._below = below
        self.protocol = protocol
        self.reading_paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = super().get_extra_info(name)
        return found if found is not None else self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def close(self) -> None:
        if not self._raw.is_closing():
            self._below.say_farewell()
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_reading(self) -> bool:
        return not self.reading_paused and self._raw.is_reading()

    def pause_reading(self) -> None:
        self.reading_paused = True
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        if not self.reading_paused or self._raw.is_closing():
            return
        self.reading_paused = False
        self._raw.resume_reading()
        # What has been received and not yet read wakes nobody.
        asyncio.get_running_loop().call_soon(self._below.advance)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._raw.is_closing():
            self._below.write(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._raw.get_write_buffer_limits()
