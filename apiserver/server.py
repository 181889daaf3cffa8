"""The HTTP server, usable on its own: give it routes or a handler, listen, serve, shut down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from apiserver.config import ConfigError, Settings
from apiserver.connection import Admission, Connection
from apiserver.dispatch import Route
from apiserver.frontend import Frontend
from apiserver.listeners import BACKLOG, Listener, adopt, bind, tls_context
from apiserver.request import Request
from apiserver.systemd import activated_sockets
from apiserver.tls import TlsProtocol

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_MAX_HEADERS = 256
# Seconds for which a body that the handler left unread is read away, so that the client gets to see its answer.
_LINGERING = 2.0


class Server:
    """A server for one set of settings.

    ``configure`` or ``handler`` says what it answers, ``listen`` binds its sockets, ``start`` begins to accept,
    ``serve`` does both and returns after ``shutdown``.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._handler: Handler | None = None
        self._instant: Callable[[bytes], bytes | None] | None = None
        self._listeners: list[Listener] = []
        self._servers: list[asyncio.Server] = []
        self._manager: web.Server | None = None
        self._active: dict[asyncio.Task[object], Connection] = {}
        self._stopped = asyncio.Event()
        self._draining = False

    @property
    def handler(self) -> Handler | None:
        """What answers requests."""
        return self._handler

    @handler.setter
    def handler(self, handler: Handler) -> None:
        self._handler, self._instant = handler, None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The bound sockets; their endpoints have the real ports."""
        return tuple(self._listeners)

    @property
    def requests_in_progress(self) -> int:
        """How many requests are being handled, streams included."""
        return len(self._active)

    def configure(self, routes: Sequence[Route]) -> None:
        """Answers these operations."""
        frontend = Frontend(routes, self.settings)
        self._handler, self._instant = frontend, frontend.instant

    def listen(self) -> tuple[Listener, ...]:
        """Binds all sockets, or takes those that systemd hands over in place of the unix socket.

        Raises ConfigError in one line; then nothing is bound.
        """
        activated = adopt(activated_sockets(), self.settings)
        try:
            self._listeners = list(activated)
            for endpoint in self.settings.endpoints():
                if endpoint.scheme == "fd" and not activated:
                    raise ConfigError("-H fd://: no sockets came from systemd")
                if endpoint.scheme == "fd" or (activated and endpoint.scheme == "unix" and not self.settings.hosts):
                    continue
                self._listeners += bind(endpoint, self.settings)
        except ConfigError:
            self._close_listeners()
            raise
        return self.listeners

    async def start(self) -> None:
        """Begins to accept on the bound sockets; raises RuntimeError without a handler or sockets."""
        if self._handler is None or not self._listeners:
            raise RuntimeError("a server needs a handler and listeners before it can start")
        self._manager = web.Server(self._handle, request_factory=Request, handler_cancellation=True)
        for listener in self._listeners:
            self._servers.append(await self._accept(listener))

    async def serve(self) -> None:
        """Listens unless it does already, accepts, and returns once it has been shut down."""
        if not self._listeners:
            self.listen()
        await self.start()
        await self._stopped.wait()

    def reload_certificates(self) -> None:
        """Uses the certificate files' present content for new connections; raises ConfigError and keeps the old."""
        tls_context(self.settings) if self.settings.tls_certificate else None
        for listener in self._listeners:
            if listener.tls is not None and self.settings.tls_certificate is not None:
                listener.tls.load_cert_chain(self.settings.tls_certificate, self.settings.tls_key)

    async def shutdown(self) -> None:
        """Stops accepting, ends streams at once, waits ``graceful_timeout`` for other requests, then ends them too."""
        self._draining = True
        for listener in self._listeners:
            listener.remove_path()
        for server in self._servers:
            server.close()
        self._close_listeners()
        for task, connection in list(self._active.items()):
            if connection.stream_began is not None:
                task.cancel()
        if self._active:
            await asyncio.wait(list(self._active), timeout=self.settings.graceful_timeout or None)
        for task in list(self._active):
            task.cancel()
        if self._manager is not None:
            await self._manager.shutdown(self.settings.cleanup_timeout)
        self._stopped.set()

    async def _accept(self, listener: Listener) -> asyncio.Server:
        manager = self._manager
        assert manager is not None
        loop = asyncio.get_running_loop()
        settings = self.settings
        limits = settings.tls_limits if listener.endpoint.scheme == "https" else settings.limits
        admission = Admission(listener.endpoint, limits)
        tcp = listener.endpoint.scheme != "unix"

        def connect() -> Connection:
            return Connection(
                manager,
                admission,
                settings.max_header_size,
                # Strangers come by TCP, and have to be looked at.
                None if tcp else self._answer_at_once,
                loop=loop,
                access_log=None,
                keepalive_timeout=limits.keep_alive,
                tcp_keepalive=tcp,
                max_line_size=settings.max_header_size,
                max_field_size=settings.max_header_size,
                max_headers=_MAX_HEADERS,
                auto_decompress=False,
                lingering_time=_LINGERING,
            )

        if listener.tls is not None:
            secure = partial(TlsProtocol, listener.tls, connect, limits.read_timeout)
            return await loop.create_server(secure, sock=listener.socket, backlog=BACKLOG)
        if tcp:
            return await loop.create_server(connect, sock=listener.socket, backlog=BACKLOG)
        return await loop.create_unix_server(connect, sock=listener.socket, backlog=BACKLOG)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._handler is not None
        connection, task = request.protocol, asyncio.current_task()
        assert isinstance(connection, Connection)
        assert task is not None
        self._active[task] = connection
        try:
            response = await self._handler(request)
        finally:
            del self._active[task]
            connection.answered()
        if self._draining:
            response.force_close()
        return response

    def _answer_at_once(self, data: bytes) -> bytes | None:
        return self._instant(data) if self._instant is not None and not self._draining else None

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
