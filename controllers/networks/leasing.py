"""Addresses and ports of a container, leased in one transaction: all or nothing, no two containers the same.

The leases say all that the host needs for them (the names of an address, the target of a port), so rules and name
servers are functions of the leases alone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from controllers.networks import ipam
from controllers.networks.firewall import Forwarding
from controllers.networks.ports import Chooser, PortTakenError, Wish
from store.errors import EngineError, InvalidParameterError, NotFoundError
from store.objects import AddressLease, Container, Event, Network, PortLease
from store.objects.containers import EndpointSpec, EndpointStatus, PublishedPort
from store.objects.meta import Meta
from store.store import Transaction

NAMES = "names"
TARGET = "target"
# What may stand in a hosts file: a name from a client must not become a second line there.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Leased:
    """What a container got."""

    endpoints: dict[str, EndpointStatus]
    ports: tuple[PublishedPort, ...]
    forwardings: tuple[Forwarding, ...]


def user_defined(network: Network) -> bool:
    """Whether names resolve on it and addresses may be asked for."""
    return not network.spec.predefined


def lease(
    transaction: Transaction,
    container: Container,
    networks: Mapping[str, Network],
    wishes: Sequence[Wish],
    chooser: Chooser,
    avoid: Collection[tuple[str, str, int]],
    link_prefix: str,
) -> Leased:
    """Lease for each of ``networks`` (by the name under which the container knows it) and for each wished port.

    What the container held before is given back first, so it may be run again. Raises store.errors in dockerd's words.
    """
    release(transaction, container.uid)
    endpoints: dict[str, EndpointStatus] = {}
    for position, (name, stale) in enumerate(networks.items()):
        network = transaction.get(Network, stale.uid)
        if network is None or network.meta.deletion_requested_at is not None:
            raise NotFoundError(f"network {name} not found")
        spec = container.spec.endpoints.get(name) or EndpointSpec(network=name)
        endpoints[name] = lease_endpoint(transaction, container, network, spec, f"eth{position}", link_prefix)
    gateway = gateway_of(endpoints, networks)
    if gateway is None:
        return Leased(endpoints, (), ())
    published, forwardings = lease_ports(transaction, container, endpoints[gateway], wishes, chooser, avoid)
    return Leased(endpoints, published, forwardings)


def lease_ports(
    transaction: Transaction,
    container: Container,
    endpoint: EndpointStatus,
    wishes: Sequence[Wish],
    chooser: Chooser,
    avoid: Collection[tuple[str, str, int]],
) -> tuple[tuple[PublishedPort, ...], tuple[Forwarding, ...]]:
    """Lease each wished port, to lead to this endpoint. Raises EngineError in dockerd's words."""
    published, forwardings = [], []
    try:
        for wish in wishes:
            port = chooser.choose(wish, _taken(transaction), avoid)
            published.append(port)
            forwardings.append(lease_port(transaction, container.uid, endpoint.ipv4_address, port))
    except PortTakenError as error:
        raise EngineError(external_failure(container, endpoint, str(error))) from None
    return tuple(published), tuple(forwardings)


def external_failure(container: Container, endpoint: EndpointStatus, reason: str) -> str:
    """dockerd's words for ports that could not be published."""
    return (
        f"driver failed programming external connectivity on endpoint {container.name} "
        f"({endpoint.endpoint_id}): {reason}"
    )


def gateway_of(endpoints: Mapping[str, EndpointStatus], networks: Mapping[str, Network]) -> str | None:
    """The network through which a container reaches the world and is reached: of those that are not internal the first
    by name, as dockerd has it."""
    for name, endpoint in sorted(endpoints.items()):
        if endpoint.ipv4_address and name in networks and not networks[name].spec.internal:
            return name
    return None


def lease_endpoint(
    transaction: Transaction,
    container: Container,
    network: Network,
    spec: EndpointSpec,
    interface: str,
    link_prefix: str,
) -> EndpointStatus:
    """One endpoint, with an address when the network has any; told in ``/events``."""
    check_endpoint(network, spec)
    endpoint_id = secrets.token_hex(32)
    transaction.emit(event(network, "connect", container.uid))
    if network.spec.driver != "bridge":
        return EndpointStatus(network=network.uid, endpoint_id=endpoint_id)
    pool = network.spec.pools[0]
    used = {each.address for each in transaction.where(AddressLease, "network", network.uid)}
    address = ipam.choose_address(pool, used, spec.ipv4_address)
    names = dns_names(container, spec) if user_defined(network) else ()
    transaction.insert(address_lease(network.uid, address, container.uid, names))
    return EndpointStatus(
        network=network.uid,
        endpoint_id=endpoint_id,
        ipv4_address=address,
        prefix_length=ipam.subnet_of(pool).prefixlen,
        gateway=pool.gateway,
        mac_address=spec.mac_address.lower() or ipam.mac_for(address),
        interface=interface,
        host_interface=link_prefix + _short(endpoint_id),
        dns_names=names,
    )


def tell_disconnected(transaction: Transaction, uid: str, endpoints: Mapping[str, EndpointStatus]) -> None:
    """Emit that a container is not on these networks any more."""
    for endpoint in endpoints.values():
        if (network := transaction.get(Network, endpoint.network)) is not None:
            transaction.emit(event(network, "disconnect", uid))


def check_endpoint(network: Network, spec: EndpointSpec) -> None:
    """Refuse what this network cannot give, in dockerd's words (InvalidParameterError)."""
    if spec.ipv4_address and not user_defined(network):
        raise InvalidParameterError("user specified IP address is supported on user defined networks only")
    if spec.ipv4_address and not any(pool.subnet for pool in network.spec.requested):
        raise InvalidParameterError(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    if spec.aliases and not user_defined(network):
        raise InvalidParameterError("network-scoped alias is supported only for containers in user defined networks")


def dns_names(container: Container, spec: EndpointSpec) -> tuple[str, ...]:
    """The names of a container on a user-defined network, its own first (its address resolves to that one)."""
    hostname = container.spec.config.hostname
    names = [container.name, *spec.aliases, container.uid[:12]]
    if hostname and "." not in hostname:
        names.append(hostname)
    return tuple(dict.fromkeys(name for name in names if _NAME.fullmatch(name)))


def rename(transaction: Transaction, owner: str, before: str, after: str) -> None:
    """Have a container's addresses known by its new name instead of the old one."""
    for lease in transaction.where(AddressLease, "owner", owner):
        if NAMES in lease.meta.labels:
            names = [after if name == before else name for name in lease.meta.labels[NAMES].split()]
            if names == lease.meta.labels[NAMES].split():
                continue
            transaction.update(lease.with_meta(labels={**lease.meta.labels, NAMES: " ".join(names)}))


def release(transaction: Transaction, owner: str) -> None:
    """Give back all that a container leased."""
    for address in transaction.where(AddressLease, "owner", owner):
        transaction.delete(AddressLease, address.uid)
    for port in transaction.where(PortLease, "owner", owner):
        transaction.delete(PortLease, port.uid)


def release_address(transaction: Transaction, network: str, address: str) -> None:
    """Give back one address; not leased is fine."""
    transaction.delete(AddressLease, f"{network}/{address}")


def address_lease(network: str, address: str, owner: str, names: Sequence[str] = ()) -> AddressLease:
    """A row for a taken address."""
    key = f"{network}/{address}"
    labels = {NAMES: " ".join(names)} if names else {}
    return AddressLease(meta=Meta(uid=key, name=key, labels=labels), network=network, address=address, owner=owner)


def event(network: Network, action: str, container: str = "") -> Event:
    """An event of a network; ``container`` for connect and disconnect."""
    attributes = {"name": network.name, "type": network.spec.driver}
    if container:
        attributes["container"] = container
    return Event(type="network", action=action, actor=network.uid, attributes=attributes)


def forwarding(port: PortLease) -> Forwarding | None:
    """The rule element that a leased port stands for."""
    target, _, number = port.meta.labels.get(TARGET, "").partition(":")
    if not number:
        return None
    return Forwarding(port.protocol, port.address, port.port, target, int(number))


def lease_port(transaction: Transaction, owner: str, address: str, port: PublishedPort) -> Forwarding:
    """A row for a taken port, and the rule element that it stands for."""
    key = f"{port.protocol}/{port.host_ip}/{port.host_port}"
    meta = Meta(uid=key, name=key, labels={TARGET: f"{address}:{port.container_port}"})
    transaction.insert(
        PortLease(meta=meta, protocol=port.protocol, address=port.host_ip, port=port.host_port, owner=owner)
    )
    return Forwarding(port.protocol, port.host_ip, port.host_port, address, port.container_port)


def _taken(transaction: Transaction) -> Callable[[str, str, int], bool]:
    """Whether a port is leased on just that address. One on all addresses and one on a single address get in each
    other's way too; that the host itself tells when they are held, as it does dockerd."""
    return lambda protocol, address, port: transaction.by_name(PortLease, f"{protocol}/{address}/{port}") is not None


def _short(endpoint_id: str) -> str:
    """Six characters for a link's name (IFNAMSIZ leaves no more): 31 bits of the endpoint's random id."""
    number, text = int(endpoint_id, 16), ""
    for _ in range(6):
        number, digit = divmod(number, len(_NAME_DIGITS))
        text += _NAME_DIGITS[digit]
    return text
