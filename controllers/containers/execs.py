"""Execs: more processes in running containers. Kept in memory; they end with the engine's knowledge of them."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import struct
import termios
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from controllers.containers import exec_process
from controllers.containers.exec_process import Streams
from controllers.containers.runtime import Runtime
from controllers.containers.spawning import Spawner
from controllers.layout import Layout
from store.errors import ConflictError, EngineError, NotFoundError
from store.objects.containers import Container

KEPT = 300.0
"""Seconds for which a finished exec can still be asked about."""
_NOT_STARTED = 126
_DRAIN = 2.0
_BEGIN = 10.0


@dataclass(frozen=True, kw_only=True)
class ExecConfig:
    """What was asked for (API: ExecConfig)."""

    command: tuple[str, ...]
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    privileged: bool = False

    @property
    def words(self) -> str:
        """The command as events tell it: dockerd joins the program and its arguments, also when there are none."""
        return f"{self.command[0]} {' '.join(self.command[1:])}"


@dataclass
class Exec:
    """One exec, from its creation to five minutes after its end."""

    uid: str
    container: str
    config: ExecConfig
    running: bool = False
    pid: int = 0
    exit_code: int | None = None
    started: bool = False
    ended_at: float = 0.0
    terminal: int | None = None
    streams: Streams | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ExecRegistry:
    """All execs of this engine; ``linked`` gives the variables that a container's links tell."""

    def __init__(
        self, layout: Layout, runtime: Runtime, linked: Callable[[Container], list[str]] = lambda _: []
    ) -> None:
        self._linked = linked
        self._layout = layout
        self._runtime = runtime
        self._spawner = Spawner()
        self._execs: dict[str, Exec] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self.on_end: Callable[[Exec], None] = lambda _: None

    async def start_supervisor(self) -> None:
        """Have the supervisor ready before the first exec."""
        await self._spawner.start()

    async def close(self) -> None:
        """Forget everything; what runs goes on."""
        for task in self._watching:
            task.cancel()
        await self._spawner.stop()

    def create(self, container: Container, config: ExecConfig) -> Exec:
        """A new exec, not yet started. ConflictError when the container does not run."""
        self._forget_old()
        created = Exec(secrets.token_hex(32), container.uid, config)
        self._execs[created.uid] = created
        return created

    def get(self, uid: str) -> Exec:
        """An exec by its id; NotFoundError in dockerd's words."""
        found = self._execs.get(uid)
        if found is None:
            raise NotFoundError(f"No such exec instance: {uid}")
        return found

    def of(self, container: str) -> list[str]:
        """The ids of a container's execs that have not ended."""
        return [found.uid for found in self._execs.values() if found.container == container and not found.ended_at]

    def forget(self, container: str) -> None:
        """The container is gone."""
        for uid in [found.uid for found in self._execs.values() if found.container == container]:
            del self._execs[uid]

    def forget_unstarted(self, container: str) -> None:
        """The container has ended: what was only prepared can never run."""
        for uid in [found.uid for found in self._execs.values() if found.container == container and not found.started]:
            del self._execs[uid]

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT
        for uid in [found.uid for found in self._execs.values() if found.ended_at and found.ended_at < limit]:
            del self._execs[uid]

    def claim(self, found: Exec) -> None:
        """Mark as started, which happens once. ConflictError in dockerd's words."""
        if found.exit_code is not None:
            raise ConflictError(f"Error: Exec command {found.uid} has already run")
        if found.started:
            raise ConflictError(f"Error: Exec command {found.uid} is already running")
        found.started = True

    async def start(self, found: Exec, container: Container, *, stdin: bool, output: bool) -> Streams:
        """Run an exec that was claimed; ``stdin`` and ``output`` say what will be attached.

        EngineError, with the runtime's reason in dockerd's words, when it cannot; its exit code is 126 then.
        """
        try:
            process = await exec_process.start(
                self._layout,
                self._runtime,
                self._spawner,
                container,
                found.uid,
                found.config,
                stdin=stdin,
                output=output,
                linked=self._linked(container),
            )
        except BaseException:
            self._end(found, _NOT_STARTED)
            raise
        found.running, found.pid, found.streams = True, process.pid, process.streams
        found.begun.set()
        task = asyncio.create_task(self._watch(found, process.code), name=f"exec {found.uid}")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return process.streams

    async def _watch(self, found: Exec, code: asyncio.Future[int]) -> None:
        self._end(found, await code)
        # A child may hold the streams open for longer; dockerd gives it two seconds.
        streams = found.streams
        if streams is not None:
            await asyncio.wait([asyncio.ensure_future(streams.drained.wait())], timeout=_DRAIN)
            streams.close()

    def abandon(self, found: Exec) -> None:
        """The client has let go: no more input comes, and output is thrown away so that the process does not stand."""
        if found.streams is not None:
            found.streams.close_input()
        if found.streams is not None and not found.streams.drained.is_set():
            task = asyncio.create_task(_discard(found.streams), name=f"exec {found.uid} unread")
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    def _end(self, found: Exec, code: int) -> None:
        found.running, found.exit_code, found.ended_at = False, code, time.monotonic()
        found.begun.set()
        found.ended.set()
        self.on_end(found)

    async def resize(self, found: Exec, height: int, width: int) -> None:
        """Set the size of the exec's terminal in rows and columns. NotFoundError when it does not run.

        Clients send the size as soon as they are connected: while the runtime is still at it, this waits.
        """
        if found.started:
            try:
                async with asyncio.timeout(_BEGIN):
                    await found.begun.wait()
            except TimeoutError:
                raise EngineError("timeout waiting for exec session ready") from None
        if not found.running or found.streams is None:
            raise NotFoundError("no such exec")
        if found.streams.terminal is not None:
            try:
                fcntl.ioctl(found.streams.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            except OSError as error:
                raise EngineError(f"cannot resize: {error.strerror}") from error

    def __iter__(self) -> Iterable[Exec]:
        return iter(list(self._execs.values()))


async def _discard(streams: Streams) -> None:
    while await streams.read():
        pass
