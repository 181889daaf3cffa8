"""Connecting a container to a further network, and disconnecting it from one, whether it runs or not.

The store changes first; a running container's namespace is then mended to fit, so what a crash leaves undone is found
and done by the next look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from controllers.networks import leasing
from controllers.networks.ports import Chooser, wishes
from store.crashpoints import crashpoint
from store.errors import ConflictError, ForbiddenError, InvalidParameterError, NotFoundError
from store.objects import Container, Network, PortLease
from store.objects.containers import EndpointSpec, EndpointStatus, PublishedPort
from store.store import Store, Transaction

HOST_NETWORK = "container cannot be disconnected from host network or connected to host network"
SHARED_NAMESPACE = (
    "container sharing network namespace with another container or host cannot be connected to any other network"
)
PRIVATE_NETWORK = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


@dataclass(frozen=True)
class Changed:
    """What a change left: the container as stored, and for a disconnection the endpoint that it had."""

    container: Container
    gone: EndpointStatus | None = None


def check_connect(container: Container, network: Network, spec: EndpointSpec) -> None:
    """Refuse what cannot be connected. Raises store.errors in dockerd's words."""
    if network.spec.driver == "host":
        raise InvalidParameterError(HOST_NETWORK)
    if container.network_mode == "host" or container.network_mode.startswith("container:"):
        raise InvalidParameterError(SHARED_NAMESPACE)
    if network.spec.driver == "null" or container.network_mode == "none":
        raise InvalidParameterError(PRIVATE_NETWORK)
    leasing.check_endpoint(network, spec)


async def connect(
    store: Store, uid: str, network: Network, spec: EndpointSpec, chooser: Chooser, link_prefix: str
) -> Changed:
    """Commit the connection, for a running container with its lease. Raises store.errors in dockerd's words."""

    def change(transaction: Transaction) -> Changed:
        container = _current(transaction, uid)
        name = _known_as(transaction, container, network) or network.name
        endpoints = {**container.spec.endpoints, name: spec}
        changed = container.edited(spec=msgspec.structs.replace(container.spec, endpoints=endpoints))
        if not container.running:
            transaction.update(changed)
            return Changed(changed)
        if any(each.network == network.uid for each in container.status.endpoints.values()):
            raise ForbiddenError(f"endpoint with name {container.name} already exists in network {network.name}")
        if transaction.get(Network, network.uid) is None:
            raise NotFoundError(f"network {network.name} not found")
        interface = _free_interface(container.status.endpoints)
        live = leasing.lease_endpoint(transaction, container, network, spec, interface, link_prefix)
        changed = _with_endpoints(transaction, changed, {**container.status.endpoints, name: live}, chooser)
        transaction.update(changed)
        return Changed(changed)

    done = await store.commit(change)
    crashpoint("network.connect.committed")
    return done


async def disconnect(store: Store, uid: str, network: Network, chooser: Chooser) -> Changed:
    """Commit the disconnection. Raises store.errors in dockerd's words."""

    def change(transaction: Transaction) -> Changed:
        container = _current(transaction, uid)
        name = _known_as(transaction, container, network)
        if name is None:
            place = "network" if container.running else "the network"
            raise ConflictError(f"container {uid} is not connected to {place} {network.name}")
        endpoints = {key: spec for key, spec in container.spec.endpoints.items() if key != name}
        changed = container.edited(spec=msgspec.structs.replace(container.spec, endpoints=endpoints))
        gone = container.status.endpoints.get(name) if container.running else None
        transaction.emit(leasing.event(network, "disconnect", uid))
        if gone is not None:
            leasing.release_address(transaction, network.uid, gone.ipv4_address)
            live = {key: each for key, each in container.status.endpoints.items() if key != name}
            changed = _with_endpoints(transaction, changed, live, chooser)
        transaction.update(changed)
        return Changed(changed, gone)

    done = await store.commit(change)
    crashpoint("network.disconnect.committed")
    return done


def _current(transaction: Transaction, uid: str) -> Container:
    container = transaction.get(Container, uid)
    if container is None:
        raise NotFoundError(f"No such container: {uid}")
    if container.meta.deletion_requested_at is not None:
        raise ConflictError(
            f"Container {uid} is marked for removal and cannot be connected or disconnected to the network"
        )
    return container


def _known_as(transaction: Transaction, container: Container, network: Network) -> str | None:
    """The name under which a container has a network: clients may have given the network's id, or the start of one."""
    for name, spec in container.spec.endpoints.items():
        live = container.status.endpoints.get(name)
        if live is not None and live.network == network.uid:
            return name
        text = spec.network or name
        if text == network.name or (network.uid.startswith(text) and transaction.by_name(Network, text) is None):
            return name
    return None


def _free_interface(endpoints: Mapping[str, EndpointStatus]) -> str:
    taken = {endpoint.interface for endpoint in endpoints.values()}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def _with_endpoints(
    transaction: Transaction, container: Container, endpoints: dict[str, EndpointStatus], chooser: Chooser
) -> Container:
    """The container with these endpoints, and its ports leading to the one that is now its way to the world."""
    networks = _networks(transaction, endpoints)
    before = leasing.gateway_of(container.status.endpoints, _networks(transaction, container.status.endpoints))
    gateway = leasing.gateway_of(endpoints, networks)
    ports: tuple[PublishedPort, ...] = container.status.ports
    if gateway != before:
        for port in transaction.where(PortLease, "owner", container.uid):
            transaction.delete(PortLease, port.uid)
        if gateway is None:
            ports = ()
        elif ports:
            # The same host ports as before: who knows them goes on reaching the container.
            for published in ports:
                leasing.lease_port(transaction, container.uid, endpoints[gateway].ipv4_address, published)
        else:
            ports, _ = leasing.lease_ports(
                transaction, container, endpoints[gateway], wishes(container), chooser, avoid=()
            )
    status = msgspec.structs.replace(container.status, endpoints=endpoints, ports=ports)
    return msgspec.structs.replace(container, status=status)


def _networks(transaction: Transaction, endpoints: Mapping[str, EndpointStatus]) -> dict[str, Network]:
    found = {name: transaction.get(Network, endpoint.network) for name, endpoint in endpoints.items()}
    return {name: network for name, network in found.items() if network is not None}
