"""Choosing subnets and addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.networks import ipam
from store.errors import ConflictError, EngineError, ForbiddenError, InvalidParameterError, NotFoundError
from store.objects.networks import IpamPool

networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(8, 29),
)


def test_the_first_networks_get_the_subnets_that_dockerd_gives() -> None:
    taken: list[IPv4Network] = []
    for _ in range(31):
        taken.append(ipam.choose_subnet(taken, []))
    assert [str(each) for each in taken[:2]] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert [str(each) for each in taken[14:17]] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    with pytest.raises(NotFoundError, match="could not find an available, non-overlapping IPv4 address pool"):
        ipam.choose_subnet(taken, [])


@given(st.lists(networks, max_size=6), st.lists(networks, max_size=6))
def test_a_chosen_subnet_meets_neither_networks_nor_routes(taken: list[IPv4Network], routes: list[IPv4Network]) -> None:
    try:
        chosen = ipam.choose_subnet(taken, routes)
    except NotFoundError:
        return
    assert not any(chosen.overlaps(other) for other in [*taken, *routes])


def test_the_default_route_does_not_take_all_subnets() -> None:
    assert str(ipam.choose_subnet([], [IPv4Network("0.0.0.0/0")])) == "172.17.0.0/16"


@given(networks, st.data())
def test_addresses_are_given_lowest_first_until_none_is_left(subnet: IPv4Network, data: st.DataObject) -> None:
    pool = ipam.complete(IpamPool(subnet=str(subnet)), [], [])
    used = {pool.gateway}
    for _ in range(data.draw(st.integers(1, 5))):
        address = ipam.choose_address(pool, used)
        lower = (IPv4Address(number) for number in range(int(subnet.network_address) + 1, int(IPv4Address(address))))
        assert all(str(each) in used for each in lower)
        assert IPv4Address(address) in subnet
        assert address not in used
        assert address not in (str(subnet.network_address), str(subnet.broadcast_address))
        used.add(address)


def test_a_full_subnet_gives_no_more_addresses() -> None:
    pool = ipam.complete(IpamPool(subnet="10.1.0.0/30"), [], [])
    assert (pool.gateway, ipam.choose_address(pool, {pool.gateway})) == ("10.1.0.1", "10.1.0.2")
    with pytest.raises(ConflictError, match="no available IPv4 addresses on this network's address pools"):
        ipam.choose_address(pool, {"10.1.0.1", "10.1.0.2"})


def test_an_ip_range_confines_what_is_given_out() -> None:
    pool = ipam.complete(IpamPool(subnet="10.1.0.0/16", ip_range="10.1.5.0/24"), [], [])
    assert pool.gateway == "10.1.5.0"
    assert ipam.choose_address(pool, {pool.gateway}) == "10.1.5.1"
    assert ipam.choose_address(pool, {pool.gateway}, "10.1.77.7") == "10.1.77.7"


def test_a_chosen_gateway_leaves_auxiliary_addresses_alone() -> None:
    pool = ipam.complete(IpamPool(subnet="10.1.0.0/24", auxiliary_addresses={"router": "10.1.0.1"}), [], [])
    assert pool.gateway == "10.1.0.2"


@pytest.mark.parametrize(
    ("pool", "kind", "message"),
    [
        (IpamPool(subnet="10.7.0.0/33"), InvalidParameterError, "Invalid subnet 10.7.0.0/33 : invalid CIDR address"),
        (IpamPool(subnet="junk"), InvalidParameterError, "Invalid subnet junk : invalid CIDR address: junk"),
        (IpamPool(subnet="10.7.0.0/255.255.0.0"), InvalidParameterError, "Invalid subnet 10.7.0.0/255.255.0.0 :"),
        (IpamPool(gateway="10.7.0.1"), InvalidParameterError, "Invalid subnet  : invalid CIDR address: "),
        (IpamPool(subnet="10.77.0.0/16"), ForbiddenError, "Pool overlaps with other one on this address space"),
        (
            IpamPool(subnet="10.7.0.0/24", gateway="10.8.0.1"),
            InvalidParameterError,
            r"failed to allocate gateway \(10.8.0.1\): Requested address is out of range",
        ),
        (
            IpamPool(subnet="10.7.0.0/24", gateway="10.7.0.255"),
            InvalidParameterError,
            r"failed to allocate gateway \(10.7.0.255\): Address already in use",
        ),
        (
            IpamPool(subnet="10.7.0.0/24", gateway="junk"),
            InvalidParameterError,
            "invalid gateway address junk in Ipam configuration",
        ),
        (
            IpamPool(subnet="10.7.0.0/31"),
            InvalidParameterError,
            r"failed to allocate gateway \(\): No available addresses on this pool",
        ),
        (
            IpamPool(subnet="10.7.0.0/24", ip_range="junk"),
            InvalidParameterError,
            'failed to parse pool request for address space "LocalDefault" pool "10.7.0.0/24" subpool "junk": '
            "Invalid Address SubPool",
        ),
        (
            IpamPool(subnet="10.7.0.0/24", auxiliary_addresses={"a": "10.8.0.1"}),
            ForbiddenError,
            r"auxiliary address: \(a:10.8.0.1\) must belong to the master pool: 10.7.0.0/24",
        ),
        (
            IpamPool(subnet="10.7.0.0/24", gateway="10.7.0.1", auxiliary_addresses={"a": "10.7.0.1"}),
            ForbiddenError,
            r"failed to allocate secondary ip address \(a:10.7.0.1\): Address already in use",
        ),
    ],
)
def test_a_pool_that_cannot_be_is_refused_in_dockerds_words(
    pool: IpamPool, kind: type[EngineError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ipam.complete(pool, [IPv4Network("10.77.0.0/24")], [])


@given(st.text(max_size=30))
def test_any_text_for_a_subnet_is_understood_or_refused(text: str) -> None:
    try:
        subnet = ipam.parse_subnet(text)
    except InvalidParameterError:
        return
    assert str(subnet.prefixlen) in text


@pytest.mark.parametrize("wanted", ["10.7.0.0", "10.7.0.255", "10.7.0.1"])
def test_an_address_that_is_taken_is_refused(wanted: str) -> None:
    pool = ipam.complete(IpamPool(subnet="10.7.0.0/24"), [], [])
    with pytest.raises(ForbiddenError, match="Address already in use"):
        ipam.choose_address(pool, {"10.7.0.1"}, wanted)


def test_an_address_of_another_subnet_is_refused() -> None:
    pool = ipam.complete(IpamPool(subnet="10.7.0.0/24"), [], [])
    with pytest.raises(InvalidParameterError, match=r"Invalid address 10.8.0.9: It does not belong to any of"):
        ipam.choose_address(pool, set(), "10.8.0.9")


def test_a_mac_address_follows_from_the_address() -> None:
    assert ipam.mac_for("172.17.0.2") == "02:42:ac:11:00:02"
