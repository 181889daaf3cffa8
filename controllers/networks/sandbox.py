"""A container's network namespace and the links in it: made in one go, looked at, mended. Blocking; each function runs
on a thread of its own that ends afterwards (``namespaces.on_own_thread``), because it changes its namespace."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controllers.networks import bridge, namespaces, netlink
from controllers.networks.netlink import Message, RouteSocket
from store.crashpoints import crashpoint

_LOOPBACK = 1


@dataclass(frozen=True)
class Interface:
    """One interface of a container: ``name`` inside, ``host_name`` its other end. Without ``gateway`` it gets no
    default route; ``isolated`` keeps it from other isolated ports of the bridge."""

    name: str
    host_name: str
    bridge: str
    address: str
    prefix_length: int
    gateway: str
    mac_address: str
    mtu: int = 1500
    isolated: bool = False


def create(path: Path, interfaces: Sequence[Interface]) -> int:
    """A new namespace at ``path`` with these interfaces, instead of any that is there.

    Returns the kernel's number for it in the host's, -1 without interfaces. Raises OSError.
    """
    namespaces.drop(path)
    number = -1
    with RouteSocket() as host:
        namespaces.unshare_here(path)
        crashpoint("network.attach.namespace")
        _quiet()
        with RouteSocket() as inside:
            inside.run(netlink.set_up(_LOOPBACK))
            for interface in interfaces:
                number = _plug(host, inside, path, interface)
    return number


def plug(path: Path, interface: Interface) -> None:
    """Add an interface to a namespace that exists. Raises OSError."""
    with RouteSocket() as host:
        namespaces.enter_here(path)
        with RouteSocket() as inside:
            _plug(host, inside, path, interface)


def replug(interface: Interface) -> list[str]:
    """Mend the host's end of an interface: a port of its bridge, and up. Returns what was wrong; the end missing
    altogether is ``mend``'s business."""
    return (
        ["interface unplugged"] if bridge.reconnect(interface.bridge, [interface.host_name], interface.isolated) else []
    )


def unplug(path: Path, name: str) -> None:
    """Remove an interface from a namespace; neither there is fine."""
    try:
        namespaces.enter_here(path)
    except OSError:
        return
    with RouteSocket() as inside:
        for link in inside.run(netlink.get_link(name)).links:
            inside.run(netlink.delete_link(link.index))


def mend(path: Path, interfaces: Sequence[Interface]) -> list[str]:
    """Compare a namespace with what should be in it and mend it; returns what was wrong, in short constants.

    Raises FileNotFoundError when there is no namespace, OSError when mending fails.
    """
    wrong: list[str] = []
    with RouteSocket() as host:
        namespaces.enter_here(path)
        with RouteSocket() as inside:
            links = {link.name: link for link in inside.run(netlink.list_links()).links}
            if (loopback := links.get("lo")) is not None and not loopback.up:
                wrong.append("loopback down")
                inside.run(netlink.set_up(loopback.index))
            for interface in interfaces:
                if interface.name not in links:
                    wrong.append("interface missing")
                    _plug(host, inside, path, interface)
                else:
                    wrong.extend(_mend_interface(inside, links[interface.name], interface))
    return wrong


def _mend_interface(inside: RouteSocket, link: netlink.Link, interface: Interface) -> list[str]:
    wrong = []
    if not link.up:
        wrong.append("interface down")
        inside.run(netlink.set_up(link.index))
    addresses = inside.run(netlink.list_addresses()).addresses
    if not any(each.index == link.index and each.address == interface.address for each in addresses):
        wrong.append("address missing")
        inside.run(netlink.add_address(link.index, interface.address, interface.prefix_length))
    if interface.gateway:
        routes = inside.run(netlink.list_routes()).routes
        if not any(each.prefix_length == 0 and each.gateway == interface.gateway for each in routes):
            # Without its address the interface cannot have kept the route: one cause, one report.
            if not wrong:
                wrong.append("route missing")
            inside.run(netlink.add_default_route(link.index, interface.gateway))
    return wrong


def _quiet() -> None:
    """No IPv6 in a container whose networks have none, as dockerd has it."""
    for name in ("all", "default"):
        try:
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1\n")
        except FileNotFoundError:
            # The kernel has no IPv6 at all.
            return


def _plug(host: RouteSocket, inside: RouteSocket, path: Path, interface: Interface) -> int:
    bridges = host.run(netlink.get_link(interface.bridge)).links
    if not bridges:
        raise OSError(f"bridge {interface.bridge} does not exist")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = host.run(
            netlink.add_veth(
                interface.host_name,
                bridge=bridges[0].index,
                mtu=interface.mtu,
                peer=interface.name,
                peer_mac=interface.mac_address,
                peer_namespace=descriptor,
            ),
            netlink.get_link(interface.host_name),
        )
    finally:
        os.close(descriptor)
    crashpoint("network.attach.linked")
    port = found.links[0].index
    # Address and MAC address may have been another container's a moment ago: neither the bridge nor the host may go on
    # sending there.
    host.run(
        netlink.bridge_entry(port, interface.mac_address),
        netlink.forget_neighbour(bridges[0].index, interface.address),
        netlink.set_port(port, isolated=interface.isolated),
    )
    index = socket.if_nametoindex(interface.name)
    messages: list[Message] = [
        netlink.add_address(index, interface.address, interface.prefix_length),
        netlink.set_up(index),
    ]
    if interface.gateway:
        messages.append(netlink.add_default_route(index, interface.gateway))
    inside.run(*messages)
    return found.links[0].peer_namespace
