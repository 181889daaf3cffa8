"""``--link`` on the default bridge: names, addresses and variables, the same on our engine and on dockerd."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.peer import Peer

TARGET = "-e PASS=secret -e TWO=a=b -e HOME=/h -e EMPTY= --hostname dbhost --expose 53/udp --expose 5432 -p 80"


@pytest.fixture
def db(daemon: Daemon) -> str:
    """A container to link to; its address."""
    daemon.run("-d", "--name", "db", *TARGET.split(), "busybox", "sleep", "1000")
    return address(daemon, "db")


def address(daemon: Daemon, name: str) -> str:
    return str(daemon.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])


def refused(daemon: Daemon, *arguments: str) -> str:
    """What the daemon says to a command that fails."""
    output = daemon.docker(*arguments, check=False)
    assert output.code != 0
    line = next(line for line in output.err.splitlines() if not line.startswith("time="))
    return line.removeprefix("docker: ").removeprefix("Error response from daemon: ").rstrip(".")


def test_the_variables_tell_of_ports_and_environment(daemon: Daemon, db: str) -> None:
    shown = daemon.run("--rm", "--name", "web", "--link", "db:the-db", "busybox", "env").splitlines()
    assert sorted(line for line in shown if line.startswith("THE_DB_")) == sorted(
        [
            f"THE_DB_PORT=udp://{db}:53",
            f"THE_DB_PORT_53_UDP=udp://{db}:53",
            f"THE_DB_PORT_53_UDP_ADDR={db}",
            "THE_DB_PORT_53_UDP_PORT=53",
            "THE_DB_PORT_53_UDP_PROTO=udp",
            f"THE_DB_PORT_80_TCP=tcp://{db}:80",
            f"THE_DB_PORT_80_TCP_ADDR={db}",
            "THE_DB_PORT_80_TCP_PORT=80",
            "THE_DB_PORT_80_TCP_PROTO=tcp",
            f"THE_DB_PORT_5432_TCP=tcp://{db}:5432",
            f"THE_DB_PORT_5432_TCP_ADDR={db}",
            "THE_DB_PORT_5432_TCP_PORT=5432",
            "THE_DB_PORT_5432_TCP_PROTO=tcp",
            "THE_DB_NAME=/web/the-db",
            "THE_DB_ENV_PASS=secret",
            "THE_DB_ENV_TWO=a=b",
            "THE_DB_ENV_EMPTY=",
        ]
    )


@pytest.mark.parametrize(
    "exposed",
    [
        "10-13 11/udp 20",
        "10 11",
        "10-12",
        "10/udp 10 11 12 14-16",
        "7/sctp 8 9 30-32/udp",
        "1 2 3 5 6 7 9",
        "20 20/udp",
    ],
)
def test_ports_that_follow_each_other_are_told_as_a_run(engine: Engine, peer: Peer, exposed: str) -> None:
    flags = [flag for port in exposed.split() for flag in ("--expose", port)]
    told = []
    for daemon in (engine, peer):
        daemon.run("-d", "--name", "many", *flags, "busybox", "sleep", "1000")
        shown = daemon.run("--rm", "--name", "web", "--link", "many:m-1", "busybox", "env")
        told.append(sorted(re.findall(r"^M_1.*", shown.replace(address(daemon, "many"), "IP"), re.MULTILINE)))
    assert told[0] == told[1]
    assert told[0]


def test_the_containers_own_variables_win_and_an_exec_has_them_all(daemon: Daemon, db: str) -> None:
    daemon.run("-d", "--name", "web", "--link", "db:x", "-e", "X_ENV_PASS=mine", "busybox", "sleep", "1000")
    for shown in (daemon.docker("exec", "web", "env").out, daemon.run("--rm", "--link", "db:x", "busybox", "env")):
        assert f"X_PORT=udp://{db}:53" in shown
    assert "X_ENV_PASS=mine\n" in daemon.docker("exec", "web", "env").out


def test_the_hosts_file_names_it_and_follows_its_address(daemon: Daemon, db: str) -> None:
    daemon.run(
        "-d", "--name", "web", "--link", "db", "--link", "db:x", "--add-host", "h:1.2.3.4", "busybox", "sleep", "99"
    )
    lines = daemon.docker("exec", "web", "cat", "/etc/hosts").out.splitlines()
    assert lines[6:9] == ["1.2.3.4\th", *sorted([f"{db}\tdb dbhost", f"{db}\tx dbhost db"], key=lines.index)]
    daemon.docker("exec", "web", "sh", "-c", "echo '9.9.9.9 my own' >> /etc/hosts")
    daemon.docker("stop", "-t", "0", "db")
    daemon.run("-d", "--name", "thief", "busybox", "sleep", "1000")
    daemon.docker("start", "db")
    moved = address(daemon, "db")
    assert moved != db
    deadline = time.monotonic() + 20
    expected = [line.replace(db, moved) for line in lines[6:9]]
    while (now := daemon.docker("exec", "web", "cat", "/etc/hosts").out.splitlines())[6:9] != expected:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert now[-1] == "9.9.9.9 my own"
    assert f"X_PORT=udp://{moved}:53\n" in daemon.docker("exec", "web", "env").out


def test_a_link_is_a_name(daemon: Daemon, db: str) -> None:
    del db
    daemon.run("-d", "--name", "web", "--link", "db:x", "--link", "db:y", "busybox", "sleep", "1000")
    assert daemon.inspect("web/x")["Name"] == "/db"
    assert set(
        daemon.docker("ps", "--no-trunc", "--filter", "name=db", "--format", "{{.Names}}").out.strip().split(",")
    ) == {
        "db",
        "web/x",
        "web/y",
    }
    assert sorted(daemon.inspect("web")["HostConfig"]["Links"]) == ["/db:/web/x", "/db:/web/y"]
    daemon.docker("rename", "db", "sql")
    assert sorted(daemon.inspect("web")["HostConfig"]["Links"]) == ["/sql:/web/x", "/sql:/web/y"]
    assert daemon.docker("rm", "--link", "web/x").out == "web/x\n"
    assert daemon.inspect("web")["HostConfig"]["Links"] == ["/sql:/web/y"]
    assert "No such container: web/x" in refused(daemon, "rm", "--link", "web/x")
    assert refused(daemon, "rm", "--link", "/web") == "Conflict, cannot remove the default link name of the container"
    assert daemon.inspect("sql")["State"]["Running"]


def test_what_does_not_run_cannot_be_linked_to_at_a_start(daemon: Daemon, db: str) -> None:
    del db
    daemon.run("-d", "--name", "web", "--link", "db:x", "busybox", "sleep", "1000")
    daemon.docker("stop", "-t", "0", "db", "web")
    words = "Cannot link to a non running container: /db AS /web/x"
    assert refused(daemon, "start", "web") == words
    assert daemon.inspect("web")["State"]["Error"] == words
    daemon.docker("start", "db")
    daemon.docker("start", "web")
    daemon.docker("rm", "-f", "db")
    assert refused(daemon, "restart", "-t", "0", "web").endswith(words)


def test_links_that_cannot_be_are_refused(daemon: Daemon) -> None:
    daemon.docker("network", "create", "apart")
    daemon.run("-d", "--name", "apart", "--network", "apart", "busybox", "sleep", "1000")
    daemon.run("-d", "--name", "hostly", "--network", "host", "busybox", "sleep", "1000")
    unknown = "could not get container for nosuch: No such container: nosuch"
    assert refused(daemon, "run", "--link", "nosuch", "busybox", "true") == unknown
    words = "Cannot link to /apart, as it does not belong to the default network"
    assert refused(daemon, "run", "--rm", "--link", "apart:x", "busybox", "true") == words
    assert "host type networking can't be used with links" in refused(
        daemon, "run", "--link", "hostly:x", "busybox", "true"
    )
    for links, status, words in (
        (["a:b:c"], 400, "bad format for links: a:b:c"),
        ([""], 400, "empty string specified for links"),
        ([":x"], 400, 'could not get container for : invalid name or ID supplied: ""'),
    ):
        answer = daemon.request("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Links": links}})
        assert answer.json()["message"] == words
        assert answer.status == status or daemon.name == "peer"


def test_who_shares_a_network_is_linked_to_where_it_is(daemon: Daemon, db: str) -> None:
    daemon.run("-d", "--name", "guest", "--network", "container:db", "busybox", "sleep", "1000")
    shown = daemon.run("--rm", "--link", "guest:g", "busybox", "cat", "/etc/hosts")
    assert f"{db}\tg dbhost db\n" in shown


def test_on_a_user_network_a_link_is_a_name_that_follows_its_container(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", "10.66.0.0/24", "apart")
    daemon.run("-d", "--name", "db", "--network", "apart", "busybox", "sleep", "1000")
    daemon.run("-d", "--name", "web", "--network", "apart", "--link", "db:x", "busybox", "sleep", "1000")
    assert daemon.inspect("web")["NetworkSettings"]["Networks"]["apart"]["Links"] == ["db:x"]
    assert "X_" not in daemon.docker("exec", "web", "env").out
    assert reached(daemon, "web", "x") == "10.66.0.2"
    daemon.docker("stop", "-t", "0", "db")
    daemon.run("-d", "--name", "thief", "--network", "apart", "busybox", "sleep", "1000")
    daemon.docker("start", "db")
    moved = str(daemon.inspect("db")["NetworkSettings"]["Networks"]["apart"]["IPAddress"])
    assert moved != "10.66.0.2"
    deadline = time.monotonic() + 20
    while (now := reached(daemon, "web", "x")) != moved:
        assert time.monotonic() < deadline, now
        time.sleep(0.1)


def reached(daemon: Daemon, container: str, name: str) -> str:
    """The address that a name leads to from inside a container."""
    said = daemon.docker("exec", container, "ping", "-c", "1", "-W", "2", name, check=False).both
    return said.partition("(")[2].partition(")")[0]


def test_links_hold_across_a_death_of_the_daemon(private_engine: Engine) -> None:
    engine = private_engine
    engine.run("-d", "--name", "db", "--restart", "always", "busybox", "sleep", "1000")
    engine.run("-d", "--name", "web", "--restart", "always", "--link", "db:x", "busybox", "sleep", "1000")
    before = address(engine, "db")
    engine.kill9()
    engine.start()
    assert f"{before}\tx " in engine.docker("exec", "web", "cat", "/etc/hosts").out
    # Both come back by their policies; the one that is linked waits for the other.
    engine.kill9()
    for name in ("web", "db"):
        pid = (engine.layout.bundle(engine_uid(engine, name)) / "pid").read_text()
        engine.surroundings.run("kill", "-9", pid)
    engine.start()
    deadline = time.monotonic() + 30
    while not all(engine.inspect(name)["State"]["Status"] == "running" for name in ("db", "web")):
        assert time.monotonic() < deadline, engine.docker("ps", "-a").out
        time.sleep(0.1)
    assert f"{address(engine, 'db')}\tx " in engine.docker("exec", "web", "cat", "/etc/hosts").out


def engine_uid(engine: Engine, name: str) -> str:
    """A container's id, read from where a dead daemon's containers lie."""
    found = [
        path.parent.name
        for path in engine.layout.containers.glob("*/hosts")
        if ("\tx " in path.read_text()) == (name == "web")
    ]
    assert len(found) == 1
    return found[0]
