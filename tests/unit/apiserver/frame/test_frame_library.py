"""The server as a library: new, configure, get and set the handler, listen, serve, shut down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from apiserver.config import ConfigError, Settings
from apiserver.frontend import Frontend
from apiserver.server import Server
from tests.unit.apiserver.frame.conftest import ROUTES, Client


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"hello {request.path}")


async def test_a_server_with_a_handler_of_ones_own(place: Path) -> None:
    server = Server(Settings(socket_path=place / "socket", schemes=("unix", "http")))
    assert server.handler is None
    server.handler = hello
    assert server.handler is hello
    listeners = server.listen()
    assert [listener.endpoint.scheme for listener in listeners] == ["unix", *["http"] * (len(listeners) - 1)]
    assert listeners == server.listeners
    assert all(listener.endpoint.port for listener in listeners[1:])
    serving = asyncio.create_task(server.serve())
    for index in range(len(listeners)):
        reply = await Client(server).ask("GET", "/x", host="localhost", index=index)
        assert (reply.status, reply.body) == (200, b"hello /x")
    await server.shutdown()
    await asyncio.wait_for(serving, 20)
    assert server.listeners == ()


async def test_to_serve_is_to_listen_too(place: Path) -> None:
    server = Server(Settings(socket_path=place / "socket"))
    server.configure(ROUTES)
    assert isinstance(server.handler, Frontend)
    serving = asyncio.create_task(server.serve())
    while not (place / "socket").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (await Client(server).ask("GET", "/things/a")).status == 200
    await server.shutdown()
    await serving


async def test_a_handler_can_be_wrapped(place: Path) -> None:
    server = Server(Settings(socket_path=place / "socket"))
    server.configure(ROUTES)
    inner = server.handler
    assert inner is not None

    async def outer(request: web.BaseRequest) -> web.StreamResponse:
        response = await inner(request)
        response.headers["X-Outer"] = "yes"
        return response

    server.handler = outer
    server.listen()
    await server.start()
    assert (await Client(server).ask("GET", "/things/a")).headers["x-outer"] == "yes"
    await server.shutdown()


async def test_a_server_without_a_handler_does_not_start(place: Path) -> None:
    server = Server(Settings(socket_path=place / "socket"))
    server.listen()
    with pytest.raises(RuntimeError, match="needs a handler"):
        await server.start()
    await server.shutdown()


def test_what_cannot_be_bound_leaves_nothing_bound(place: Path, free_port: int) -> None:
    first = Server(Settings(schemes=("http",), host="127.0.0.1", port=free_port))
    first.listen()
    second = Server(Settings(socket_path=place / "socket", schemes=("unix", "http"), host="127.0.0.1", port=free_port))
    with pytest.raises(ConfigError, match="is in use"):
        second.listen()
    assert second.listeners == ()
    assert not (place / "socket").exists()
    for listener in first.listeners:
        listener.close()
