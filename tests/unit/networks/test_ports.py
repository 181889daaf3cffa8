"""Which host ports are asked for and given."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.networks import ports
from controllers.networks.ports import Chooser, Holder, PortTakenError, Wish, wishes
from store.errors import InvalidParameterError
from store.objects import Container, ContainerConfig, ContainerSpec, HostConfig
from store.objects.containers import PortBinding, PublishedPort
from store.objects.meta import Meta


def container(
    bindings: dict[str, list[PortBinding] | None] | None, *exposed: str, publish_all: bool = False
) -> Container:
    return Container(
        meta=Meta(uid="c" * 64, name="c"),
        spec=ContainerSpec(
            config=ContainerConfig(exposed_ports={port: {} for port in exposed}),
            host=HostConfig(port_bindings=bindings, publish_all_ports=publish_all),
            image_id="",
            path="",
            args=(),
        ),
    )


def wish(first: int = 0, last: int = 0, address: str = "0.0.0.0") -> Wish:
    return Wish("tcp", 80, address, first, last)


def test_bindings_become_wishes() -> None:
    bindings: dict[str, list[PortBinding] | None] = {
        "80/tcp": [PortBinding(host_port="8080"), PortBinding(host_ip="127.0.0.1", host_port="9000-9002")],
        "53/udp": [PortBinding()],
    }
    assert wishes(container(bindings)) == [
        Wish("udp", 53, "0.0.0.0", 0, 0),
        Wish("tcp", 80, "0.0.0.0", 8080, 8080),
        Wish("tcp", 80, "127.0.0.1", 9000, 9002),
    ]


def test_exposed_ports_are_published_only_when_all_are() -> None:
    assert wishes(container(None, "80/tcp")) == []
    assert wishes(container(None, "80/tcp", publish_all=True)) == [wish()]
    assert wishes(container({"80/tcp": [PortBinding(host_port="1")]}, "80/tcp", publish_all=True)) == [wish(1, 1)]


@pytest.mark.parametrize("text", ["x", "70000", "-1", "9-8", "8-", "٣"])
def test_a_malformed_host_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        wishes(container({"80/tcp": [PortBinding(host_port=text)]}))


def test_a_fixed_port_that_is_taken_is_refused_in_dockerds_words() -> None:
    with pytest.raises(PortTakenError, match=r"^Bind for 0.0.0.0:80 failed: port is already allocated$"):
        Chooser().choose(wish(80, 80), lambda *_: True, ())


def test_a_range_gives_its_first_free_port() -> None:
    chosen = Chooser().choose(wish(9000, 9002), lambda _, __, port: port == 9000, {("tcp", "0.0.0.0", 9001)})
    assert chosen.host_port == 9002
    with pytest.raises(PortTakenError, match="all ports are allocated"):
        Chooser().choose(wish(9000, 9002), lambda *_: True, ())


@given(st.sets(st.integers(40000, 40009), max_size=9))
def test_random_ports_go_round_the_range(taken: set[int]) -> None:
    chooser = Chooser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "ephemeral_range", lambda: (40000, 40009))
        free = [port for port in range(40000, 40010) if port not in taken]
        given_out = [chooser.choose(wish(), lambda _, __, port: port in taken, ()).host_port for _ in range(12)]
    assert given_out == [free[number % len(free)] for number in range(12)]


def published(protocol: str, port: int) -> PublishedPort:
    return PublishedPort(protocol=protocol, container_port=80, host_ip="127.0.0.1", host_port=port)


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_that_another_program_has_is_noticed(protocol: str, kind: socket.SocketKind) -> None:
    holder = Holder()
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            other.listen()
        port = published(protocol, other.getsockname()[1])
        assert holder.hold("c", [port]) == port
    assert holder.hold("c", [port]) is None
    holder.close()


def test_a_held_port_cannot_be_listened_on_until_it_is_released() -> None:
    holder = Holder()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = published("tcp", probe.getsockname()[1])
    assert holder.hold("c", [port]) is None
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port.host_port))
    holder.release("c")
    with socket.create_server(("127.0.0.1", port.host_port)):
        pass


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("first", "second"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
def test_a_port_on_all_addresses_and_on_one_exclude_each_other(protocol: str, first: str, second: str) -> None:
    holder = Holder()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    one, other = (
        PublishedPort(protocol=protocol, container_port=80, host_ip=address, host_port=number)
        for address in (first, second)
    )
    assert holder.hold("one", [one]) is None
    assert holder.hold("other", [other]) == other
    holder.release("one")
    assert holder.hold("other", [other]) is None
    holder.close()


def test_a_held_port_refuses_connections() -> None:
    holder = Holder()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = published("tcp", probe.getsockname()[1])
    assert holder.hold("c", [port]) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.host_port), timeout=5)
    holder.close()


def test_an_address_that_the_host_does_not_have_is_refused_in_dockerds_words() -> None:
    port = PublishedPort(protocol="tcp", container_port=80, host_ip="203.0.113.9", host_port=8081)
    with pytest.raises(
        PortTakenError,
        match=r"^Error starting userland proxy: listen tcp4 203.0.113.9:8081: bind: cannot assign requested address$",
    ):
        Holder().hold("c", [port])
