"""Waiting for a container's end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.rendering import JSON, encode, json_response
from apiserver.routes import lookup
from apiserver.streams import stream
from apiserver.wire import versions
from apiserver.wire.container_life import WaitResponse
from store.objects import Container


def routes(engine: Engine) -> list[Route]:
    """The operation of this module."""
    return [
        Route(
            "POST",
            "/containers/{id}/wait",
            partial(wait, engine),
            "ContainerWait",
            summary="Wait until a container ends (or is removed); its exit code.",
            response=WaitResponse,
            parameters=(Parameter("condition", summary="not-running (default), next-exit or removed."),),
        )
    ]


async def wait(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/wait``: answers its headers at once, so that who asked knows that waiting has begun."""
    container = lookup.container(engine.store, call.path["id"])
    if not versions.has(call.version, "wait.condition"):
        code = await _end(engine, container, "not-running")
        return json_response(WaitResponse(status_code=code))
    response = await stream(call, JSON)
    code = await _end(engine, container, call.query.text("condition"))
    await response.write(encode(WaitResponse(status_code=code)) + b"\n")
    await response.write_eof()
    return response


async def _end(engine: Engine, container: Container, condition: str) -> int:
    ended = _Ended(container, condition)
    await engine.store.wait_for(Container, container.uid, ended)
    return ended.code


class _Ended:
    """Watches one container's states for the end that was asked for."""

    def __init__(self, container: Container, condition: str) -> None:
        self._finished_at = container.status.finished_at
        self._until: Callable[[Container], bool] = {
            "removed": lambda _: False,
            "next-exit": self._has_ended,
        }.get(condition, self._is_at_rest)
        self.code = container.status.exit_code

    def __call__(self, container: Container | None) -> bool:
        if container is None:
            return True
        self.code = container.status.exit_code
        return self._until(container)

    def _has_ended(self, container: Container) -> bool:
        return container.status.finished_at != self._finished_at

    def _is_at_rest(self, container: Container) -> bool:
        resting = not container.running and container.status.phase != "restarting"
        return resting or self._has_ended(container)
