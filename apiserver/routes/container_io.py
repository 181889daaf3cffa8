"""A container's streams: its log, and attaching to it over a raw connection or a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from functools import partial

from aiohttp import WSMsgType, web

from apiserver.attachment import Client, Join, join
from apiserver.composition import Engine
from apiserver.connection import Connection
from apiserver.detach import parse_keys
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import Query
from apiserver.routes import lookup
from apiserver.streams import hijack, hijacked
from apiserver.timestamps import parse_unix
from controllers.containers import attach as driver
from controllers.containers.events import event
from controllers.containers.logs import LogQuery, follow, in_thread, quick, read
from store.errors import ConflictError, EngineError, InvalidParameterError, NotImplementedYetError
from store.objects import Container
from store.objects.containers import LogConfig

RAW = "application/vnd.docker.raw-stream"
SMALL = 256 * 1024
"""Bytes of a log that are sent as one complete answer rather than in chunks."""
_STREAMS = (
    Parameter("stdout", "boolean", "Include standard output."),
    Parameter("stderr", "boolean", "Include standard error."),
)
_ATTACH = (
    Parameter("detachKeys", "string", "The keys that let go, as ctrl-p,ctrl-q."),
    Parameter("logs", "boolean", "Send what was logged so far first."),
    Parameter("stream", "boolean", "Stay connected."),
    Parameter("stdin", "boolean", "Connect standard input."),
    *_STREAMS,
)


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/containers/{id}/logs",
            partial(logs, engine),
            "ContainerLogs",
            summary="What a container has written, and what it will write.",
            produces=RAW,
            instant=partial(_short_log, engine),
            parameters=(
                Parameter("follow", "boolean", "Go on until the container ends."),
                *_STREAMS,
                Parameter("since", "string", "Only lines from this Unix time on."),
                Parameter("until", "string", "Only lines up to this Unix time."),
                Parameter("timestamps", "boolean", "Each line with its time."),
                Parameter("details", "boolean", "Each line with the log driver's extra attributes."),
                Parameter("tail", "string", "The number of lines from the end, or all."),
            ),
        ),
        Route(
            "POST",
            "/containers/{id}/attach",
            partial(attach, engine),
            "ContainerAttach",
            summary="Connect to a container's streams; before its start to see all of them.",
            produces=RAW,
            parameters=_ATTACH,
        ),
        Route(
            "GET",
            "/containers/{id}/attach/ws",
            partial(attach_websocket, engine),
            "ContainerAttachWebsocket",
            summary="Connect to a container's streams by a websocket.",
            status=101,
            parameters=_ATTACH,
        ),
    ]


async def logs(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/logs``: 400 without a stream, 501 for a log driver that cannot be read."""
    container, query = _log_query(engine, call.path, call.query)
    short = quick(engine.layout.log(container.uid), query)
    if short is not None:
        return web.Response(body=short, headers={"Content-Type": RAW})
    return await _send(call, _pieces(engine, container, query), wait=query.follow)


def _short_log(engine: Engine, path: Mapping[str, str], query: Query) -> bytes | None:
    container, wanted = _log_query(engine, path, query)
    return quick(engine.layout.log(container.uid), wanted)


def _log_query(engine: Engine, path: Mapping[str, str], query: Query) -> tuple[Container, LogQuery]:
    stdout, stderr = query.flag("stdout"), query.flag("stderr")
    if not (stdout or stderr):
        raise InvalidParameterError("Bad parameters: you must choose at least one stream")
    container = lookup.container(engine.store, path["id"])
    wanted = LogQuery(
        stdout=stdout,
        stderr=stderr,
        timestamps=query.flag("timestamps"),
        details=_details(container) if query.flag("details") else None,
        since=_moment(query, "since"),
        until=_moment(query, "until"),
        tail=_tail(query.text("tail")),
        follow=query.flag("follow"),
        multiplexed=not container.spec.config.tty,
    )
    if container.spec.host.log_config.type == "none":
        raise NotImplementedYetError("configured logging driver does not support reading")
    return container, wanted


def _pieces(engine: Engine, container: Container, query: LogQuery) -> AsyncIterator[bytes]:
    path = engine.layout.log(container.uid)
    if not query.follow:
        return in_thread(read(path, query))
    uid = container.uid

    def ended() -> bool:
        current = engine.store.containers.get(uid)
        return current is None or not (current.running or current.status.phase == "restarting")

    return follow(path, query, ended)


async def _send(call: Call, pieces: AsyncIterator[bytes], *, wait: bool) -> web.StreamResponse:
    """A short log goes out as one complete answer, in one write; a long or followed one in chunks."""
    held = b""
    if not wait:
        async for piece in pieces:
            held += piece
            if len(held) > SMALL:
                break
        else:
            return web.Response(body=held, headers={"Content-Type": RAW})
    response = web.StreamResponse(headers={"Content-Type": RAW})
    await response.prepare(call.request)
    if held:
        await response.write(held)
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


def _moment(query: Query, name: str) -> int:
    text = query.text(name)
    return parse_unix(text) if text else 0


def _tail(text: str) -> int:
    """A number that is none means all, as dockerd has it."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else -1


def _details(container: Container) -> str:
    """The attributes that the log options name: labels and variables of the container."""
    config: LogConfig = container.spec.host.log_config
    options = config.config or {}
    labels = container.spec.config.labels or {}
    variables = dict(text.partition("=")[::2] for text in container.spec.config.env or ())
    found = {name: labels[name] for name in options.get("labels", "").split(",") if name in labels}
    found |= {name: variables[name] for name in options.get("env", "").split(",") if name in variables}
    return ",".join(f"{name}={value}" for name, value in sorted(found.items()))


def _plan(call: Call, container: Container) -> Join:
    text = call.query.text("detachKeys")
    keys = parse_keys(text)
    if keys is None:
        raise InvalidParameterError(f"Invalid detach keys ({text}) provided")
    if container.status.phase == "paused":
        raise ConflictError(f"container {container.name} is paused, unpause the container before attach")
    if container.status.phase == "restarting":
        raise ConflictError(f"container {container.name} is restarting, wait until the container is running")
    config = container.spec.config
    assert isinstance(call.request.protocol, Connection)
    # Who ran it attached may read as slowly as at the end of any pipe; one who looks in later must not hold it up.
    own = config.attach_stdout or config.attach_stderr
    patience = 0.0 if own else call.request.protocol.limits.write_timeout
    return Join(
        terminal=config.tty,
        multiplexed=not config.tty,
        stdin=call.query.flag("stdin") and config.open_stdin,
        stdout=call.query.flag("stdout"),
        stderr=call.query.flag("stderr"),
        once=config.stdin_once,
        keys=keys,
        patience=patience,
    )


async def attach(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/attach``: the streams over the connection, which is taken over."""
    container = lookup.container(engine.store, call.path["id"])
    how = _plan(call, container)
    connection = await hijack(call)
    try:
        await _attached(engine, call, container, connection, how)
    finally:
        await connection.close()
    return hijacked(call)


async def _attached(engine: Engine, call: Call, container: Container, client: Client, how: Join) -> None:
    if call.query.flag("logs"):
        query = LogQuery(stdout=how.stdout, stderr=how.stderr, multiplexed=how.multiplexed)
        async for piece in in_thread(read(engine.layout.log(container.uid), query)):
            await client.write(piece)
    if not call.query.flag("stream"):
        return
    connection = await _connect(engine, container, client)
    if connection is None:
        return
    try:
        detached = await join(client, connection, how)
    finally:
        connection.close()
    if detached:
        await _tell(engine, container, "detach")


async def _connect(engine: Engine, container: Container, client: Client) -> driver.AttachConnection | None:
    """The container's streams: at once when it runs, else from its next start; None when the client goes before it."""
    # A start that is on its way has connected those who waited already, and the store does not know yet.
    if container.running or engine.runtime.find(container.uid) is not None:
        with contextlib.suppress(ConflictError):
            connection = await driver.connect(engine.layout, container.uid)
            await _tell(engine, container, "attach")
            return connection
        return None
    starting = asyncio.ensure_future(engine.runtime.attachments.next_start(container.uid))
    leaving = asyncio.ensure_future(client.wait_lost())
    try:
        await _tell(engine, container, "attach")
        await asyncio.wait({starting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not starting.cancelled():
            with contextlib.suppress(EngineError):
                return starting.result()
        return None
    finally:
        leaving.cancel()
        if not starting.done():
            starting.cancel()


async def _tell(engine: Engine, container: Container, action: str) -> None:
    told = event(container, action)
    await engine.store.commit(lambda tx: tx.emit(told), durable=False)


class _WebSocketClient:
    """A websocket as the client's side of an attachment; each message of output is one piece."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self._socket = socket
        self._transport = transport
        self._lost = asyncio.Event()

    async def read(self) -> bytes:
        """What the client sent; empty when it has closed."""
        while True:
            message = await self._socket.receive()
            if message.type == WSMsgType.BINARY:
                data: bytes = message.data
            elif message.type == WSMsgType.TEXT:
                data = message.data.encode()
            else:
                self._lost.set()
                return b""
            if data:
                return data

    async def write(self, data: bytes) -> None:
        """Send one binary message."""
        await self._socket.send_bytes(data)

    def unsent(self) -> int:
        """How many bytes wait for the client to take them."""
        return self._transport.get_write_buffer_size()

    def cut(self) -> None:
        """End the connection at once, whatever waits."""
        self._transport.abort()
        self._lost.set()

    async def wait_lost(self) -> None:
        """Returns when the client has closed."""
        await self._lost.wait()


async def attach_websocket(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/attach/ws``: streams as they are, without frames."""
    container = lookup.container(engine.store, call.path["id"])
    plan = _plan(call, container)
    chosen = plan.stdin or plan.stdout or plan.stderr
    socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
    if not socket.can_prepare(call.request).ok:
        raise InvalidParameterError("not websocket protocol")
    await socket.prepare(call.request)
    transport = call.request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    client = _WebSocketClient(socket, transport)
    how = Join(
        terminal=plan.terminal,
        multiplexed=False,
        # Without its reading nobody would notice that the client closes.
        stdin=True,
        stdout=plan.stdout or not chosen,
        stderr=plan.stderr or not chosen,
        once=plan.once,
        keys=plan.keys,
        patience=plan.patience,
    )
    with contextlib.suppress(ConnectionError):
        await _attached(engine, call, container, client, how)
    await socket.close()
    return socket
