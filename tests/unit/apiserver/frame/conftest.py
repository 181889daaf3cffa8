"""A server of the real kind, with operations that only tests have."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
import uvloop
from aiohttp import web

from apiserver import streams
from apiserver.config import Limits, Settings
from apiserver.dispatch import Call, Route
from apiserver.queries import Query
from apiserver.rendering import json_response
from apiserver.server import Server
from store.errors import ConflictError, NotFoundError, NotModifiedError


class Body(msgspec.Struct, kw_only=True, rename="pascal"):
    name: str = ""
    number: int = 0
    labels: dict[str, str] | None = None

    go_name = "types.Body"


async def show(call: Call) -> web.StreamResponse:
    shown = {"id": call.path["id"], "version": call.version, "q": call.query.text("q"), "n": call.query.integer("n")}
    return json_response(shown)


async def read_body(call: Call) -> web.StreamResponse:
    return json_response(await call.body(Body))


async def read_optional_body(call: Call) -> web.StreamResponse:
    return json_response(await call.body(Body, optional=True))


async def fail(call: Call) -> web.StreamResponse:
    raise ValueError("a secret")


async def refuse(call: Call) -> web.StreamResponse:
    raise ConflictError("not now")


async def unmodified(call: Call) -> web.StreamResponse:
    raise NotModifiedError


async def echo(call: Call) -> web.StreamResponse:
    """Sends back what it gets in angle brackets, then says bye."""
    await call.request.read()
    connection = await streams.hijack(call)
    while data := await connection.read():
        await connection.write(b"<" + data + b">")
    await connection.write(b"bye")
    await connection.close()
    return streams.hijacked(call)


async def tick(call: Call) -> web.StreamResponse:
    """A stream that is alive but rarely says anything."""
    response = await streams.stream(call, "text/plain")
    while True:
        await response.write(b"tick\n")
        await asyncio.sleep(0.05)


async def break_off(call: Call) -> web.StreamResponse:
    response = await streams.stream(call, "text/plain")
    await response.write(b"begun\n")
    raise ConflictError("too late to say")


async def pull(call: Call) -> web.StreamResponse:
    progress = streams.ProgressWriter(call)
    if call.query.flag("early"):
        await progress.fail(ConflictError("early"))
    await progress.status("Downloading", "abc", 5, 10)
    if call.query.flag("late"):
        await progress.fail(ConflictError("late"))
    return await progress.finish()


async def large(call: Call) -> web.StreamResponse:
    return web.Response(body=b"x" * 64_000_000)


async def wait(call: Call) -> web.StreamResponse:
    await asyncio.sleep(call.query.integer("ms") / 1000)
    return json_response({})


async def talk(call: Call) -> web.StreamResponse:
    """Sends back what it gets, over a WebSocket."""
    socket = web.WebSocketResponse()
    await socket.prepare(call.request)
    async for message in socket:
        await socket.send_str(f"<{message.data}>")
    return socket


async def later(call: Call) -> web.StreamResponse:
    return web.Response(body=b"the long way", headers={"Content-Type": "text/plain"})


def at_once(path: Mapping[str, str], query: Query) -> bytes | None:
    """``none`` does not exist, ``slow`` is not at hand."""
    if path["id"] == "none":
        raise NotFoundError("no such thing")
    return None if path["id"] == "slow" else f"at once {query.text('q')}".encode()


ROUTES = [
    Route("GET", "/at-once/{id}", later, "AtOnce", produces="text/plain", headers={"X-Own": "1"}, instant=at_once),
    Route("GET", "/talk", talk, "Talk"),
    Route("GET", "/things/{id}", show, "Show"),
    Route("GET", "/things/json", refuse, "List"),
    Route("DELETE", "/things/{name:.+}", show, "Delete"),
    Route("POST", "/body", read_body, "Body"),
    Route("POST", "/optional", read_optional_body, "OptionalBody"),
    Route("GET", "/fail", fail, "Fail"),
    Route("GET", "/refuse", refuse, "Refuse"),
    Route("GET", "/unmodified", unmodified, "Unmodified"),
    Route("POST", "/echo", echo, "Echo"),
    Route("GET", "/tick", tick, "Tick"),
    Route("GET", "/break", break_off, "Break"),
    Route("POST", "/pull", pull, "Pull"),
    Route("GET", "/large", large, "Large"),
    Route("GET", "/wait", wait, "Wait"),
]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        return str(msgspec.json.decode(self.body)["message"])


def parse(raw: bytes) -> Reply:
    """A reply whose connection has ended."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


class Client:
    """Speaks bytes, so that a test can say what no HTTP library would."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def connect(self, index: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        endpoint = self.server.listeners[index].endpoint
        if endpoint.scheme == "unix":
            return await asyncio.open_unix_connection(str(endpoint.path))
        return await asyncio.open_connection(endpoint.host, endpoint.port)

    async def send(self, raw: bytes, *, index: int = 0, half_close: bool = False) -> Reply:
        """Sends bytes and reads until the server closes."""
        reader, writer = await self.connect(index)
        try:
            writer.write(raw)
            if half_close:
                writer.write_eof()
            received = bytearray()
            try:
                while data := await asyncio.wait_for(reader.read(65536), 20):
                    received += data
            except ConnectionResetError:
                pass
            return parse(bytes(received))
        finally:
            writer.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Sequence[str] = (),
        *,
        host: str = "docker",
        index: int = 0,
    ) -> Reply:
        """One request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return await self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""), index=index)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The daemon's own event loop: its transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="wh") as directory:
        yield Path(directory)


Starter = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start(place: Path) -> AsyncIterator[Starter]:
    """Starts a server with other settings than the usual; stopped at the end."""
    servers: list[Server] = []

    async def begin(**changes: object) -> Client:
        limits = {key: changes.pop(key) for key in list(changes) if key in Limits.__dataclass_fields__}
        settings = Settings(socket_path=place / "socket", graceful_timeout=1, cleanup_timeout=0.1)
        settings = replace(settings, limits=replace(settings.limits, **limits), **changes)  # type: ignore[arg-type]
        server = Server(settings)
        server.configure(ROUTES)
        server.listen()
        await server.start()
        servers.append(server)
        return Client(server)

    yield begin
    for server in servers:
        await server.shutdown()


@pytest.fixture
async def client(start: Starter) -> Client:
    """A client of a server with the usual settings."""
    return await start()


@pytest.fixture
def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
