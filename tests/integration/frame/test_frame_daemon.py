"""The daemon as a process: refusals, readiness, reload, drain."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import READY_WITHIN, Daemon
from tests.support.engine import Engine
from tests.support.peer import Peer
from tests.support.tools import environment

pytestmark = pytest.mark.host


def until(true: Callable[[], object], what: str) -> None:
    """Waits, generously, for something that comes by itself."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def refused(engine: Engine, *flags: str, words: str, code: int = 1) -> None:
    """The daemon ends with one line that has these words, having made nothing."""
    before = sorted(engine.directory.iterdir())
    logged = len(engine.log())
    engine.launch(*flags)
    assert engine.wait_ended() == code, engine.log()
    line = engine.log()[logged:]
    assert line.startswith("wharfinger: ")
    assert line.count("\n") == 1, line
    assert words in line
    assert sorted(engine.directory.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "words", "code"),
    [
        (("--runtime=no-such-runtime",), "no-such-runtime is not installed", 1),
        (("--scheme=http", "--host=0.0.0.0"), "--allow-remote-http", 1),
        (("--scheme=https",), "--tls-certificate and --tls-key are needed", 1),
        (("--socket-path=/tmp/" + "x" * 120,), "107 bytes", 1),
        (("--socket-group=no-such-group",), "there is no such group", 1),
        (("--metrics-address=nonsense:x",), "--metrics-address", 1),
        (("--database-url=mysql://x",), "unsupported database", 1),
        (("--bip=10.98.0.7/24",), "--bip 10.98.0.7/24: eth0 has that network already", 1),
        (("--bip=10.98.0.0/16",), "that is a network's address", 1),
        (("--registry-mirror=not-a-url",), "'not-a-url': give a URL", 2),
        (("--bogus",), "--bogus", 2),
        (("--port=x",), "--port: 'x' is not a number", 2),
        (("--config-file=/no/such/file",), "does not exist", 2),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_before_anything_is_made(
    stopped_engine: Engine, flags: tuple[str, ...], words: str, code: int
) -> None:
    refused(stopped_engine, *flags, words=words, code=code)


def test_a_database_that_does_not_answer_is_told_in_a_line(stopped_engine: Engine) -> None:
    stopped_engine.launch("--database-url=postgresql://127.0.0.1:1/x")
    assert stopped_engine.wait_ended() == 1
    assert stopped_engine.log().count("\n") == 1
    assert "Connection refused" in stopped_engine.log()


def test_who_is_not_root_is_told_so(stopped_engine: Engine) -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *stopped_engine.command()],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 1
    assert done.stderr == "wharfinger: the engine must run as root: try it with sudo\n"


def test_a_second_daemon_on_the_data_root_is_refused(private_engine: Engine) -> None:
    done = private_engine.surroundings.run(
        *private_engine.command(),
        f"--socket-path={private_engine.directory / 'second'}",
        "--metrics-address=",
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("wharfinger: another daemon runs on --data-root")
    assert done.stderr.count("\n") == 1
    assert private_engine.request("GET", "/_ping").status == 200


def test_a_second_daemon_on_the_socket_is_refused_and_the_first_lives(private_engine: Engine) -> None:
    done = private_engine.surroundings.run(
        *private_engine.command(),
        f"--data-root={private_engine.directory / 'second'}",
        "--metrics-address=",
        check=False,
    )
    assert done.returncode == 1
    assert "is in use by another server" in done.stderr
    assert not (private_engine.directory / "second").exists()
    assert private_engine.request("GET", "/_ping").status == 200


def test_a_database_from_the_future_is_refused(stopped_engine: Engine) -> None:
    stopped_engine.start()
    stopped_engine.stop()
    with sqlite3.connect(stopped_engine.layout.database) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    logged = len(stopped_engine.log())
    stopped_engine.launch()
    assert stopped_engine.wait_ended() == 1
    assert "the database has schema 9999, newer than" in stopped_engine.log()[logged:]
    assert "Traceback" not in stopped_engine.log()


def test_a_check_tells_and_changes_nothing(stopped_engine: Engine) -> None:
    command = [word if word != "serve" else "check" for word in stopped_engine.command()]
    before = sorted(stopped_engine.directory.iterdir())
    assert "will do" in stopped_engine.surroundings.run(*command).stdout
    done = stopped_engine.surroundings.run(*command, "--runtime=none-such", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert sorted(stopped_engine.directory.iterdir()) == before


def test_migrations_go_up_and_down_by_command(stopped_engine: Engine) -> None:
    command = [word if word != "serve" else "migrate" for word in stopped_engine.command()]
    assert "schema none -> 0001" in stopped_engine.surroundings.run(*command, "--to=0001").stdout
    assert "schema 0001 -> none" in stopped_engine.surroundings.run(*command, "--to=base").stdout
    stopped_engine.start()
    done = stopped_engine.surroundings.run(*command, check=False)
    assert "another daemon runs on" in done.stderr


def test_a_termination_drains_and_leaves_containers_running(private_engine: Engine) -> None:
    container = private_engine.run("-d", "busybox", "sleep", "600")
    pid = private_engine.inspect(container)["State"]["Pid"]
    assert private_engine.stop() == 0
    assert not private_engine.socket_path.exists()
    assert not (private_engine.directory / "wharfinger.pid").exists()
    os.kill(pid, 0)
    private_engine.start()
    assert private_engine.inspect(container)["State"]["Pid"] == pid


def test_a_termination_ends_streams_and_waits_for_nobody(private_engine: Engine) -> None:
    with private_engine.surroundings.socket(socket.AF_UNIX) as events:
        events.connect(str(private_engine.socket_path))
        events.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in events.recv(4096)
        assert private_engine.stop() == 0


def test_a_hangup_reads_the_settings_again(stopped_engine: Engine) -> None:
    file = stopped_engine.directory / "daemon.json"
    file.write_text('{"log-level": "info"}')
    stopped_engine.start(f"--config-file={file}")
    file.write_text('{"log-level": "debug", "labels": ["a=b"], "registry-mirrors": ["http://mirror:1"]}')
    os.kill(stopped_engine.pid, signal.SIGHUP)
    until(lambda: "settings read again" in stopped_engine.log(), "reloaded")
    info = stopped_engine.request("GET", "/info").json()
    assert (info["Labels"], info["RegistryConfig"]["Mirrors"]) == (["a=b"], ["http://mirror:1/"])
    (event,) = reloads(stopped_engine)
    assert event["Actor"]["ID"] == info["ID"]
    assert event["Actor"]["Attributes"]["labels"] == '["a=b"]'
    stopped_engine.request("GET", "/version")
    until(lambda: "GET /version 200" in stopped_engine.log(), "logged")
    file.write_text("{")
    os.kill(stopped_engine.pid, signal.SIGHUP)
    until(lambda: "settings stay as they are" in stopped_engine.log(), "refused")
    assert stopped_engine.request("GET", "/_ping").status == 200


def reloads(daemon: Daemon) -> list[Any]:
    """The events that told of reloads so far."""
    until(lambda: b'"reload"' in daemon_events(daemon), "told")
    return [json.loads(line) for line in daemon_events(daemon).splitlines()]


def daemon_events(daemon: Daemon) -> bytes:
    filters = "%7B%22type%22%3A%5B%22daemon%22%5D%7D"
    return daemon.request("GET", f"/events?since=1&until={time.time():.9f}&filters={filters}").body


def test_a_reload_is_told_as_dockerd_tells_it(engine: Engine, peer: Peer) -> None:
    told = []
    for daemon in (engine, peer):
        os.kill(daemon.pid, signal.SIGHUP)
        told.append(reloads(daemon)[-1])
    ours, theirs = told
    assert set(ours) == set(theirs)
    shown, expected = ours["Actor"]["Attributes"], theirs["Actor"]["Attributes"]
    assert set(shown) <= set(expected)
    same = set(shown) - {"runtimes", "live-restore", "registry-mirrors", "insecure-registries"}
    assert {name: shown[name] for name in same} == {name: expected[name] for name in same}


def test_readiness_is_told_when_the_socket_answers(stopped_engine: Engine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(stopped_engine.directory / "notify"))
        systemd.settimeout(READY_WITHIN)
        stopped_engine.launch(NOTIFY_SOCKET=str(stopped_engine.directory / "notify"))
        assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=Listening on unix://")
        assert stopped_engine.request("GET", "/_ping").status == 200
        stopped_engine.stop()
        assert systemd.recv(4096) == b"STOPPING=1"


def test_sockets_of_systemd_take_the_place_of_our_own(stopped_engine: Engine) -> None:
    path = stopped_engine.directory / "activated"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        # systemd names the very process that it starts: here it is what the shell becomes.
        start = ["bash", "-c", 'dup=$1; shift; eval "exec 3<&$dup"; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh"]
        process = subprocess.Popen(
            [*stopped_engine.surroundings.enter(), *start, str(held.fileno()), *stopped_engine.command()],
            pass_fds=[held.fileno()],
            env=environment(),
            stderr=subprocess.DEVNULL,
        )
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(READY_WITHIN)
                # The socket takes connections before the daemon is there: that is what activation is for.
                asking.connect(str(path))
                asking.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert b"200 OK" in asking.recv(4096)
            assert not stopped_engine.socket_path.exists()
            process.terminate()
            assert process.wait(30) == 0
            assert path.is_socket()
        finally:
            process.kill()
            process.wait()


def test_the_library_and_the_command_have_the_same_version() -> None:
    from importlib.metadata import version

    from apiserver.release import VERSION

    assert version("wharfinger") == VERSION


def test_a_shells_small_limit_of_open_files_is_raised(stopped_engine: Engine) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        stopped_engine.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(stopped_engine.pid, resource.RLIMIT_NOFILE)[0] == min(65536, hard)


def test_a_socket_belongs_to_its_group_alone(stopped_engine: Engine) -> None:
    stopped_engine.start("--socket-group=1234")
    status = stopped_engine.socket_path.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o660, 0, 1234)


def test_a_stale_socket_is_replaced_and_a_file_is_not(stopped_engine: Engine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(stopped_engine.socket_path))
    stopped_engine.start()
    stopped_engine.stop()
    file = tmp_path / "precious"
    file.write_text("mine")
    stopped_engine.launch(f"--socket-path={file}")
    assert stopped_engine.wait_ended() == 1
    assert file.read_text() == "mine"
