"""What stands between the connections and the operations: one function through which every request goes."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache

from aiohttp import HttpVersion10, HttpVersion11, web

from apiserver.config import Settings
from apiserver.connection import Connection
from apiserver.dispatch import Call, Route, Router
from apiserver.instant import Instants
from apiserver.middleware.access import log_request
from apiserver.middleware.errors import respond
from apiserver.middleware.metrics import Observation
from apiserver.middleware.origins import check_origin
from apiserver.middleware.prefix import clean_path, split_version
from apiserver.queries import Query
from apiserver.rendering import error_response
from apiserver.streams import Hijacked
from apiserver.wire.versions import ApiVersion
from store.errors import EngineError, InvalidParameterError

log = logging.getLogger(__name__)

_PATH_KEPT = 256


class Frontend:
    """Routes, with what surrounds every request. An instance is a handler: ``await frontend(request)``."""

    def __init__(self, routes: Sequence[Route], settings: Settings) -> None:
        self._router = Router(routes)
        self._resolve_kept = lru_cache(1024)(self._resolve)
        self.instant = Instants(self._resolve_kept).answer
        self._names = frozenset(
            name.lower() for name in (settings.host, settings.tls_host, socket.gethostname()) if name
        )
        self._mutual_tls = settings.tls_ca is not None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        with Observation(request.method) as observation:
            response: web.StreamResponse
            try:
                response = await self._answer(request, observation)
            except Exception as error:
                response = self._failed(request, error)
            observation.code = response.status
            observation.streaming_since = getattr(request.protocol, "stream_began", None)
            log_request(request.raw_path, observation)
            return response

    async def _answer(self, request: web.BaseRequest, observation: Observation) -> web.StreamResponse:
        if request.version < HttpVersion10:
            raise InvalidParameterError("malformed HTTP request: it names no version of HTTP")
        if request.version >= HttpVersion11 and (expected := request.headers.get("Expect")):
            if expected.lower() != "100-continue":
                return error_response(417, "the request's expectation cannot be met")
            await _ask_for_body(request)
        connection = request.protocol
        if isinstance(connection, Connection) and connection.tcp:
            self._check_stranger(request)
        raw_path, _, raw_query = request.raw_path.partition("?")
        cleaned = clean_path(raw_path)
        if cleaned != raw_path:
            location = cleaned + (f"?{raw_query}" if raw_query else "")
            return web.Response(status=301, headers={"Location": location})
        if request.method == "OPTIONS":
            split_version(raw_path)
            return web.Response()
        # Clients ask for the same few paths over and over; strangers' long ones must not fill the memory.
        resolve = self._resolve_kept if len(raw_path) <= _PATH_KEPT else self._resolve
        version, route, parameters = resolve(request.method, raw_path)
        observation.route = route.template
        return await route.handler(Call(request, version, route, parameters, Query(raw_query)))

    def _resolve(self, method: str, raw_path: str) -> tuple[ApiVersion, Route, Mapping[str, str]]:
        version, path = split_version(raw_path)
        return version, *self._router.find(method, path)

    def _check_stranger(self, request: web.BaseRequest) -> None:
        transport = request.transport
        secure = transport is not None and transport.get_extra_info("sslcontext") is not None
        if not (secure and self._mutual_tls):
            check_origin(request, self._names)

    def _failed(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        """An answer while that is possible; once a stream has begun all that is left is to cut it."""
        connection = request.protocol
        if not isinstance(connection, Connection) or connection.stream_began is None:
            return respond(error)
        if not isinstance(error, EngineError | ConnectionError):
            log.error("a stream ended in failure", exc_info=error)
        if request.transport is not None:
            request.transport.close()
        return Hijacked(500)


async def _ask_for_body(request: web.BaseRequest) -> None:
    """Some clients hold a body back until they are asked for it (RFC 9110, 10.1.1)."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # This is not yet the answer.
    request.writer.output_size = 0
