"""A server in a container, and ways to ask it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable

from tests.support.daemon import Daemon

SERVE = "while true; do echo $(hostname) | nc -l -p 80; done"


def serve(daemon: Daemon, name: str, *arguments: str) -> str:
    """A container that tells its host name to who connects to port 80; its address."""
    daemon.run("-d", "--name", name, "--hostname", name, *arguments, "busybox", "sh", "-c", SERVE)
    networks = daemon.inspect(name)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def until(probe: Callable[[], str], wanted: str) -> str:
    """What the probe says once it says what is wanted, or last after five seconds: servers take a moment."""
    deadline = time.monotonic() + 5
    while (answer := probe()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def from_host(daemon: Daemon, address: str, port: int, *, outside: bool = False) -> Callable[[], str]:
    """What a connection from the host, or from outside of it, gets to read."""

    def probe() -> str:
        with contextlib.suppress(OSError), daemon.surroundings.socket(outside=outside) as client:
            client.settimeout(2)
            client.connect((address, port))
            return client.makefile().read().strip()
        return ""

    return probe


def from_container(daemon: Daemon, name: str, address: str, port: int = 80) -> Callable[[], str]:
    """What a connection out of a container gets to read."""
    return lambda: daemon.docker("exec", name, "nc", "-w", "2", address, str(port), check=False).out.strip()


def socket_inside(daemon: Daemon, name: str, kind: socket.SocketKind) -> socket.socket:
    """A socket in a container's network, for use by the test's own process."""
    pid = daemon.inspect(name)["State"]["Pid"]
    made: list[socket.socket] = []

    def make() -> None:
        with open(f"/proc/{pid}/ns/net") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made.append(socket.socket(socket.AF_INET, kind))

    # The namespace is the thread's, and this one ends right after.
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]
