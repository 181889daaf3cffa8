"""The engine's end of ``supervisor.py``: starts it when first needed, and anew when it has died."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controllers.containers.conmon import reap_when_done
from store.errors import EngineError

LOST = 255
"""The exit code of a process whose supervisor has died."""


@dataclass
class Supervised:
    """One process: ``pid`` once it runs (0: the runtime refused), ``code`` once it has ended."""

    pid: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    code: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Spawner:
    """Runs detaching runtimes and tells the exit codes of what they leave."""

    def __init__(self) -> None:
        self._link: socket.socket | None = None
        self._known: dict[str, Supervised] = {}

    async def start(self) -> None:
        """Start the supervisor, unless it runs."""
        if self._link is not None:
            return
        ours, pid = _launch()
        reap_when_done(pid)
        ours.setblocking(False)
        self._link = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)

    async def stop(self) -> None:
        """Let the supervisor go; what it watched runs on unwatched."""
        self._lost()

    async def run(self, identity: str, arguments: Sequence[str], pidfile: Path, streams: Sequence[int]) -> Supervised:
        """Start a runtime with three descriptors as its standard streams. EngineError when it cannot be asked."""
        await self.start()
        assert self._link is not None
        known = self._known[identity] = Supervised()
        request = json.dumps({"id": identity, "arguments": list(arguments), "pidfile": str(pidfile)}).encode()
        for _ in range(100):
            try:
                socket.send_fds(self._link, [request], list(streams))
                return known
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError as error:
                self._lost()
                raise EngineError("the supervisor of execs has died") from error
        del self._known[identity]
        raise EngineError("the supervisor of execs does not answer")

    def _readable(self) -> None:
        assert self._link is not None
        while self._link is not None:
            try:
                data = self._link.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            self._answer(json.loads(data))

    def _answer(self, answer: dict[str, object]) -> None:
        identity = str(answer["id"])
        known = self._known.get(identity)
        if known is None:
            return
        if "pid" in answer and not known.pid.done():
            known.pid.set_result(int(str(answer["pid"])))
            return
        if not known.pid.done():
            known.pid.set_result(0)
        if not known.code.done():
            known.code.set_result(int(str(answer.get("code", answer.get("failed", LOST)))))
        del self._known[identity]

    def _lost(self) -> None:
        if self._link is not None:
            with contextlib.suppress(OSError, ValueError):
                asyncio.get_running_loop().remove_reader(self._link.fileno())
            self._link.close()
            self._link = None
        for identity in list(self._known):
            self._answer({"id": identity, "code": LOST})


def _launch() -> tuple[socket.socket, int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    script = str(Path(__file__).with_name("supervisor.py"))
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-E", script],
            {"PATH": os.environ.get("PATH", os.defpath)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
            ],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],
        )
    finally:
        os.close(null)
        theirs.close()
    return ours, pid
