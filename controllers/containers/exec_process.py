"""Starting one exec: its process's specification, its pipes or terminal, and the runtime that puts it in place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from controllers.containers import capabilities, cgroups, failures, oci, users
from controllers.containers.pipes import ReadEnd, WriteEnd
from controllers.containers.runtime import Runtime
from controllers.containers.spawning import Spawner
from controllers.containers.waiting import readable
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import EngineError
from store.objects.containers import Container

if TYPE_CHECKING:
    from controllers.containers.execs import ExecConfig

START_TIMEOUT = 60.0
PREFIX = "exec-"
"""How the files of an exec begin, in the container's bundle."""
STDOUT, STDERR = 1, 2


class Streams:
    """What an exec reads and writes; the same shape as ``attach.AttachConnection``."""

    def __init__(self, stdin: WriteEnd | None, outputs: dict[int, ReadEnd], terminal: int | None) -> None:
        self._stdin = stdin
        self._outputs = outputs
        self._pending: dict[asyncio.Task[bytes], int] = {}
        self.terminal = terminal
        self.drained = asyncio.Event()
        if not outputs:
            self.drained.set()

    async def read(self) -> list[tuple[int, bytes]]:
        """The output that has come, at least one piece, as (stream, data); empty at the end."""
        if len(self._outputs) == 1:
            stream, end = next(iter(self._outputs.items()))
            data = await end.read()
            if not data:
                self.drained.set()
            return [(stream, data)] if data else []
        while self._outputs:
            for stream, end in self._outputs.items():
                if stream not in self._pending.values():
                    self._pending[asyncio.ensure_future(end.read())] = stream
            done, _ = await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
            pieces = []
            for task in done:
                stream = self._pending.pop(task)
                if task.result():
                    pieces.append((stream, task.result()))
                else:
                    self._outputs.pop(stream).close()
            if pieces:
                return sorted(pieces)
        self.drained.set()
        return []

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read. ConnectionError when it has ended."""
        if self._stdin is None:
            raise BrokenPipeError
        await self._stdin.write(data)

    def close_input(self) -> None:
        """Say that no more input comes; a terminal goes on."""
        if self._stdin is not None and self.terminal is None:
            self._stdin.close()

    def close(self) -> None:
        """Let go of everything."""
        if self._stdin is not None:
            self._stdin.close()
        for end in self._outputs.values():
            end.close()
        self.terminal = None
        self.drained.set()


class _Bundle(msgspec.Struct):
    """What is read of a container's OCI configuration."""

    process: dict[str, Any]


@dataclass
class Started:
    """A running exec: ``code`` comes when it has ended."""

    pid: int
    streams: Streams
    code: asyncio.Future[int]


async def start(
    layout: Layout,
    runtime: Runtime,
    spawner: Spawner,
    container: Container,
    uid: str,
    config: ExecConfig,
    *,
    stdin: bool,
    output: bool,
    linked: Sequence[str] = (),
) -> Started:
    """Put a process into a running container. EngineError in dockerd's words when it cannot be."""
    bundle = layout.bundle(container.uid)
    base = bundle / f"{PREFIX}{uid[:16]}"
    if config.user:
        # The name is looked up in the container's own files, whatever those are.
        process = await asyncio.to_thread(_process, layout, runtime, container, config, linked)
    else:
        process = _process(layout, runtime, container, config, linked)
    (base.with_suffix(".json")).write_bytes(msgspec.json.encode(process))
    crashpoint("exec.start.described")
    arguments = [
        runtime.program,
        *runtime.arguments,
        "--log",
        f"{base}.log",
        "--log-format",
        "json",
        "exec",
        "--detach",
    ]
    arguments += ["--process", f"{base}.json", "--pid-file", f"{base}.pid"]
    priming = asyncio.ensure_future(asyncio.to_thread(cgroups.prime))
    try:
        if config.tty:
            return await _with_terminal(spawner, uid, container.uid, arguments, base)
        return await _with_pipes(spawner, uid, container.uid, arguments, base, stdin=stdin, output=output)
    finally:
        await asyncio.shield(priming)
        for suffix in (".json", ".log", ".pid", ".sock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{base}{suffix}")


def _process(
    layout: Layout, runtime: Runtime, container: Container, config: ExecConfig, linked: Sequence[str]
) -> dict[str, Any]:
    try:
        data = (layout.bundle(container.uid) / "config.json").read_bytes()
    except OSError as error:
        raise EngineError(f"Container {container.uid} is not running") from error
    process = msgspec.json.decode(data, type=_Bundle).process
    found = runtime.find(container.uid)
    if found is None:
        raise EngineError(f"Container {container.uid} is not running")
    user = process["user"]
    host = container.spec.host
    names = tuple(process["capabilities"].get("bounding") or ())
    if config.privileged:
        names = capabilities.resolve((), (), privileged=True, available=capabilities.grantable())
    resolved = users.User(user["uid"], user["gid"], tuple(user.get("additionalGids") or ()))
    if config.user:
        resolved = users.resolve(Path(f"/proc/{found.pid}/root"), config.user, host.group_add or ())
    # A privileged exec is root's affair whoever runs it, as dockerd has it.
    sets = {kind: list(names) for kind in ("bounding", "effective", "permitted")}
    hostname = next((text[9:] for text in process["env"] if text.startswith("HOSTNAME=")), "")
    process.update(
        args=list(config.command),
        env=oci.environment(container.spec.config, hostname, tty=config.tty, linked=linked, extra=config.environment),
        cwd=config.working_dir or container.spec.config.working_dir or "/",
        terminal=config.tty,
        user=oci.user_section(resolved),
        capabilities=sets if config.privileged else oci.capability_sets(names, resolved),
    )
    return process


async def _run(spawner: Spawner, uid: str, arguments: list[str], base: Path, streams: list[int]) -> Started:
    supervised = await spawner.run(uid, arguments, Path(f"{base}.pid"), streams)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            pid = await asyncio.shield(supervised.pid)
    except TimeoutError as error:
        raise EngineError("the container runtime did not answer in time") from error
    if not pid:
        code = await supervised.code
        raise failures.executing(failures.last_words(Path(f"{base}.log"), f"exec failed: exit status {code}"))
    crashpoint("exec.start.running")
    return Started(pid, Streams(None, {}, None), supervised.code)


async def _with_pipes(
    spawner: Spawner, uid: str, container: str, arguments: list[str], base: Path, *, stdin: bool, output: bool
) -> Started:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    theirs = [null]
    write_end: WriteEnd | None = None
    outputs: dict[int, ReadEnd] = {}
    given = [null, null, null]
    try:
        if stdin:
            given[0], writing = os.pipe2(os.O_CLOEXEC)
            theirs.append(given[0])
            write_end = WriteEnd(writing)
        for stream in (STDOUT, STDERR) if output else ():
            reading, given[stream] = os.pipe2(os.O_CLOEXEC)
            theirs.append(given[stream])
            outputs[stream] = ReadEnd(reading)
        started = await _run(spawner, uid, [*arguments, container], base, given)
    except BaseException:
        for end in outputs.values():
            end.close()
        if write_end is not None:
            write_end.close()
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    started.streams = Streams(write_end, outputs, None)
    return started


async def _with_terminal(spawner: Spawner, uid: str, container: str, arguments: list[str], base: Path) -> Started:
    directory = os.open(base.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    master: asyncio.Task[int] | None = None
    try:
        # The same short way to the socket for us and for the runtime: its path has 108 bytes.
        place = f"/proc/{os.getpid()}/fd/{directory}/{base.name}.sock"
        listener.bind(place)
        listener.listen(1)
        master = asyncio.create_task(_receive_terminal(listener))
        arguments = [*arguments, "--console-socket", place, container]
        started = await _run(spawner, uid, arguments, base, [null, null, null])
        async with asyncio.timeout(START_TIMEOUT):
            terminal = await master
    except BaseException:
        if master is not None:
            master.cancel()
        raise
    finally:
        listener.close()
        os.close(null)
        os.close(directory)
    started.streams = Streams(WriteEnd(os.dup(terminal)), {STDOUT: ReadEnd(terminal)}, terminal)
    return started


async def _receive_terminal(listener: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    peer, _ = await loop.sock_accept(listener)
    with peer:
        peer.setblocking(False)
        await readable(peer.fileno())
        _, descriptors, _, _ = socket.recv_fds(peer, 4096, 1, socket.MSG_CMSG_CLOEXEC)
    if not descriptors:
        raise EngineError("the container runtime sent no terminal")
    return descriptors[0]
