"""Connecting and disconnecting containers, as dockerd does it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.networks.probes import from_container, from_host, serve, until
from tests.support.daemon import Answer, Daemon
from tests.support.engine import Engine
from tests.support.surroundings import ADDRESS

pytestmark = pytest.mark.host


def connect(daemon: Daemon, network: str, container: str, **config: Any) -> Answer:
    body = {"Container": container, "EndpointConfig": config}
    return daemon.request("POST", f"/networks/{network}/connect", body)


def disconnect(daemon: Daemon, network: str, container: str, **body: Any) -> Answer:
    return daemon.request("POST", f"/networks/{network}/disconnect", {"Container": container, **body})


def addresses(daemon: Daemon, container: str) -> list[str]:
    out = daemon.docker("exec", container, "ip", "-4", "-o", "address").out
    return [line.split()[3] for line in out.splitlines() if " lo " not in line]


def networks(daemon: Daemon, container: str) -> Any:
    return daemon.inspect(container)["NetworkSettings"]["Networks"]


def test_a_running_container_joins_and_leaves(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", "10.55.0.0/24", "aa")
    serve(daemon, "web", "-p", "8088:80")
    daemon.run("-d", "--name", "mate", "--network", "aa", "busybox", "sleep", "1000")
    assert until(from_host(daemon, ADDRESS, 8088, outside=True), "web") == "web"

    assert connect(daemon, "aa", "web", Aliases=["al"], IPAMConfig={"IPv4Address": "10.55.0.9"}).status == 200
    assert addresses(daemon, "web")[1] == "10.55.0.9/24"
    shown = networks(daemon, "web")
    assert set(shown) == {"aa", "bridge"}
    assert (shown["aa"]["IPAddress"], shown["aa"]["IPAMConfig"]) == ("10.55.0.9", {"IPv4Address": "10.55.0.9"})
    assert "10.55.0.9\tweb" in daemon.docker("exec", "web", "cat", "/etc/hosts").out
    assert until(from_container(daemon, "mate", "al"), "web") == "web"
    assert "name = mate" in daemon.docker("exec", "web", "nslookup", networks(daemon, "mate")["aa"]["IPAddress"]).out
    assert until(from_host(daemon, ADDRESS, 8088, outside=True), "web") == "web"

    again = connect(daemon, "aa", "web")
    assert (again.status, again.json()["message"]) == (403, "endpoint with name web already exists in network aa")
    assert disconnect(daemon, "bridge", "web").status == 200
    assert addresses(daemon, "web") == ["10.55.0.9/24"]
    assert "default via 10.55.0.1" in daemon.docker("exec", "web", "ip", "route").out
    assert until(from_host(daemon, ADDRESS, 8088, outside=True), "web") == "web"
    assert disconnect(daemon, "aa", "web").status == 200
    assert (addresses(daemon, "web"), networks(daemon, "web")) == ([], {})
    assert connect(daemon, "bridge", "web").status == 200
    assert until(from_host(daemon, ADDRESS, 8088, outside=True), "web") == "web"


def test_a_stopped_container_joins_when_it_starts(daemon: Daemon) -> None:
    daemon.docker("network", "create", "aa")
    daemon.docker("create", "--name", "later", "busybox", "sleep", "1000")
    for _ in range(2):
        assert connect(daemon, "aa", "later").status == 200
    assert set(networks(daemon, "later")) == {"aa", "bridge"}
    daemon.docker("start", "later")
    assert len(addresses(daemon, "later")) == 2
    daemon.docker("stop", "-t", "0", "later")
    assert disconnect(daemon, "aa", "later").status == 200
    daemon.docker("start", "later")
    assert len(addresses(daemon, "later")) == 1


def test_what_cannot_be_connected_is_refused_in_dockerds_words(daemon: Daemon) -> None:
    daemon.docker("network", "create", "aa")
    for name, network in (("plain", "bridge"), ("hosted", "host"), ("none", "none"), ("shared", "container:plain")):
        daemon.run("-d", "--name", name, "--network", network, "busybox", "sleep", "1000")
    host = "container cannot be disconnected from host network or connected to host network"
    shared = (
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )
    private = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    configured = "user specified IP address is supported only when connecting to networks with user configured subnets"
    refusals = [
        (connect(daemon, "host", "plain"), 400, host),
        (connect(daemon, "none", "plain"), 400, private),
        (connect(daemon, "aa", "hosted"), 400, shared),
        (connect(daemon, "aa", "shared"), 400, shared),
        (connect(daemon, "aa", "none"), 400, private),
        (connect(daemon, "aa", "plain", IPAMConfig={"IPv4Address": "10.1.1.1"}), 400, configured),
        (connect(daemon, "nosuch", "plain"), 404, "network nosuch not found"),
        (connect(daemon, "aa", "nosuch"), 404, "No such container: nosuch"),
        (connect(daemon, "aa", ""), 400, 'invalid name or ID supplied: ""'),
        (disconnect(daemon, "host", "hosted"), 400, host),
        (disconnect(daemon, "aa", "nosuch"), 404, "No such container: nosuch"),
        (disconnect(daemon, "aa", "nosuch", Force=True), 404, "endpoint nosuch not found"),
        (disconnect(daemon, "nosuch", "plain"), 404, "network nosuch not found"),
    ]
    assert [(answer.status, answer.json()["message"]) for answer, _, _ in refusals] == [each[1:] for each in refusals]
    absent = disconnect(daemon, "aa", "plain")
    uid = daemon.inspect("plain")["Id"]
    assert absent.json()["message"] == f"container {uid} is not connected to network aa"
    assert absent.status == (409 if isinstance(daemon, Engine) else 500)


def test_a_renamed_container_is_found_by_its_new_name(engine: Engine) -> None:
    engine.docker("network", "create", "aa")
    serve(engine, "first", "--network", "aa")
    engine.docker("rename", "first", "second")
    engine.run("-d", "--name", "asker", "--network", "aa", "busybox", "sleep", "1000")
    assert until(from_container(engine, "asker", "second"), "first") == "first"


def test_a_connection_outlives_the_daemon(private_engine: Engine) -> None:
    engine = private_engine
    engine.docker("network", "create", "aa")
    engine.run("-d", "--name", "kept", "busybox", "sleep", "1000")
    assert connect(engine, "aa", "kept").status == 200
    before = addresses(engine, "kept")
    engine.kill9()
    engine.start()
    assert addresses(engine, "kept") == before
    assert disconnect(engine, "aa", "kept").status == 200
    assert addresses(engine, "kept") == before[:1]
