"""How long a stop waits, and who waits for a start: the same on our engine and on dockerd."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.integration.containers.words import create, eventually, post, run, state
from tests.support.daemon import Daemon

OBEDIENT = ("sh", "-c", "trap 'exit 7' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done")
CENTURIES = 9_000_000_000


def ready(daemon: Daemon) -> str:
    """A running container that ends at SIGUSR1 and takes no notice of SIGTERM."""
    container = run(daemon, *OBEDIENT)
    eventually(lambda: "ready" in daemon.docker("logs", container).out)
    return container


def ask(daemon: Daemon, path: str) -> tuple[threading.Thread, list[int]]:
    """A POST that may take its time, and the statuses of its answers."""
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(daemon.request("POST", path).status))
    asking.start()
    return asking, statuses


def stopping(daemon: Daemon, container: str, since: float) -> bool:
    """Whether the stop signal has been sent."""
    path = f"/events?since={since:.9f}&until={time.time():.9f}"
    return f'"kill","Actor":{{"ID":"{container}"' in daemon.request("GET", path).body.decode()


@pytest.mark.parametrize("grace", [-1, CENTURIES])
def test_a_stop_without_end_waits_for_the_process(daemon: Daemon, grace: int) -> None:
    since = time.time()
    container = ready(daemon)
    asking, statuses = ask(daemon, f"/containers/{container}/stop?t={grace}")
    eventually(lambda: stopping(daemon, container, since))
    asking.join(1)
    assert asking.is_alive(), statuses
    post(daemon, f"/containers/{container}/kill?signal=USR1")
    asking.join(30)
    assert statuses == [204]
    assert state(daemon, container)["ExitCode"] == 7


def test_a_restart_without_end_waits_for_the_process(daemon: Daemon) -> None:
    since = time.time()
    container = ready(daemon)
    before = state(daemon, container)["Pid"]
    asking, statuses = ask(daemon, f"/containers/{container}/restart?t=-1")
    eventually(lambda: stopping(daemon, container, since))
    asking.join(1)
    assert asking.is_alive(), statuses
    assert state(daemon, container)["Pid"] == before
    post(daemon, f"/containers/{container}/kill?signal=USR1")
    asking.join(30)
    assert statuses == [204]
    after = state(daemon, container)
    assert after["Running"]
    assert after["Pid"] != before


@pytest.mark.parametrize("then", ["kill", "stop?t=0"])
def test_a_stop_without_end_is_cut_short_by_another_request(daemon: Daemon, then: str) -> None:
    since = time.time()
    container = ready(daemon)
    asking, statuses = ask(daemon, f"/containers/{container}/stop?t=-1")
    eventually(lambda: stopping(daemon, container, since))
    post(daemon, f"/containers/{container}/{then}")
    asking.join(30)
    assert statuses == [204]
    assert state(daemon, container)["ExitCode"] == 137


@pytest.mark.parametrize("grace", ["99999999999999999999", "x"])
def test_a_grace_that_is_no_number_is_refused(daemon: Daemon, grace: str) -> None:
    container = run(daemon, "sleep", "60")
    answer = daemon.request("POST", f"/containers/{container}/stop?t={grace}")
    # A client's mistake: dockerd calls it its own.
    assert answer.status == (500 if daemon.name == "peer" else 400)
    assert answer.json()["message"].startswith(f'strconv.Atoi: parsing "{grace}"')
    assert state(daemon, container)["Running"]


def attach(daemon: Daemon, container: str) -> socket.socket:
    """A connection attached to a container, its upgrade answered."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(daemon.socket_path))
    head = f"POST /containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n"
    connection.sendall(f"{head}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(4096)
        assert piece, received
        received += piece
    assert received.startswith(b"HTTP/1.1 101 "), received
    return connection


def test_who_attached_before_a_start_that_fails_is_let_go(daemon: Daemon) -> None:
    container = create(daemon, "/nonexistent")
    with attach(daemon, container) as connection:
        post(daemon, f"/containers/{container}/start", 400)
        assert connection.recv(1) == b""
