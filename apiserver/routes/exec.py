"""Further processes in running containers."""

from __future__ import annotations

import asyncio
import base64
from functools import partial

from aiohttp import web

from apiserver.attachment import STDOUT, Join, join
from apiserver.bodies import check_content_type
from apiserver.composition import Engine
from apiserver.detach import parse_keys
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import parse_int
from apiserver.rendering import HEADERS, json_response
from apiserver.routes import lookup
from apiserver.streams import Connection, frame, hijack, hijacked
from apiserver.wire import exec as wire
from controllers.containers.events import event
from controllers.containers.exec_process import Streams
from controllers.containers.execs import Exec, ExecConfig
from store.errors import ConflictError, EngineError, InvalidParameterError, NotFoundError
from store.objects import Container, Event

SIZE = (Parameter("h", "integer", "Rows."), Parameter("w", "integer", "Columns."))
RAW = "application/vnd.docker.raw-stream"


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    engine.execs.on_end = partial(_tell_end, engine)
    return [
        Route(
            "POST",
            "/containers/{id}/exec",
            partial(create, engine),
            "ContainerExec",
            summary="Prepare a process to run in a running container.",
            request=wire.ExecCreateRequest,
            response=wire.ExecCreateResponse,
            status=201,
        ),
        Route(
            "POST",
            "/exec/{id}/start",
            partial(start, engine),
            "ExecStart",
            summary="Run a prepared process; its streams come over the connection unless detached.",
            request=wire.ExecStartRequest,
            produces=RAW,
        ),
        Route(
            "POST",
            "/exec/{id}/resize",
            partial(resize, engine),
            "ExecResize",
            summary="Set the size of the process's terminal.",
            parameters=SIZE,
        ),
        Route(
            "GET",
            "/exec/{id}/json",
            partial(inspect, engine),
            "ExecInspect",
            summary="What is known of a process.",
            response=wire.ExecInspect,
        ),
    ]


async def create(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/exec``: 201 with an id; 404, and 409 unless the container runs."""
    request = await call.body(wire.ExecCreateRequest)
    if not request.cmd:
        raise InvalidParameterError("No exec command specified")
    container = await lookup.settled(engine.store, call.path["id"])
    require_running(container, "exec")
    if request.detach_keys and parse_keys(request.detach_keys) is None:
        raise InvalidParameterError(f"Invalid escape keys ({request.detach_keys}) provided")
    config = ExecConfig(
        command=tuple(request.cmd),
        tty=request.tty,
        attach_stdin=request.attach_stdin,
        attach_stdout=request.attach_stdout,
        attach_stderr=request.attach_stderr,
        detach_keys=request.detach_keys,
        environment=tuple(request.env or ()),
        working_dir=request.working_dir,
        user=request.user,
        privileged=request.privileged,
    )
    created = engine.execs.create(container, config)
    # Events keep their order, and nothing is lost that the client waits for: an exec is gone with the daemon anyway.
    _tell_soon(engine, event(container, f"exec_create: {config.words}", execID=created.uid))
    return json_response(wire.ExecCreateResponse(id=created.uid), status=201)


def require_running(container: Container, action: str) -> None:
    """ConflictError in dockerd's words unless the container runs and is not paused."""
    if container.status.phase == "restarting":
        raise ConflictError(f"Container {container.uid} is restarting, wait until the container is running")
    if not container.running:
        raise ConflictError(f"Container {container.uid} is not running")
    if container.status.phase == "paused":
        raise ConflictError(f"Container {container.name} is paused, unpause the container before {action}")


def _of(engine: Engine, call: Call) -> tuple[Exec, Container]:
    found = engine.execs.get(call.path["id"])
    container = engine.store.containers.get(found.container)
    if container is None:
        raise NotFoundError(f"No such container: {found.container}")
    return found, container


async def start(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /exec/{id}/start``: runs it. Attached, what goes wrong is told on the stream, as dockerd has it."""
    check_content_type(call.request)
    request = await call.body(wire.ExecStartRequest)
    found, container = _of(engine, call)
    require_running(container, "exec")
    if request.detach:
        engine.execs.claim(found)
        await engine.execs.start(found, container, stdin=False, output=False)
        await _tell(engine, container, found, f"exec_start: {found.config.words}")
        return web.Response(status=200)
    # Here dockerd sends its usual headers along, when it attaches it does not.
    connection = await hijack(call, headers=HEADERS)
    try:
        await _attached(engine, connection, found, container, request.tty)
    except EngineError as error:
        text = f"{error.message}\r\n".encode()
        await connection.write(text if request.tty else frame(STDOUT, text))
    finally:
        await connection.close()
    return hijacked(call)


async def _attached(engine: Engine, connection: Connection, found: Exec, container: Container, tty: bool) -> None:
    config = found.config
    engine.execs.claim(found)
    output = config.attach_stdout or config.attach_stderr or config.tty
    started = asyncio.create_task(engine.execs.start(found, container, stdin=config.attach_stdin, output=output))
    await _tell(engine, container, found, f"exec_start: {config.words}")
    streams = await started
    how = Join(
        terminal=config.tty,
        multiplexed=not tty,
        stdin=config.attach_stdin,
        stdout=config.attach_stdout,
        stderr=config.attach_stderr and not config.tty,
        once=True,
        keys=parse_keys(config.detach_keys) or b"",
    )
    detached = await _join(engine, connection, found, streams, how)
    if detached:
        await _tell(engine, container, found, "exec_detach")


async def _join(engine: Engine, connection: Connection, found: Exec, streams: Streams, how: Join) -> bool:
    try:
        detached = await join(connection, streams, how)
    finally:
        engine.execs.abandon(found)
    if not detached and not connection.lost and streams.drained.is_set():
        # Clients ask for the exit code as soon as the stream ends.
        ending = asyncio.create_task(found.ended.wait())
        leaving = asyncio.create_task(connection.wait_lost())
        await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        leaving.cancel()
    return detached


async def resize(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /exec/{id}/resize``: 404 unless it runs."""
    height, width = parse_int(call.query.text("h")), parse_int(call.query.text("w"))
    await engine.execs.resize(engine.execs.get(call.path["id"]), height, width)
    return web.Response(status=200)


async def inspect(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /exec/{id}/json``."""
    found, _ = _of(engine, call)
    return json_response(view(found, parse_keys(found.config.detach_keys) or b""))


async def _tell(engine: Engine, container: Container, found: Exec, action: str) -> None:
    told = event(container, action, execID=found.uid)
    await engine.store.commit(lambda tx: tx.emit(told), durable=False)


_telling: set[asyncio.Task[None]] = set()


def _tell_end(engine: Engine, found: Exec) -> None:
    container = engine.store.containers.get(found.container)
    if container is None or not found.pid:
        return
    _tell_soon(engine, event(container, "exec_die", execID=found.uid, exitCode=str(found.exit_code)))


def _tell_soon(engine: Engine, told: Event) -> None:
    task = asyncio.ensure_future(engine.store.commit(lambda tx: tx.emit(told), durable=False))
    _telling.add(task)
    task.add_done_callback(_telling.discard)


def view(found: Exec, keys: bytes) -> wire.ExecInspect:
    """An exec as clients see it."""
    config = found.config
    return wire.ExecInspect(
        id=found.uid,
        running=found.running,
        exit_code=found.exit_code,
        process_config=wire.ProcessConfig(
            tty=config.tty,
            entrypoint=config.command[0],
            arguments=list(config.command[1:]),
            privileged=config.privileged,
            user=config.user,
        ),
        open_stdin=config.attach_stdin,
        open_stderr=config.attach_stderr,
        open_stdout=config.attach_stdout,
        can_remove=False,
        container_id=found.container,
        detach_keys=base64.b64encode(keys).decode("ascii") if config.detach_keys else "",
        pid=found.pid,
    )
