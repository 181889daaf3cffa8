"""A server in a container, and ways to ask it."""

from __future__ import annotations

import contextlib
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
