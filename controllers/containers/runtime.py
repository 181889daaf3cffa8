"""The OCI runtime: containers created, let go, stopped and taken away.

What costs milliseconds in the runtime's own commands and is a few system calls for us, we do ourselves: the start
(reading the FIFO that the created process waits at), signals, the freezer, the removal. Everything else, and whatever
is out of the ordinary, is the runtime's. All steps may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from controllers.containers import attach, cgroups, conmon, failures, freezer, limits, process
from controllers.containers.waiting import readable
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import EngineError, InvalidParameterError, NotFoundError
from store.objects.containers import Container, ContainerStatus

CREATE_TIMEOUT = 120.0
START_TIMEOUT = 30.0
COMMAND_TIMEOUT = 60.0
DEATH_TIMEOUT = 10.0


@dataclass(frozen=True)
class RuntimeInfo:
    """Which runtime this is, from its ``--version``."""

    name: str
    version: str
    commit: str


@dataclass(frozen=True)
class Started:
    """A created container's first process; ``pid_start_time`` in clock ticks since boot."""

    pid: int
    pid_start_time: int
    conmon_pid: int


class Runtime:
    """One OCI runtime with conmon, keeping its state under ``layout``."""

    def __init__(self, layout: Layout, *, program: str = "runc", conmon_program: str = "conmon") -> None:
        self._layout = layout
        self._name = program
        self._conmon_name = conmon_program
        self._info: RuntimeInfo | None = None
        self.attachments = attach.Attachments(layout)

    @property
    def program(self) -> str:
        """The runtime's path. EngineError where it is not installed."""
        return _find(self._name)

    @property
    def arguments(self) -> list[str]:
        """The runtime's global options that lead it to our containers."""
        return ["--root", str(self._layout.runtime_state)]

    async def probe(self) -> RuntimeInfo:
        """Ask the runtime, once, what it is; EngineError when it does not run or conmon is missing."""
        if self._info is not None:
            return self._info
        _find(self._conmon_name)
        code, output, error = await self._run(self.program, "--version")
        if code:
            raise EngineError(f"{self._name} does not work: {error or output}")
        name, version = re.match(r"(\S+) version (\S+)", output.strip() + " version unknown").groups()  # type: ignore[union-attr]
        commit = re.search(r"^commit: (\S+)", output, re.MULTILINE)
        self._info = RuntimeInfo(name, version, commit[1] if commit else "")
        return self._info

    async def create(self, container: Container, spec: dict[str, Any]) -> Started:
        """Create a container that waits to be let go by ``start``.

        What an earlier run or a crash has left under the same uid is removed first. EngineError, with the runtime's
        reason in dockerd's words, when it cannot be created; ``failures.exit_code`` knows the exit code for it.
        """
        uid = container.uid
        bundle, log = self._layout.bundle(uid), self._layout.log(uid)
        if bundle.exists() or (self._layout.runtime_state / uid).exists() or (self._layout.exits / uid).exists():
            await self.delete(uid)
        for directory in (bundle, log.parent, self._layout.exits, self._layout.runtime_state):
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        (bundle / "config.json").write_bytes(msgspec.json.encode(spec))
        (bundle / "identity").write_bytes(msgspec.json.encode({"cgroup": spec["linux"]["cgroupsPath"]}))
        logged = _end_torn_line(log)
        crashpoint("runtime.create.bundle")
        priming = asyncio.ensure_future(asyncio.to_thread(cgroups.prime))
        try:
            report = await conmon.start(self._launch(container, bundle, log), CREATE_TIMEOUT)
        except BaseException:
            await asyncio.shield(self.delete(uid))
            raise
        finally:
            await asyncio.shield(priming)
        if report.pid <= 0:
            reason = failures.last_words(bundle / "runtime.log", report.message)
            # The runtime's complaint goes to the stderr that conmon logs; it is not the container's output.
            if log.exists():
                os.truncate(log, logged)
            await self.delete(uid)
            raise failures.starting(container.spec.path, reason)
        crashpoint("runtime.create.created")
        started = Started(report.pid, process.start_time(report.pid), report.conmon_pid)
        identity = {"cgroup": spec["linux"]["cgroupsPath"], **asdict(started)}
        (bundle / "identity").write_bytes(msgspec.json.encode(identity))
        return started

    def _launch(self, container: Container, bundle: Path, log: Path) -> conmon.Launch:
        config, host = container.spec.config, container.spec.host
        return conmon.Launch(
            program=_find(self._conmon_name),
            uid=container.uid,
            bundle=bundle,
            log=None if host.log_config.type == "none" else log,
            exits=self._layout.exits,
            runtime=self.program,
            runtime_arguments=[*self.arguments, "--log", str(bundle / "runtime.log"), "--log-format", "json"],
            terminal=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.tty or not config.stdin_once,
        )

    async def start(self, uid: str) -> None:
        """Let a created container's process run; those who wait to attach are connected first.

        EngineError when the process is gone or does not react.
        """
        await self.attachments.connect_waiting(uid)
        pid = self._identity(uid).get("pid", 0)
        fifo = self._layout.runtime_state / uid / "exec.fifo"
        if self._info is None:
            await self.probe()
        if self._info and self._info.name == "runc" and fifo.exists():
            await self._release(uid, fifo, pid)
        else:
            await self._command("start", uid)

    async def _release(self, uid: str, fifo: Path, pid: int) -> None:
        """What ``runc start`` does: the created process waits until somebody opens the FIFO for reading.

        It closes its end by executing the container's program. Before that a signal would meet the runtime's own.
        """
        loop = asyncio.get_running_loop()
        try:
            process_fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise EngineError(f"cannot start a container that has stopped: {uid}") from error
        fifo_fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        done: asyncio.Future[None] = loop.create_future()

        def ready() -> None:
            if not done.done():
                done.set_result(None)

        loop.add_reader(fifo_fd, ready)
        loop.add_reader(process_fd, ready)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await done
            if not os.read(fifo_fd, 1):
                raise EngineError(f"cannot start a container that has stopped: {uid}")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fifo)
            loop.remove_reader(fifo_fd)
            async with asyncio.timeout(START_TIMEOUT):
                await readable(fifo_fd)
        except TimeoutError as error:
            raise EngineError("the container's process did not start in time") from error
        except BlockingIOError as error:
            raise EngineError(f"cannot start a container that has stopped: {uid}") from error
        finally:
            loop.remove_reader(fifo_fd)
            loop.remove_reader(process_fd)
            os.close(fifo_fd)
            os.close(process_fd)

    def find(self, uid: str) -> Started | None:
        """The container's first process if it is alive, from what is on disk: for adoption after a crash."""
        identity = self._identity(uid)
        pid, started = identity.get("pid", 0), identity.get("pid_start_time", 0)
        if process.same(pid, started):
            return Started(pid, started, identity.get("conmon_pid", 0))
        return None

    def created(self, uid: str) -> bool:
        """Whether the container has been created and not yet let go."""
        return (self._layout.runtime_state / uid / "exec.fifo").exists()

    def cgroup(self, uid: str) -> str:
        """The cgroup of a container that has a bundle; empty without one."""
        return str(self._identity(uid).get("cgroup", ""))

    def _identity(self, uid: str) -> dict[str, Any]:
        bundle = self._layout.bundle(uid)
        try:
            identity: dict[str, Any] = json.loads((bundle / "identity").read_bytes())
        except (OSError, ValueError):
            return {}
        if not identity.get("pid"):
            identity.update(self._identify(bundle, identity.get("cgroup", "")))
        return identity

    def _identify(self, bundle: Path, cgroup: str) -> dict[str, Any]:
        """Between conmon's pid file and our own note there may have been a crash: then the cgroup is the proof."""
        try:
            pid = int((bundle / "pid").read_text())
            started = process.start_time(pid)
            member = Path(f"/proc/{pid}/cgroup").read_text()
        except (OSError, ValueError):
            return {}
        if not cgroup or not any(line.endswith(cgroup) for line in member.splitlines()):
            return {}
        return {"pid": pid, "pid_start_time": started}

    async def kill(self, uid: str, signal_number: int, *, everything: bool = False) -> None:
        """Send a signal to the first process, or to all processes. NotFoundError when there is none alive."""
        found = self.find(uid)
        reached = found is not None and process.send(found.pid, found.pid_start_time, signal_number)
        if everything:
            reached = self._signal_all(uid, signal_number) or reached
        if not reached:
            raise NotFoundError(f"No such process in container {uid}")

    def _signal_all(self, uid: str, signal_number: int) -> bool:
        cgroup = self.cgroup(uid)
        numbers = cgroups.processes(cgroup) if cgroup else []
        for pid in numbers:
            try:
                os.kill(pid, signal_number)
            except ProcessLookupError:
                continue
        return bool(numbers)

    async def pause(self, uid: str) -> None:
        """Freeze all processes of a container; EngineError when they cannot be."""
        await asyncio.to_thread(freezer.freeze, self.cgroup(uid))

    async def resume(self, uid: str) -> None:
        """Let a frozen container run on."""
        await asyncio.to_thread(freezer.thaw, self.cgroup(uid))

    def paused(self, uid: str) -> bool:
        """Whether a container is frozen."""
        cgroup = self.cgroup(uid)
        return bool(cgroup) and freezer.is_frozen(cgroup)

    async def update(self, container: Container) -> None:
        """Give a running container the resource limits of its spec.

        InvalidParameterError with the reason of a runtime or kernel that does not take them.
        """
        resources = msgspec.json.encode(limits.resources(container.spec.host))
        command = (*self.arguments, "update", "--resources", "-", container.uid)
        code, output, error = await self._run(self.program, *command, stdin=resources)
        if code:
            raise InvalidParameterError(self._refusal(code, output, error))

    async def delete(self, uid: str) -> None:
        """Take away everything that ``create`` made: processes, cgroups, the runtime's state, bundle and exit file.

        Idempotent. EngineError when a process survives SIGKILL.
        """
        identity = self._identity(uid)
        cgroup = str(identity.get("cgroup", ""))
        if cgroup and (found := self.find(uid)):
            if freezer.is_frozen(cgroup):
                await self.resume(uid)
            process.send(found.pid, found.pid_start_time, signal.SIGKILL)
            if not await process.wait_gone(found.pid, found.pid_start_time, DEATH_TIMEOUT):
                raise EngineError(f"process {found.pid} of container {uid} does not end")
        crashpoint("runtime.delete.ended")
        if not cgroup or not await self._remove_cgroup(uid, cgroup):
            await self._delete_by_runtime(uid)
        crashpoint("runtime.delete.ungrouped")
        await asyncio.to_thread(self._remove_files, uid)

    async def _remove_cgroup(self, uid: str, cgroup: str) -> bool:
        for _ in range(40):
            if cgroups.remove(cgroup):
                return True
            # Leftover processes (those of a container in the host's pid namespace) die first.
            self._signal_all(uid, signal.SIGKILL)
            await asyncio.sleep(0.005)
        return False

    async def _delete_by_runtime(self, uid: str) -> None:
        if (self._layout.runtime_state / uid).exists():
            await self._command("delete", "--force", uid)

    def _remove_files(self, uid: str) -> None:
        shutil.rmtree(self._layout.runtime_state / uid, ignore_errors=True)
        (self._layout.exits / uid).unlink(missing_ok=True)
        crashpoint("runtime.delete.stateless")
        shutil.rmtree(self._layout.bundle(uid), ignore_errors=True)

    def alive(self, status: ContainerStatus) -> bool:
        """Whether the process that a status names is the one that runs."""
        return process.of_this_boot(status.boot_id) and process.same(status.pid, status.pid_start_time)

    async def _command(self, *arguments: str, stdin: bytes = b"") -> str:
        code, output, error = await self._run(self.program, *self.arguments, *arguments, stdin=stdin)
        if code:
            raise EngineError(self._refusal(code, output, error))
        return output

    def _refusal(self, code: int, output: str, error: str) -> str:
        return f"{self._name} did not terminate successfully: exit status {code}: {error or output}"

    async def _run(self, program: str, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        child = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                output, error = await child.communicate(stdin or None)
        except BaseException as reason:
            if child.returncode is None:
                child.kill()
            if isinstance(reason, TimeoutError):
                raise EngineError(f"{program} {arguments[0]} took longer than {COMMAND_TIMEOUT:g} seconds") from reason
            raise
        return child.returncode or 0, output.decode("utf-8", "replace"), error.decode("utf-8", "replace").strip()


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"{name} is not installed (not found on PATH)")
    return path


def _end_torn_line(log: Path) -> int:
    """The size of a log, whose last line a power cut may have torn: then it is ended, or the next one would be lost."""
    try:
        with open(log, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                size += file.write(b"\n")
            return size
    except FileNotFoundError:
        return 0
