"""A small host for an engine under test: a network namespace with an outside world, and a mount namespace.

Two engines, or an engine and whatever runs on the machine, so never meet: each has its own ``docker0``, firewall,
loopback and mounts. Process ids are the machine's own, and so are the files: a socket under ``directory`` is reached
from anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ADDRESS = "10.98.0.1"
"""The host's own address, on ``eth0``."""
OUTSIDE_ADDRESS = "10.98.0.2"
"""The rest of the world: another namespace at the other end of ``eth0``, and there is no way further."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Surroundings:
    """Namespaces that live until :meth:`close`, however often an engine in them is killed and started."""

    def __init__(self, name: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
        self.directory.chmod(0o755)
        self._holder = _hold("--net", "--mount", "--propagation", "private")
        self._world = _hold("--net")
        self._set_up()

    @property
    def holder(self) -> int:
        """The process whose namespaces these are."""
        return self._holder.pid

    def _set_up(self) -> None:
        # As on a booted host, where / is shared.
        self.run("mount", "--make-rshared", "/")
        commands = (
            "link set lo up",
            f"link add eth0 type veth peer name eth0 netns {self._world.pid}",
            f"addr add {ADDRESS}/24 dev eth0",
            "link set eth0 up",
        )
        for command in commands:
            self.run("ip", *command.split())
        for command in ("link set lo up", f"addr add {OUTSIDE_ADDRESS}/24 dev eth0", "link set eth0 up"):
            self.run_outside("ip", *command.split())

    def enter(self) -> list[str]:
        """The words to put before a command to have it run in here."""
        return ["nsenter", f"--target={self.holder}", "--net", "--mount"]

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in here and return what it said."""
        return _run([*self.enter(), *command], check, timeout)

    def run_outside(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the other side of ``eth0``."""
        return _run(["nsenter", f"--target={self._world.pid}", "--net", *command], check, timeout)

    def spawn(
        self,
        *command: str,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        outside: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a command in here (or outside) in a session of its own, its output appended to ``log``."""
        into = ["nsenter", f"--target={self._world.pid}", "--net"] if outside else self.enter()
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            return subprocess.Popen(
                [*into, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, *, outside: bool = False
    ) -> socket.socket:
        """A socket that belongs to this network, or to the outside, for use by the test's own process."""
        made: list[socket.socket | OSError] = []
        target = self._world.pid if outside else self.holder

        def make() -> None:
            try:
                with open(f"/proc/{target}/ns/net") as namespace:
                    if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.socket(family, kind))
            except OSError as error:
                made.append(error)

        # setns changes the calling thread alone, and this one ends right after.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def processes(self) -> list[int]:
        """All that run in here, the holder aside, with their descendants wherever those are."""
        ours = {os.readlink(f"/proc/{self.holder}/ns/{kind}") for kind in ("net", "mnt")}
        parents: dict[int, int] = {}
        found: set[int] = set()
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = _parent(int(entry.name))
                if {os.readlink(f"{entry.path}/ns/{kind}") for kind in ("net", "mnt")} & ours:
                    found.add(int(entry.name))
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
            grown = bool(more)
            found |= more
        return sorted(found - {self.holder, os.getpid()})

    def kill_processes(self, strays: Callable[[], Iterable[int]] = tuple) -> None:
        """SIGKILL all of :meth:`processes`, and ``strays`` that left these namespaces, until none is left."""
        deadline = time.monotonic() + 20
        while (left := {*self.processes(), *strays()}) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)

    def close(self, strays: Callable[[], Iterable[int]] = tuple) -> None:
        """End all that runs in here and remove the namespaces and the directory."""
        self.kill_processes(strays)
        for process in (self._holder, self._world):
            process.kill()
            process.wait()
        # With the last process of the mount namespace gone its mounts are gone too, so this deletes only our own files.
        _remove(self.directory)


def _hold(*namespaces: str) -> subprocess.Popen[bytes]:
    """A process that does nothing but keep new namespaces alive."""
    ready = subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", "echo ready; exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert ready.stdout is not None
    if ready.stdout.readline() != b"ready\n":
        raise RuntimeError(f"unshare {' '.join(namespaces)} failed: are you root?")
    ready.stdout.close()
    return ready


def _run(command: list[str], check: bool, timeout: float) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _remove(directory: Path) -> None:
    for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if mount.split()[1].startswith(f"{directory}/"):
            raise RuntimeError(f"{mount.split()[1]} is still mounted, and outside of the test's own namespace")
    # A mount namespace is torn down a moment after its last process; until then a directory in it can be busy.
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)
    shutil.rmtree(directory)
