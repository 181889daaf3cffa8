"""Bridges of the host: made, compared with what they should be, and mended. Blocking; run in a thread."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from controllers.networks import netlink
from controllers.networks.ipam import mac_for
from controllers.networks.netlink import Link, NetlinkError, RouteSocket

_SYSCTL = Path("/proc/sys/net/ipv4")


@dataclass(frozen=True)
class Bridge:
    """A bridge as it should be. ``address`` with ``prefix_length`` is the host's own on it."""

    name: str
    address: str
    prefix_length: int
    mtu: int = 1500


def ensure(bridge: Bridge, mark: str) -> list[str]:
    """Make the bridge so; returns what had to be mended, in short constants, nothing when all was well.

    Raises NetlinkError or OSError. A link of that name that is no bridge is an error: it is somebody else's.
    """
    mended = []
    with RouteSocket() as route:
        link = _find(route, bridge.name)
        if link is None:
            mended.append("bridge missing")
            # One datagram: whatever becomes of us, the new link has the mark that lets us delete it.
            route.run(
                netlink.add_bridge(bridge.name, mac_address=mac_for(bridge.address), mtu=bridge.mtu),
                netlink.set_alias(bridge.name, mark),
            )
            link = _find(route, bridge.name)
        if link is None or link.kind != "bridge":
            raise OSError(f"{bridge.name} exists on this host and is not a bridge")
        if not link.up:
            mended.append("bridge down")
            route.run(netlink.set_up(link.index))
        mended += _mend_address(route, link, bridge, fresh=bool(mended))
    # Lets packets from our published 127.0.0.1 ports out to the bridge; the firewall keeps strangers' out.
    if set_sysctl(f"conf/{bridge.name}/route_localnet") and not mended:
        mended.append("route_localnet off")
    return mended


def _mend_address(route: RouteSocket, link: Link, bridge: Bridge, *, fresh: bool) -> list[str]:
    mended = []
    mine = [each for each in route.run(netlink.list_addresses()).addresses if each.index == link.index]
    if not any(each.address == bridge.address and each.prefix_length == bridge.prefix_length for each in mine):
        mended.append("bridge address missing")
        route.run(netlink.add_address(link.index, bridge.address, bridge.prefix_length))
    for other in mine:
        if other.address == bridge.address and other.prefix_length != bridge.prefix_length:
            route.run(netlink.delete_address(link.index, other.address, other.prefix_length))
    subnet = str(IPv4Network((bridge.address, bridge.prefix_length), strict=False).network_address)
    if not any(
        each.index == link.index and each.destination == subnet and each.prefix_length == bridge.prefix_length
        for each in route.run(netlink.list_routes()).routes
    ):
        mended.append(_mend_route(route, link, bridge, subnet))
    # A bridge that was missing or down had no address or route: one cause, one report.
    return [] if fresh else mended[:1]


def _mend_route(route: RouteSocket, link: Link, bridge: Bridge, subnet: str) -> str:
    try:
        route.run(netlink.add_connected_route(link.index, subnet, bridge.prefix_length, bridge.address))
    except NetlinkError as error:
        if error.errno != errno.EINVAL:
            raise
        # The address, there a moment ago, is just being taken away.
        route.run(netlink.add_address(link.index, bridge.address, bridge.prefix_length))
        return "bridge address missing"
    return "bridge route missing"


def reconnect(bridge: str, ports: Iterable[str], isolated: bool) -> int:
    """Make the links with those names ports of the bridge again, where they are not; returns how many were not."""
    with RouteSocket() as route:
        link = _find(route, bridge)
        if link is None:
            return 0
        wanted = set(ports)
        loose = [
            each
            for each in route.run(netlink.list_links()).links
            if each.name in wanted and (each.master != link.index or not each.up)
        ]
        if loose:
            route.run(*(netlink.set_master(each.index, link.index) for each in loose))
            route.run(*(netlink.set_port(each.index, isolated=isolated) for each in loose))
        return len(loose)


def remove(name: str, mark: str) -> None:
    """Delete the bridge if it is there and ours: one that somebody else made stays."""
    with RouteSocket() as route:
        link = _find(route, name)
        if link is not None and link.alias == mark:
            route.run(netlink.delete_link(link.index))


def ours(mark: str) -> list[Link]:
    """All links that carry our mark, as alias or at the beginning of their name."""
    with RouteSocket() as route:
        return [link for link in route.run(netlink.list_links()).links if mark in (link.alias, link.name[: len(mark)])]


def remove_links(links: Iterable[Link]) -> None:
    """Delete links; those already gone are fine."""
    with RouteSocket() as route:
        for link in links:
            route.run(netlink.delete_link(link.index))


def peer_namespaces() -> dict[str, int]:
    """For each link of the host whose other end is in another namespace, the kernel's number for that."""
    with RouteSocket() as route:
        links = route.run(netlink.list_links()).links
    return {link.name: link.peer_namespace for link in links if link.peer_namespace >= 0}


def host_routes() -> list[IPv4Network]:
    """The networks that the host has routes to."""
    with RouteSocket() as route:
        return [IPv4Network((each.destination, each.prefix_length)) for each in route.run(netlink.list_routes()).routes]


def enable_forwarding() -> bool:
    """Have the host route packets; whether it did not."""
    return set_sysctl("ip_forward")


def set_sysctl(name: str) -> bool:
    """Set a switch below net.ipv4 to 1; whether it was not."""
    path = _SYSCTL / name
    if path.read_text().strip() == "1":
        return False
    path.write_text("1\n")
    return True


def _find(route: RouteSocket, name: str) -> Link | None:
    links = route.run(netlink.get_link(name)).links
    return links[0] if links else None
