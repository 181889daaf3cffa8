"""The predefined networks, and what a start believes of what it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from controllers.layout import Layout
from controllers.networks import startup
from store.errors import InvalidParameterError
from store.objects import Container, ContainerConfig, ContainerSpec, ContainerStatus, HostConfig
from store.objects.meta import Meta
from store.store import Store


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data", tmp_path / "run")


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


def bridge(store: Store) -> tuple[str, str, list[str]]:
    network = store.networks.by_name("bridge")
    assert network is not None
    leased = [lease.address for lease in store.address_leases.where("network", network.uid)]
    return network.spec.pools[0].subnet, network.spec.pools[0].gateway, leased


async def test_a_first_start_makes_three_networks_and_later_ones_none(store: Store, layout: Layout) -> None:
    await startup.predefined(store, layout, "")
    made = {network.name: network.uid for network in store.networks}
    assert set(made) == {"bridge", "host", "none"}
    before = bridge(store)
    await startup.predefined(store, layout, "")
    assert {network.name: network.uid for network in store.networks} == made
    assert bridge(store) == before


async def test_the_default_bridge_has_the_address_that_is_set_and_follows_it(store: Store, layout: Layout) -> None:
    await startup.predefined(store, layout, "10.44.0.1/16")
    assert bridge(store) == ("10.44.0.0/16", "10.44.0.1", ["10.44.0.1"])
    await startup.predefined(store, layout, "10.45.0.7/24")
    assert bridge(store) == ("10.45.0.0/24", "10.45.0.7", ["10.45.0.7"])
    await startup.predefined(store, layout, "")
    assert bridge(store) == ("10.45.0.0/24", "10.45.0.7", ["10.45.0.7"])


@pytest.mark.parametrize("bip", ["junk", "10.44.0.1/33", "10.44.0.1/32", "fd00::1/64", "10.44.0.0/16"])
async def test_a_malformed_bridge_address_is_refused_and_changes_nothing(
    store: Store, layout: Layout, bip: str
) -> None:
    with pytest.raises(InvalidParameterError):
        await startup.predefined(store, layout, bip)
    assert len(store.networks) == 0


def container(status: ContainerStatus, *, wanted: str = "stopped", starts: int = 0) -> Container:
    spec = ContainerSpec(config=ContainerConfig(), host=HostConfig(), image_id="", path="", args=(), starts=starts)
    spec = msgspec.structs.replace(spec, wanted=wanted)
    return Container(meta=Meta(uid="c" * 64, name="c"), spec=spec, status=status)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, False),
        (container(ContainerStatus(phase="exited")), False),
        (container(ContainerStatus(phase="created")), False),
        (container(ContainerStatus(phase="running")), True),
        (container(ContainerStatus(phase="paused")), True),
        (container(ContainerStatus(phase="restarting")), True),
        (container(ContainerStatus(phase="created", pid=7)), True),
        (container(ContainerStatus(phase="created"), wanted="running", starts=1), True),
        (container(ContainerStatus(phase="exited", starts=1), wanted="running", starts=1), False),
    ],
)
def test_only_what_may_live_keeps_its_sandbox(found: Container | None, expected: bool) -> None:
    assert startup.may_live(found) is expected
