"""conmon: one small process beside each container, which holds its terminal, writes its log and notes its exit.

It outlives the engine, and so do the containers. We start it with ``posix_spawn`` (a fork of a large process stops the
event loop for milliseconds) and read from the pipe named in ``_OCI_SYNCPIPE`` what became of the runtime's ``create``:
one JSON object, ``{"pid": N}`` or ``{"pid": -1, "message": …}``. Source: conmon(8) and its behaviour in version 2.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import EngineError

_SYNC_FD = 3
_REPORT_LIMIT = 65536


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One container for conmon to create and watch.

    ``runtime`` is the runtime's program and ``runtime_arguments`` its global options. ``stdin`` keeps a pipe open for
    attached clients; ``leave_stdin_open`` keeps it open after the first of them has gone.
    """

    program: str
    uid: str
    bundle: Path
    log: Path | None
    exits: Path
    runtime: str
    runtime_arguments: Sequence[str]
    terminal: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False


@dataclass(frozen=True)
class Report:
    """What conmon said: the container's first process, or -1 with the runtime's words."""

    conmon_pid: int
    pid: int
    message: str


def command_line(launch: Launch) -> list[str]:
    """conmon's arguments."""
    arguments = [launch.program, "--api-version", "1", "--sync", "--cid", launch.uid, "--cuuid", launch.uid]
    arguments += ["--name", launch.uid, "--runtime", launch.runtime, "--bundle", str(launch.bundle)]
    arguments += ["--container-pidfile", str(launch.bundle / "pid"), "--exit-dir", str(launch.exits)]
    arguments += ["--log-path", f"k8s-file:{launch.log}" if launch.log else "off:", "--full-attach"]
    arguments += ["--socket-dir-path", str(launch.bundle), "--no-sync-log", "--log-level", "error"]
    for argument in launch.runtime_arguments:
        arguments += ["--runtime-arg", argument]
    arguments += ["--terminal"] * launch.terminal + ["--stdin"] * launch.stdin
    arguments += ["--leave-stdin-open"] * launch.leave_stdin_open
    return arguments


async def start(launch: Launch, timeout: float) -> Report:
    """Start conmon, wait until the runtime has created the container or failed to.

    The conmon of a failed creation is gone when this returns or soon after. EngineError when it says nothing within
    ``timeout`` seconds; it is killed then.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(launch, writing)
    except OSError as error:
        os.close(reading)
        raise EngineError(f"cannot start {launch.program}: {error.strerror}") from error
    finally:
        os.close(writing)
    reap_when_done(pid)
    try:
        async with asyncio.timeout(timeout):
            text = await _read_report(reading)
    except BaseException as error:
        _kill(pid)
        if isinstance(error, TimeoutError):
            raise EngineError(f"the container runtime did not answer within {timeout:g} seconds") from error
        raise
    try:
        report = json.loads(text)
        return Report(pid, int(report.get("pid", report.get("data", -1))), str(report.get("message", "")))
    except (ValueError, AttributeError):
        return Report(pid, -1, text.strip())


def _spawn(launch: Launch, writing: int) -> int:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        # conmon notes an out-of-memory kill by a file "oom" where it stands, and posix_spawn cannot say where.
        return os.posix_spawn(
            "/usr/bin/env",
            ["env", f"--chdir={launch.bundle}", *command_line(launch)],
            {"PATH": os.environ.get("PATH", os.defpath), "_OCI_SYNCPIPE": str(_SYNC_FD), "XDG_RUNTIME_DIR": "/run"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
                (os.POSIX_SPAWN_DUP2, writing, _SYNC_FD),
            ],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    finally:
        os.close(null)


async def _read_report(reading: int) -> str:
    loop = asyncio.get_running_loop()
    os.set_blocking(reading, False)
    done: asyncio.Future[None] = loop.create_future()
    received = bytearray()

    def ready() -> None:
        chunk = os.read(reading, 4096)
        received.extend(chunk)
        if (not chunk or b"\n" in chunk or len(received) > _REPORT_LIMIT) and not done.done():
            done.set_result(None)

    loop.add_reader(reading, ready)
    try:
        await done
    finally:
        loop.remove_reader(reading)
        os.close(reading)
    return received.decode("utf-8", "replace")


def reap_when_done(pid: int) -> None:
    """Take a child's exit status off the kernel when it has ended, from the running event loop."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    loop.add_reader(descriptor, ended)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
