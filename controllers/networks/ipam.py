"""Which subnets networks get and which addresses containers get: pure, as dockerd's default IPAM chooses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from socket import inet_ntoa

from store.errors import ConflictError, ForbiddenError, InvalidParameterError, NotFoundError
from store.objects.networks import IpamPool

DEFAULT_BRIDGE = "172.17.0.0/16"


def predefined_subnets() -> Iterator[IPv4Network]:
    """The subnets for networks that ask for none, in dockerd's order (libnetwork, ipamutils): 172.17 to 172.31, then
    192.168 in steps of 16 thousand addresses. The first is the default bridge's by custom."""
    for second in range(17, 32):
        yield IPv4Network((f"172.{second}.0.0", 16))
    for third in range(0, 256, 16):
        yield IPv4Network((f"192.168.{third}.0", 20))


def choose_subnet(taken: Iterable[IPv4Network], routes: Iterable[IPv4Network]) -> IPv4Network:
    """The first predefined subnet that meets no network's subnet and no route of the host. Raises NotFoundError."""
    used = [*taken, *(route for route in routes if route.prefixlen)]
    for candidate in predefined_subnets():
        if not any(candidate.overlaps(other) for other in used):
            return candidate
    raise NotFoundError(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )


def parse_subnet(text: str) -> IPv4Network:
    """A CIDR text (host bits allowed, as dockerd allows them) to its network. Raises InvalidParameterError."""
    try:
        address, slash, length = text.partition("/")
        if not slash or not re.fullmatch(r"[0-9]{1,2}", length) or ":" in address:
            raise ValueError(text)
        return IPv4Network((str(IPv4Address(address)), int(length)), strict=False)
    except (ValueError, AddressValueError, NetmaskValueError):
        raise InvalidParameterError(f"Invalid subnet {text} : invalid CIDR address: {text}") from None


def subnet_of(pool: IpamPool) -> IPv4Network:
    """The network of a pool that has been completed."""
    return parse_subnet(pool.subnet)


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


def complete(pool: IpamPool, taken: Iterable[IPv4Network], routes: Iterable[IPv4Network]) -> IpamPool:
    """A pool as a client asked for it, with subnet and gateway chosen where it named none.

    Raises store.errors in dockerd's words: overlap, malformed or misplaced range, gateway or auxiliary addresses.
    """
    taken = list(taken)
    if not pool.subnet and not (pool.ip_range or pool.gateway or pool.auxiliary_addresses):
        subnet = choose_subnet(taken, routes)
        text = str(subnet)
    else:
        text, subnet = pool.subnet, parse_subnet(pool.subnet)
    if any(subnet.overlaps(other) for other in taken):
        raise ForbiddenError("Pool overlaps with other one on this address space")
    if pool.ip_range:
        _check_range(pool.ip_range, text, subnet)
    for name, address in pool.auxiliary_addresses.items():
        parsed = _address(address)
        if parsed is None or parsed not in subnet:
            raise ForbiddenError(f"auxiliary address: ({name}:{address}) must belong to the master pool: {subnet}")
    gateway = _choose_gateway(pool, subnet)
    if str(gateway) in pool.auxiliary_addresses.values():
        name = next(name for name, address in pool.auxiliary_addresses.items() if address == str(gateway))
        raise ForbiddenError(f"failed to allocate secondary ip address ({name}:{gateway}): Address already in use")
    return IpamPool(
        subnet=text, ip_range=pool.ip_range, gateway=str(gateway), auxiliary_addresses=pool.auxiliary_addresses
    )


def _check_range(text: str, subnet_text: str, subnet: IPv4Network) -> None:
    try:
        inside = parse_subnet(text)
    except InvalidParameterError:
        raise InvalidParameterError(
            f'failed to parse pool request for address space "LocalDefault" pool "{subnet_text}" '
            f'subpool "{text}": Invalid Address SubPool'
        ) from None
    if not inside.subnet_of(subnet):
        raise InvalidParameterError(f"invalid ip-range {text}: it does not belong to subnet {subnet}")


def _choose_gateway(pool: IpamPool, subnet: IPv4Network) -> IPv4Address:
    if not pool.gateway:
        auxiliary = set(pool.auxiliary_addresses.values())
        try:
            return IPv4Address(
                next(address for address in candidates(subnet, pool.ip_range) if address not in auxiliary)
            )
        except StopIteration:
            raise InvalidParameterError("failed to allocate gateway (): No available addresses on this pool") from None
    gateway = _address(pool.gateway)
    if gateway is None:
        raise InvalidParameterError(f"invalid gateway address {pool.gateway} in Ipam configuration")
    if gateway not in subnet:
        raise InvalidParameterError(f"failed to allocate gateway ({gateway}): Requested address is out of range")
    if gateway in (subnet.network_address, subnet.broadcast_address):
        raise InvalidParameterError(f"failed to allocate gateway ({gateway}): Address already in use")
    return gateway


def candidates(subnet: IPv4Network, ip_range: str = "") -> Iterator[str]:
    """The addresses that may be given out, lowest first: neither the network's own nor its broadcast address."""
    inside = parse_subnet(ip_range) if ip_range else subnet
    first = max(int(inside.network_address), int(subnet.network_address) + 1)
    last = min(int(inside.broadcast_address), int(subnet.broadcast_address) - 1)
    # inet_ntoa, because IPv4Address takes five times as long and hundreds may have to be passed over.
    return (inet_ntoa(number.to_bytes(4)) for number in range(first, last + 1))


def choose_address(pool: IpamPool, used: Collection[str], wanted: str = "") -> str:
    """The wanted address, or the lowest free one. ``used`` are the addresses leased in this network.

    Raises ConflictError when the wanted one or all are taken, InvalidParameterError when it is outside the subnet.
    """
    subnet = subnet_of(pool)
    if not wanted:
        for address in candidates(subnet, pool.ip_range):
            if address not in used:
                return address
        raise ConflictError("no available IPv4 addresses on this network's address pools")
    address_wanted = _address(wanted)
    if address_wanted is None or address_wanted not in subnet:
        raise InvalidParameterError(f"Invalid address {wanted}: It does not belong to any of this network's subnets")
    if address_wanted in (subnet.network_address, subnet.broadcast_address) or str(address_wanted) in used:
        raise ForbiddenError("Address already in use")
    return str(address_wanted)


def mac_for(address: str) -> str:
    """The MAC address that dockerd derives from an IPv4 address: ``02:42`` and its four bytes."""
    return "02:42:" + IPv4Address(address).packed.hex(":")
