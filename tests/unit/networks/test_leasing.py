"""Addresses and ports in the store: all or nothing, nothing twice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from controllers.networks import creating, ipam, leasing
from controllers.networks.firewall import Forwarding
from controllers.networks.ports import Chooser, wishes
from store.errors import EngineError, ForbiddenError, InvalidParameterError, NotFoundError
from store.objects import Container, ContainerConfig, ContainerSpec, HostConfig, Network
from store.objects.containers import EndpointSpec, PortBinding
from store.objects.meta import Meta
from store.objects.networks import IpamPool, NetworkSpec
from store.store import Store, Transaction


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


async def make_network(store: Store, name: str, subnet: str = "10.5.0.0/24", **spec: object) -> Network:
    asked = IpamPool(subnet=subnet)
    pool = ipam.complete(asked, [], [])
    network = Network(
        meta=Meta(uid=secrets.token_hex(32), name=name),
        spec=msgspec.structs.replace(NetworkSpec(pools=(pool,), requested=(asked,), bridge=name), **spec),
    )

    def insert(transaction: Transaction) -> None:
        transaction.insert(network)
        creating.reserve(transaction, network.uid, pool)

    await store.commit(insert)
    return network


def container(name: str, network: Network, port: str = "", **endpoint: object) -> Container:
    bindings: dict[str, list[PortBinding] | None] | None = {"80/tcp": [PortBinding(host_port=port)]} if port else None
    uid = secrets.token_hex(32)
    spec = msgspec.structs.replace(EndpointSpec(network=network.name), **endpoint)
    return Container(
        meta=Meta(uid=uid, name=name),
        spec=ContainerSpec(
            config=ContainerConfig(hostname=uid[:12]),
            host=HostConfig(network_mode=network.name, port_bindings=bindings),
            image_id="",
            path="",
            args=(),
            endpoints={network.name: spec},
        ),
    )


async def lease(store: Store, owner: Container, network: Network) -> leasing.Leased:
    change = partial(
        leasing.lease,
        container=owner,
        networks={network.name: network},
        wishes=wishes(owner),
        chooser=Chooser(),
        avoid=(),
        link_prefix="whv",
    )
    return await store.commit(change)


async def test_containers_at_once_get_different_addresses(store: Store) -> None:
    network = await make_network(store, "n")
    leased = await asyncio.gather(*(lease(store, container(f"c{i}", network), network) for i in range(50)))
    addresses = [each.endpoints["n"].ipv4_address for each in leased]
    assert sorted(addresses) == sorted(f"10.5.0.{number}" for number in range(2, 52))
    assert len({each.endpoints["n"].host_interface for each in leased}) == 50
    assert all(len(each.endpoints["n"].host_interface) <= 15 for each in leased)


async def test_leasing_again_gives_back_what_was_held(store: Store) -> None:
    network = await make_network(store, "n")
    owner = container("c", network, "8080")
    first, second = await lease(store, owner, network), await lease(store, owner, network)
    assert first.endpoints["n"].ipv4_address == second.endpoints["n"].ipv4_address == "10.5.0.2"
    assert [port.owner for port in store.port_leases] == [owner.uid]
    await store.commit(lambda transaction: leasing.release(transaction, owner.uid))
    assert [each.address for each in store.address_leases] == ["10.5.0.1"]
    assert not list(store.port_leases)


async def test_a_port_that_is_taken_leaves_no_lease_behind(store: Store) -> None:
    network = await make_network(store, "n")
    await lease(store, container("first", network, "8080"), network)
    with pytest.raises(
        EngineError,
        match=r"^driver failed programming external connectivity on endpoint second \([0-9a-f]{64}\): "
        "Bind for 0.0.0.0:8080 failed: port is already allocated$",
    ):
        await lease(store, container("second", network, "8080"), network)
    assert len(store.address_leases) == 2
    assert len(store.port_leases) == 1


async def test_a_leased_port_tells_its_rule(store: Store) -> None:
    network = await make_network(store, "n")
    leased = await lease(store, container("c", network, "8080"), network)
    expected = Forwarding("tcp", "0.0.0.0", 8080, "10.5.0.2", 80)
    assert leased.forwardings == (expected,)
    assert [leasing.forwarding(port) for port in store.port_leases] == [expected]


async def test_an_internal_network_publishes_nothing(store: Store) -> None:
    network = await make_network(store, "n", internal=True)
    leased = await lease(store, container("c", network, "8080"), network)
    assert leased.ports == ()


async def test_names_that_would_break_a_hosts_file_are_left_out(store: Store) -> None:
    network = await make_network(store, "n")
    owner = container("c", network, aliases=("web", "evil\n10.0.0.1 bank", "a b", "#x", ""))
    leased = await lease(store, owner, network)
    assert leased.endpoints["n"].dns_names == ("c", "web", owner.uid[:12])


async def test_an_address_may_be_asked_for_once_and_only_where_subnets_are_the_users(store: Store) -> None:
    network = await make_network(store, "n")
    wanted = container("c", network, ipv4_address="10.5.0.9")
    assert (await lease(store, wanted, network)).endpoints["n"].ipv4_address == "10.5.0.9"
    with pytest.raises(ForbiddenError, match="Address already in use"):
        await lease(store, container("d", network, ipv4_address="10.5.0.9"), network)
    chosen = await make_network(store, "chosen", "10.6.0.0/24", requested=())
    with pytest.raises(InvalidParameterError, match="only when connecting to networks with user configured subnets"):
        await lease(store, container("e", chosen, ipv4_address="10.6.0.9"), chosen)
    builtin = await make_network(store, "builtin", "10.7.0.0/24", predefined=True)
    with pytest.raises(InvalidParameterError, match="supported on user defined networks only"):
        await lease(store, container("f", builtin, ipv4_address="10.7.0.9"), builtin)


async def test_a_network_that_is_being_removed_takes_no_containers(store: Store) -> None:
    network = await make_network(store, "n")
    await store.commit(lambda transaction: transaction.update(network.with_meta(deletion_requested_at=1)))
    with pytest.raises(NotFoundError, match="network n not found"):
        await lease(store, container("c", network), network)
