"""The daemon's start: the predefined networks, and what is left on the host or in the store that no row explains."""

from __future__ import annotations

import asyncio
import secrets
from ipaddress import AddressValueError, IPv4Interface, NetmaskValueError

from controllers.layout import Layout
from controllers.networks import bridge, creating, ipam, namespaces
from controllers.networks.host import Host
from store.crashpoints import crashpoint
from store.errors import InvalidParameterError
from store.objects import AddressLease, Container, Network, PortLease
from store.objects.meta import Meta
from store.objects.networks import IpamPool, NetworkSpec, NetworkStatus
from store.store import Store, Transaction

_BRIDGE_OPTIONS = {
    "com.docker.network.bridge.default_bridge": "true",
    creating.ENABLE_ICC: "true",
    creating.ENABLE_MASQUERADE: "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
    creating.MTU: "1500",
}


async def predefined(store: Store, layout: Layout, bip: str) -> None:
    """Have ``bridge``, ``host`` and ``none`` in the store; the bridge with the address ``bip``, when one is set.

    Raises InvalidParameterError for a malformed ``bip``.
    """
    asked = bridge_pool(bip)
    routes = await asyncio.to_thread(bridge.host_routes)
    name = f"{layout.prefix}b0"

    def write(transaction: Transaction) -> None:
        for plain, driver in (("none", "null"), ("host", "host")):
            if transaction.by_name(Network, plain) is None:
                spec = NetworkSpec(driver=driver, predefined=True)
                meta = Meta(uid=secrets.token_hex(32), name=plain)
                transaction.insert(Network(meta=meta, spec=spec, status=NetworkStatus(ready=True)))
        current = transaction.by_name(Network, "bridge")
        if current is not None and (not bip or asked in current.spec.pools):
            return
        others = [each for each in transaction.all(Network) if current is None or each.uid != current.uid]
        taken = [ipam.subnet_of(pool) for each in others for pool in each.spec.pools]
        pool = ipam.complete(asked, taken, routes)
        spec = NetworkSpec(
            pools=(pool,),
            requested=(asked,) if bip else (),
            options={**_BRIDGE_OPTIONS, creating.BRIDGE_NAME: name},
            bridge=name,
            predefined=True,
        )
        if current is None:
            network = Network(meta=Meta(uid=secrets.token_hex(32), name="bridge"), spec=spec)
            transaction.insert(network)
        else:
            network = current
            transaction.update(current.edited(spec=spec))
            for lease in transaction.where(AddressLease, "network", current.uid):
                if not lease.owner:
                    transaction.delete(AddressLease, lease.uid)
        creating.reserve(transaction, network.uid, pool)

    await store.commit(write)


def bridge_pool(bip: str) -> IpamPool:
    """The default bridge's network and address as asked for. InvalidParameterError when they cannot be."""
    if not bip:
        return IpamPool()
    try:
        interface = IPv4Interface(bip)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise InvalidParameterError(
            f"--bip {bip}: give an address with its prefix length, like 172.20.0.1/16"
        ) from None
    if interface.ip in (interface.network.network_address, interface.network.broadcast_address):
        raise InvalidParameterError(f"--bip {bip}: that is a network's address, give one of a host in it")
    if interface.network.prefixlen > 30:
        raise InvalidParameterError(f"--bip {bip}: the network has no room for containers")
    return IpamPool(subnet=str(interface.network), gateway=str(interface.ip))


def may_live(container: Container | None) -> bool:
    """Whether a container may have a sandbox: it runs as far as the store knows, or its loop is about to start it."""
    if container is None:
        return False
    status = container.status
    return container.running or status.phase == "restarting" or status.pid != 0 or container.start_pending


async def clear_away(store: Store, layout: Layout, host: Host) -> None:
    """Remove namespaces, links, leases and name servers that no row explains, and take up what those that run have."""
    living = {container.uid for container in store.containers if may_live(container)}

    def free(transaction: Transaction) -> None:
        for address in transaction.all(AddressLease):
            if address.owner and address.owner not in living:
                transaction.delete(AddressLease, address.uid)
        for port in transaction.all(PortLease):
            if port.owner not in living:
                transaction.delete(PortLease, port.uid)

    await store.commit(free)
    crashpoint("adoption.networks.freed")
    bridges = {network.spec.bridge for network in store.networks}
    kept = {
        endpoint.host_interface
        for container in store.containers
        if container.uid in living
        for endpoint in container.status.endpoints.values()
    }
    networks = {network.uid for network in store.networks}
    await asyncio.to_thread(_clear_host, layout, host, living, bridges | kept, networks)
    crashpoint("adoption.networks.cleared")
    numbers = await asyncio.to_thread(bridge.peer_namespaces)
    for container in store.containers:
        if container.running and container.status.endpoints:
            await _take_up(container, host, numbers)


def _clear_host(layout: Layout, host: Host, living: set[str], links: set[str], networks: set[str]) -> None:
    if layout.namespaces.is_dir():
        for path in layout.namespaces.iterdir():
            if path.name not in living:
                namespaces.drop(path)
    bridge.remove_links(link for link in bridge.ours(layout.prefix) if link.name not in links)
    for uid in host.names.networks():
        if uid not in networks:
            host.names.remove(uid)


async def _take_up(container: Container, host: Host, numbers: dict[str, int]) -> None:
    endpoints = container.status.endpoints
    found = [numbers[each.host_interface] for each in endpoints.values() if each.host_interface in numbers]
    host.remember(container.uid, endpoints, found[0] if found else -1)
    # Another program may have taken a port meanwhile; the container's rules come first in any case.
    await host.hold(container.uid, container.status.ports)
