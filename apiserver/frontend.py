"""What stands between the connections and the operations: one function through which every request goes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from aiohttp import web

from apiserver.config import Settings
from apiserver.connection import Connection
from apiserver.dispatch import Call, Route, Router
from apiserver.middleware.access import log_request
from apiserver.middleware.errors import respond
from apiserver.middleware.metrics import Observation, observed
from apiserver.middleware.origins import check_origin
from apiserver.middleware.prefix import split_version
from apiserver.queries import Query
from apiserver.rendering import HEADERS
from apiserver.streams import Hijacked
from store.errors import EngineError

log = logging.getLogger(__name__)


class Frontend:
    """Routes, with what surrounds every request. An instance is a handler: ``await frontend(request)``."""

    def __init__(self, routes: Sequence[Route], settings: Settings) -> None:
        self._router = Router(routes)
        self._names = frozenset(
            name.lower() for name in (settings.host, settings.tls_host, socket.gethostname()) if name
        )
        self._mutual_tls = settings.tls_ca is not None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        with observed(request.method) as observation:
            response: web.StreamResponse
            try:
                response = await self._answer(request, observation)
            except Exception as error:
                response = self._failed(request, error)
            observation.code = response.status
            observation.streaming_since = getattr(request.protocol, "stream_began", None)
            log_request(request, observation)
            return response

    async def _answer(self, request: web.Request, observation: Observation) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, Connection) and connection.tcp:
            self._check_stranger(request)
        raw_path, _, raw_query = request.raw_path.partition("?")
        cleaned = _clean(raw_path)
        if cleaned != raw_path:
            location = cleaned + (f"?{raw_query}" if raw_query else "")
            return web.Response(status=301, headers={"Location": location})
        version, path = split_version(raw_path)
        if request.method == "OPTIONS":
            return web.Response()
        route, parameters = self._router.find(request.method, path)
        observation.route = route.template
        return await route.handler(Call(request, version, route, parameters, Query(raw_query)))

    def _check_stranger(self, request: web.Request) -> None:
        transport = request.transport
        secure = transport is not None and transport.get_extra_info("sslcontext") is not None
        if not (secure and self._mutual_tls):
            check_origin(request, self._names)

    def _failed(self, request: web.Request, error: Exception) -> web.StreamResponse:
        """An answer while that is possible; once a stream has begun all that is left is to cut it."""
        connection = request.protocol
        if not isinstance(connection, Connection) or connection.stream_began is None:
            return respond(error)
        if not isinstance(error, EngineError | ConnectionError):
            log.error("a stream ended in failure", exc_info=error)
        if request.transport is not None:
            request.transport.close()
        return Hijacked(500)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Gives every answer the headers by which clients know what they talk to; notes that a stream begins."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    connection = request.protocol
    if not isinstance(response, web.Response) and isinstance(connection, Connection):
        connection.begin_stream()


def _clean(path: str) -> str:
    """The path without empty and dotted segments, as Go's mux redirects to."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")
