"""``GET /events``: what happened, and what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.rendering import encode
from apiserver.streams import stream
from apiserver.timestamps import SECOND, parse_unix
from apiserver.wire.events import EventMessage, asked_for, message
from store.errors import InvalidParameterError
from store.event_log import EventLog
from store.feed import Backlog
from store.objects import Event
from store.store import SlowReaderError


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/events",
            partial(events, engine),
            "SystemEvents",
            summary="What happened since a moment, then what happens, one JSON value a line.",
            response=EventMessage,
            parameters=(
                Parameter("since", summary="Begin with events of this Unix time; without it, with the next event."),
                Parameter("until", summary="End with events of this Unix time; without it, never."),
                Parameter("filters", summary="A JSON object of lists: container, event, image, label, type …"),
            ),
        )
    ]


async def events(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /events``: 200 at once and a stream; 400 for times and filters that cannot be."""
    since, until = (_moment(call, name) for name in ("since", "until"))
    if since is not None and until is not None and until < since:
        given = call.query.text("since"), call.query.text("until")
        raise InvalidParameterError("`since` time ({}) cannot be after `until` time ({})".format(*given))
    filters = call.query.filters()
    response = await stream(call, "application/json")
    async with aclosing(_between(engine.store.events, since, until)) as found:
        async for event in found:
            if asked_for(event, filters):
                await response.write(encode(message(event)) + b"\n")
    await response.write_eof()
    return response


def _moment(call: Call, name: str) -> int | None:
    text = call.query.text(name)
    # dockerd takes -1 for its own "not given".
    return parse_unix(text) if text not in ("", "-1") else None


async def _between(log: EventLog, since: int | None, until: int | None) -> AsyncGenerator[Event, None]:
    """Kept events, unless neither time is given, then coming ones, each once, until ``until`` or the store's end."""
    with log.follow() as coming:
        last = 0
        if since is not None or until is not None:
            for event in await log.read(since or 0, until):
                last = event.sequence
                yield event
        while (arrived := await _next(coming, until)) is not None:
            # The log was read after following began, so what came in between is in both.
            if arrived.sequence > last:
                yield arrived


async def _next(coming: Backlog[Event], until: int | None) -> Event | None:
    try:
        async with asyncio.timeout(None if until is None else max(0.0, (until - time.time_ns()) / SECOND)):
            event = await anext(coming)
    except (TimeoutError, SlowReaderError, StopAsyncIteration):
        return None
    return event if until is None or event.at <= until else None
