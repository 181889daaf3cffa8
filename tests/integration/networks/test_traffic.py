"""Real packets: who reaches whom, by address, by published port and by name."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.integration.networks.probes import from_container, from_host, serve, socket_inside, until
from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.surroundings import ADDRESS, OUTSIDE_ADDRESS

pytestmark = pytest.mark.host


def test_a_published_port_answers_from_everywhere(daemon: Daemon) -> None:
    serve(daemon, "web", "-p", "8080:80")
    daemon.run("-d", "--name", "other", "busybox", "sleep", "1000")
    gateway = daemon.inspect("web")["NetworkSettings"]["Gateway"]
    assert until(from_host(daemon, "127.0.0.1", 8080), "web") == "web"
    for address in (ADDRESS, gateway, "127.0.0.2"):
        assert until(from_host(daemon, address, 8080), "web") == "web", address
    assert until(from_host(daemon, ADDRESS, 8080, outside=True), "web") == "web"
    for name in ("other", "web"):
        for address in (ADDRESS, gateway):
            assert until(from_container(daemon, name, address, 8080), "web") == "web", (name, address)


def test_a_port_published_on_loopback_stays_there(daemon: Daemon) -> None:
    serve(daemon, "web", "-p", "127.0.0.1:8080:80")
    assert until(from_host(daemon, "127.0.0.1", 8080), "web") == "web"
    assert from_host(daemon, ADDRESS, 8080)() == ""
    assert from_host(daemon, ADDRESS, 8080, outside=True)() == ""


def test_what_is_not_published_is_not_reached_from_outside(daemon: Daemon) -> None:
    address = serve(daemon, "web")
    assert until(from_host(daemon, address, 80), "web") == "web"
    daemon.surroundings.run_outside("ip", "route", "replace", "172.16.0.0/12", "via", ADDRESS)
    try:
        assert from_host(daemon, address, 80, outside=True)() == ""
    finally:
        daemon.surroundings.run_outside("ip", "route", "del", "172.16.0.0/12")


def test_the_hosts_loopback_services_are_closed_to_containers_and_the_outside(engine: Engine) -> None:
    serve(engine, "web", "-p", "8080:80")
    with engine.surroundings.socket() as service:
        service.bind(("127.0.0.1", 7777))
        service.listen()
        engine.docker("exec", "web", "ip", "route", "add", "127.7.0.0/16", "via", "172.17.0.1", check=False)
        engine.surroundings.run_outside("ip", "route", "replace", "127.0.0.9", "via", ADDRESS, check=False)
        service.settimeout(0.5)
        for target in (engine.surroundings.socket(outside=True),):
            with target, contextlib.suppress(OSError):
                target.settimeout(0.3)
                target.connect(("127.0.0.9", 7777))
        with pytest.raises(TimeoutError):
            service.accept()


def test_udp_ports_are_published_too(daemon: Daemon) -> None:
    daemon.run("-d", "--name", "echo", "-p", "5300:53/udp", "busybox", "sleep", "1000")
    with (
        socket_inside(daemon, "echo", socket.SOCK_DGRAM) as server,
        daemon.surroundings.socket(kind=socket.SOCK_DGRAM, outside=True) as client,
    ):
        server.bind(("0.0.0.0", 53))
        server.settimeout(5)
        client.settimeout(5)
        client.connect((ADDRESS, 5300))
        client.send(b"anybody?")
        question, peer = server.recvfrom(100)
        server.sendto(b"hello", peer)
        assert (question, client.recv(100)) == (b"anybody?", b"hello")


def test_a_udp_sender_that_was_too_early_gets_through_later(daemon: Daemon) -> None:
    with daemon.surroundings.socket(kind=socket.SOCK_DGRAM, outside=True) as client:
        client.settimeout(5)
        client.bind(("0.0.0.0", 5301))
        for name in ("first", "second"):
            client.sendto(b"too early", (ADDRESS, 5300))
            daemon.run("-d", "--name", name, "-p", "5300:53/udp", "busybox", "sleep", "1000")
            with socket_inside(daemon, name, socket.SOCK_DGRAM) as server:
                server.bind(("0.0.0.0", 53))
                server.settimeout(5)
                client.sendto(name.encode(), (ADDRESS, 5300))
                assert server.recv(100) == name.encode()
            # Its address is taken by another, so that the port leads elsewhere the second time.
            daemon.docker("rm", "-f", name)
            daemon.run("-d", "busybox", "sleep", "1000")


def test_a_random_port_is_told_and_answers(engine: Engine) -> None:
    serve(engine, "web", "-p", "80", "-p", "81")
    ports = engine.inspect("web")["NetworkSettings"]["Ports"]
    number = int(ports["80/tcp"][0]["HostPort"])
    assert ports["80/tcp"] != ports["81/tcp"]
    assert engine.docker("port", "web", "80").out == f"0.0.0.0:{number}\n"
    assert until(from_host(engine, ADDRESS, number, outside=True), "web") == "web"


def test_a_port_in_use_is_refused_and_the_container_is_left_created(daemon: Daemon) -> None:
    serve(daemon, "first", "-p", "8080:80")
    refused = daemon.docker("run", "-d", "--name", "second", "-p", "8080:80", "busybox", "sleep", "9", check=False)
    assert refused.code == 125
    assert "driver failed programming external connectivity on endpoint second (" in refused.err
    assert "): Bind for 0.0.0.0:8080 failed: port is already allocated" in refused.err
    state = daemon.inspect("second")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    daemon.docker("rm", "-f", "first")
    daemon.docker("start", "second")


def test_a_port_of_another_program_is_refused(daemon: Daemon) -> None:
    with daemon.surroundings.socket() as other:
        other.bind(("0.0.0.0", 8099))
        other.listen()
        refused = daemon.docker("run", "-d", "-p", "8099:80", "busybox", "sleep", "9", check=False)
    assert "): Error starting userland proxy: listen tcp4 0.0.0.0:8099: bind: address already in use" in refused.err


def test_containers_of_a_network_find_each_other_by_name(daemon: Daemon) -> None:
    daemon.docker("network", "create", "names")
    address = serve(daemon, "db", "--network", "names", "--network-alias", "store")
    daemon.run("-d", "--name", "app", "--network", "names", "busybox", "sleep", "1000")
    short = daemon.inspect("db")["Id"][:12]
    for name in ("db", "store", short):
        assert until(from_container(daemon, "app", name), "db") == "db", name
    reverse = daemon.docker("exec", "app", "nslookup", address).out
    assert "name = db" in reverse
    assert daemon.docker("exec", "app", "nslookup", "nosuch", check=False).code != 0
    daemon.docker("rm", "-f", "db")
    assert daemon.docker("exec", "app", "nslookup", "store", check=False).code != 0


def test_names_and_ports_work_while_the_daemon_is_dead(private_engine: Engine) -> None:
    engine = private_engine
    engine.docker("network", "create", "names")
    serve(engine, "db", "--network", "names", "-p", "8080:80")
    asker = "while ! nc -w 1 db 80 > /tmp/a; do sleep 0.1; done; cp /tmp/a /tmp/b; sleep 1000"
    engine.kill9()
    assert until(from_host(engine, ADDRESS, 8080, outside=True), "db") == "db"
    engine.start()
    engine.run("-d", "--name", "asker", "--network", "names", "busybox", "sh", "-c", f"sleep 1; {asker}")
    engine.kill9()
    time.sleep(2)
    engine.start()
    assert until(lambda: engine.docker("exec", "asker", "cat", "/tmp/b", check=False).out.strip(), "db") == "db"
    assert until(from_host(engine, ADDRESS, 8080, outside=True), "db") == "db"


def test_networks_are_apart_but_for_what_is_published(engine: Engine) -> None:
    engine.docker("network", "create", "left")
    engine.docker("network", "create", "right")
    address = serve(engine, "web", "--network", "left", "-p", "8080:80")
    engine.run("-d", "--name", "stranger", "--network", "right", "busybox", "sleep", "1000")
    assert until(from_container(engine, "web", address), "web") == "web"
    assert from_container(engine, "stranger", address)() == ""
    assert until(from_container(engine, "stranger", ADDRESS, 8080), "web") == "web"
    assert "can't resolve" in engine.docker("exec", "stranger", "nslookup", "web", check=False).both.lower() or (
        engine.docker("exec", "stranger", "nslookup", "web", check=False).code != 0
    )


def test_an_internal_network_leads_nowhere(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--internal", "inner")
    address = serve(daemon, "one", "--network", "inner", "-p", "8080:80")
    daemon.run("-d", "--name", "two", "--network", "inner", "busybox", "sleep", "1000")
    assert until(from_container(daemon, "two", address), "one") == "one"
    with daemon.surroundings.socket(outside=True) as server:
        server.bind(("0.0.0.0", 80))
        server.listen()
        server.settimeout(0.1)
        assert from_container(daemon, "two", OUTSIDE_ADDRESS)() == ""
        with pytest.raises(TimeoutError):
            server.accept()
    assert daemon.inspect("one")["NetworkSettings"]["Ports"].get("80/tcp") is None
    assert from_host(daemon, ADDRESS, 8080)() == ""


def test_containers_reach_the_outside_under_the_hosts_address(daemon: Daemon) -> None:
    with daemon.surroundings.socket(outside=True) as server:
        server.bind(("0.0.0.0", 9999))
        server.listen()
        server.settimeout(10)
        daemon.run("-d", "busybox", "nc", "-w", "2", OUTSIDE_ADDRESS, "9999")
        connection, peer = server.accept()
        connection.close()
    assert peer[0] == ADDRESS


def test_an_address_can_be_asked_for(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", "10.66.0.0/24", "fixed")
    assert serve(daemon, "one", "--network", "fixed", "--ip", "10.66.0.9") == "10.66.0.9"
    taken = daemon.docker("run", "-d", "--network", "fixed", "--ip", "10.66.0.9", "busybox", "sleep", "9", check=False)
    assert "Address already in use" in taken.err
    strange = daemon.docker(
        "run", "-d", "--network", "fixed", "--ip", "10.67.0.9", "busybox", "sleep", "9", check=False
    )
    assert "Invalid address 10.67.0.9: It does not belong to any of this network's subnets" in strange.err


def test_the_files_of_a_container_are_dockerds(daemon: Daemon) -> None:
    hosts = daemon.run(
        "--rm", "--add-host", "foo:1.2.3.4", "--add-host", "hg:host-gateway", "-h", "full.example.com",
        "busybox", "cat", "/etc/hosts",
    ).splitlines()  # fmt: skip
    assert hosts[:6] == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff00::0\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    assert hosts[6:8] == ["1.2.3.4\tfoo", "172.17.0.1\thg"]
    assert hosts[8].endswith("\tfull.example.com full")
    resolv = daemon.run(
        "--rm",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "ex.com",
        "--dns-opt",
        "rotate",
        "busybox",
        "cat",
        "/etc/resolv.conf",
    )
    assert resolv.splitlines() == ["search ex.com", "nameserver 9.9.9.9", "options rotate"]


def test_a_container_may_have_no_network_or_the_hosts_or_anothers(daemon: Daemon) -> None:
    links = "ip -o link | cut -d: -f2 | cut -d@ -f1"
    assert daemon.run("--rm", "--network", "none", "busybox", "sh", "-c", links).split() == ["lo"]
    assert "eth0" in daemon.run("--rm", "--network", "host", "busybox", "sh", "-c", links).split()
    address = serve(daemon, "web")
    sharing = ("--rm", "--network", "container:web", "busybox", "sh", "-c")
    assert address in daemon.run(*sharing, "ip -4 addr show eth0")
    assert until(lambda: daemon.run(*sharing, "nc -w 2 127.0.0.1 80 || true"), "web") == "web"
