"""Names on user-defined networks: one dnsmasq for each, on the bridge's address.

It outlives the daemon, so names resolve while the daemon is down. A restarted daemon knows it again by the pid file
that dnsmasq writes itself, if the process there was started with this very pid file. Its hosts file is written from
the leases and re-read on SIGHUP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from store.crashpoints import crashpoint

_log = logging.getLogger(__name__)
_PROGRAM = "/usr/sbin/dnsmasq"
_UNPRIVILEGED = "nobody"
_PATIENCE = 2


@dataclass(frozen=True)
class Server:
    """What a network's name server should be: where it listens, whom it asks for other names (nobody when empty and
    ``forward`` is off)."""

    address: str
    forward: bool = True


def hosts_text(entries: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Addresses with their names, in hosts(5) format; the first name is the one that the address resolves to."""
    return "".join(f"{address} {' '.join(names)}\n" for address, names in sorted(entries) if names)


class NameServers:
    """The name servers of this engine, one directory each under ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._spawned: dict[str, int] = {}

    def write(self, network: str, text: str) -> None:
        """Set the names of a network and have its server read them. Blocking, well under a millisecond."""
        directory = self._root / network
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        hosts = directory / "hosts"
        temporary = directory / "hosts.new"
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(hosts)
        # Before it has written its pid file it has not read the names either, and the signal could still kill it.
        if (directory / "pid").exists() and (pid := self._pid(network)) is not None:
            _signal(pid, signal.SIGHUP)

    def ensure(self, network: str, server: Server) -> bool:
        """Have the server run as it should; whether it did not. Blocking, some milliseconds when it must be started.

        Raises OSError when dnsmasq cannot be started.
        """
        directory = self._root / network
        wanted = f"{server.address} {server.forward}\n"
        settings = directory / "settings"
        pid = self._pid(network)
        if pid is not None and settings.exists() and settings.read_text() == wanted:
            return False
        if pid is not None:
            _end(pid)
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        hosts = directory / "hosts"
        if not hosts.exists():
            hosts.touch(0o644)
        settings.write_text(wanted)
        (directory / "pid").unlink(missing_ok=True)
        arguments = _command(server, hosts, directory / "pid")
        self._spawned[network] = os.posix_spawn(
            _PROGRAM,
            arguments,
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(directory / "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            ],
            setsid=True,
            setsigdef=range(1, 32),
            setsigmask=(),
        )
        crashpoint("network.names.started")
        return True

    def remove(self, network: str) -> None:
        """Stop the server and forget its files; neither there is fine."""
        directory = self._root / network
        if (pid := self._pid(network)) is not None:
            _end(pid)
        self._spawned.pop(network, None)
        for name in ("settings", "hosts", "hosts.new", "log", "pid"):
            (directory / name).unlink(missing_ok=True)
        try:
            directory.rmdir()
        except FileNotFoundError:
            return

    def last_words(self, network: str) -> str:
        """What a network's server said last: why it ended, if it has."""
        try:
            lines = (self._root / network / "log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1].strip() if lines else ""

    def networks(self) -> list[str]:
        """The networks that there are files of."""
        try:
            return [entry.name for entry in self._root.iterdir()]
        except FileNotFoundError:
            return []

    async def ended(self, network: str) -> None:
        """Wait until the network's server has ended; at once when none runs."""
        pid = self._pid(network)
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        _reap(pid)

    def _pid(self, network: str) -> int | None:
        pid_file = self._root / network / "pid"
        try:
            pid = int(pid_file.read_text())
        except (OSError, ValueError):
            pid = self._spawned.get(network, 0)
        # A process just spawned may have no command line yet: the kernel wakes its parent before it has set it up.
        spawned = pid == self._spawned.get(network) and _child_runs(pid)
        return pid if spawned or (pid and f"--pid-file={pid_file}" in _arguments(pid)) else None


def _command(server: Server, hosts: Path, pid_file: Path) -> list[str]:
    arguments = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        f"--pid-file={pid_file}",
        "--log-facility=-",
        f"--user={_user(hosts)}",
        "--bind-interfaces",
        f"--listen-address={server.address}",
        "--no-hosts",
        f"--addn-hosts={hosts}",
        "--domain-needed",
        "--cache-size=1000",
        "--no-negcache",
    ]
    arguments.append("--resolv-file=/etc/resolv.conf" if server.forward else "--no-resolv")
    return arguments


def _user(hosts: Path) -> str:
    """The unprivileged user, if it can read the file again when told to; else there is no way but root."""
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in hosts.parents):
        return _UNPRIVILEGED
    _log.warning("%s is closed to other users: the name server has to run as root", hosts.parent)
    return "root"


def _child_runs(pid: int) -> bool:
    """Whether a process is a child of ours that has not ended; its number is nobody else's until it is waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _arguments(pid: int) -> list[str]:
    """The command line of a process; empty for one that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _end(pid: int) -> None:
    """Have a server end and leave nothing of itself in the list of processes. Blocking for some milliseconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal(pid, number)
            if waiting.poll(_PATIENCE * 1000):
                break
    finally:
        os.close(descriptor)
    _reap(pid)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        # Another daemon's child, from before a restart.
        return
