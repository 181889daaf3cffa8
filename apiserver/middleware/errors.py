"""From a failure to what the client reads: a status and ``{"message": …}``."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from apiserver.bodies import BodyTooLargeError, BodyTooSlowError
from apiserver.dispatch import MethodNotAllowedError
from apiserver.rendering import error_response, no_content
from store.errors import (
    ConflictError,
    EngineError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    NotImplementedYetError,
    NotModifiedError,
    UnauthorizedError,
    UnavailableError,
)

log = logging.getLogger(__name__)

STATUSES: dict[type[EngineError], int] = {
    NotModifiedError: 304,
    BodyTooLargeError: 413,
    BodyTooSlowError: 408,
    InvalidParameterError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    MethodNotAllowedError: 405,
    ConflictError: 409,
    NotImplementedYetError: 501,
    UnavailableError: 503,
    EngineError: 500,
}


def status_of(error: EngineError) -> int:
    """The HTTP status of a failure; a class of one's own counts as its nearest base."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def respond(error: Exception) -> web.Response:
    """The answer to a failure. What no client caused is logged with its traceback, and its message says no secrets."""
    if isinstance(error, MethodNotAllowedError):
        response = error_response(405, error.message)
        response.headers["Allow"] = error.allowed
        return response
    if isinstance(error, EngineError):
        status = status_of(error)
        return no_content(304) if status == 304 else error_response(status, error.message)
    if isinstance(error, web.HTTPException):
        return error_response(error.status, error.reason)
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        log.error("timed out", exc_info=error)
        return error_response(500, "timed out: the engine's log has more")
    log.error("unexpected failure", exc_info=error)
    return error_response(500, f"internal error ({type(error).__name__}): the engine's log has more")
