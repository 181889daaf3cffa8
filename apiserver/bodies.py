"""Request bodies that are JSON."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from aiohttp import web

from apiserver.connection import Connection
from apiserver.gojson import decode
from store.errors import InvalidParameterError

T = TypeVar("T")

LIMIT = 4 * 1024 * 1024
"""Bytes of a JSON body. dockerd has no limit; the largest body of a sane client is a few hundred kilobytes."""


class BodyTooLargeError(InvalidParameterError):
    """The body has more than LIMIT bytes (413)."""


class BodyTooSlowError(InvalidParameterError):
    """The body did not arrive within the listener's time for requests (408)."""


def check_content_type(request: web.BaseRequest) -> None:
    """Raises InvalidParameterError unless the content type is JSON or there is no body (moby: CheckForJSON)."""
    given = request.headers.get("Content-Type", "")
    if not given and not request.body_exists:
        return
    if given.partition(";")[0].strip().lower() != "application/json" or ";;" in given:
        raise InvalidParameterError(f"Content-Type specified ({given}) must be 'application/json'")


async def read_limited(request: web.BaseRequest, limit: int = LIMIT) -> bytes:
    """The whole body.

    Raises BodyTooLargeError beyond ``limit`` bytes, having read no more than that, and BodyTooSlowError.
    """
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError("http: request body too large")
    body = bytearray()
    connection = request.protocol
    seconds = connection.limits.read_timeout if isinstance(connection, Connection) else 0
    try:
        async with asyncio.timeout(seconds or None):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise BodyTooLargeError("http: request body too large")
    except TimeoutError:
        raise BodyTooSlowError("the request's body did not arrive in time") from None
    return bytes(body)


async def read_json(request: web.BaseRequest, kind: type[T], *, optional: bool = False) -> T:
    """The body as a struct; an absent one is the struct's defaults when ``optional``.

    Raises InvalidParameterError in dockerd's words for a wrong content type, a body that is no JSON, or wrong types.
    """
    check_content_type(request)
    body = await read_limited(request)
    if not body.strip():
        if optional:
            return decode(b"{}", kind)
        raise InvalidParameterError("EOF" if body else "got EOF while reading request body")
    return decode(body, kind)
