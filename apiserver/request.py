"""The request as the handlers get it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from apiserver.connection import Connection
from apiserver.rendering import HEADERS


class Request(web.BaseRequest):
    """aiohttp's plain request: its application, with a router and signals, costs as much as all that we do ourselves.

    ``protocol`` is a :class:`~apiserver.connection.Connection`.
    """

    def __init__(self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> None:
        super().__init__(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        """Gives every answer the headers by which clients know what they talk to; notes that a stream begins."""
        resp.headers.update(HEADERS)
        connection = self.protocol
        if not isinstance(resp, web.Response) and isinstance(connection, Connection):
            connection.begin_stream()
