"""How networks come and go in the store; the loop in ``reconcile`` makes the host follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from ipaddress import IPv4Network

import msgspec

from controllers.layout import Layout
from controllers.networks import bridge, ipam, leasing
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, ForbiddenError
from store.objects import AddressLease, Network
from store.objects.networks import IpamPool
from store.store import NameTakenError, Store, Transaction

FINALIZER = "networks"
BRIDGE_NAME = "com.docker.network.bridge.name"
ENABLE_ICC = "com.docker.network.bridge.enable_icc"
ENABLE_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
MTU = "com.docker.network.driver.mtu"
_PATIENCE = 30.0


def flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    """A driver option that says yes or no; admission has checked its spelling."""
    text = options.get(name, "")
    return text.lower() in ("1", "t", "true") if text else default


def mtu(options: Mapping[str, str]) -> int:
    """The links' MTU in bytes; admission has checked that it is a number."""
    return int(options.get(MTU) or 0) or 1500


async def create(store: Store, layout: Layout, network: Network) -> Network:
    """Commit a new network with its subnet, wait until it is on the host, and return it.

    Raises store.errors in dockerd's words. A network that cannot be made on the host is taken back.
    """
    routes = await asyncio.to_thread(bridge.host_routes)
    name = network.spec.options.get(BRIDGE_NAME) or f"{layout.prefix}b{network.uid[:6]}"

    def insert(transaction: Transaction) -> None:
        _check_bridge_name(transaction, network, name)
        pool = _pool(transaction, network, routes)
        spec = msgspec.structs.replace(network.spec, pools=(pool,), bridge=name)
        made = msgspec.structs.replace(network, spec=spec).with_meta(finalizers=(FINALIZER,))
        try:
            transaction.insert(made)
        except NameTakenError:
            raise ConflictError(f"network with name {network.name} already exists") from None
        reserve(transaction, network.uid, pool)
        transaction.emit(leasing.event(network, "create"))

    await store.commit(insert)
    crashpoint("network.create.committed")
    made = await store.wait_for(
        Network, network.uid, lambda each: each is None or each.status.ready or bool(each.status.error), _PATIENCE
    )
    if made is None or made.status.error:
        error = made.status.error if made is not None else "it was removed meanwhile"
        await _take_back(store, network)
        raise EngineError(f"failed to create network {network.name}: {error}")
    return made


def _pool(transaction: Transaction, network: Network, routes: list[IPv4Network]) -> IpamPool:
    taken = [ipam.subnet_of(pool) for each in transaction.all(Network) for pool in each.spec.pools]
    asked = network.spec.requested[0] if network.spec.requested else IpamPool()
    return ipam.complete(asked, taken, routes)


def _check_bridge_name(transaction: Transaction, network: Network, name: str) -> None:
    for other in transaction.all(Network):
        if other.spec.bridge == name:
            raise ForbiddenError(
                f"cannot create network {network.uid} ({name}): conflicts with network {other.uid} "
                f"({name}): networks have same bridge name"
            )


def reserve(transaction: Transaction, network: str, pool: IpamPool) -> None:
    """Lease the gateway's and the auxiliary addresses to nobody."""
    for address in {pool.gateway, *pool.auxiliary_addresses.values()}:
        transaction.insert(leasing.address_lease(network, address, ""))


async def remove(store: Store, network: Network) -> None:
    """Mark a network for removal, once no container uses it, and wait until it is gone.

    Raises ForbiddenError in dockerd's words.
    """

    def mark(transaction: Transaction) -> None:
        current = transaction.get(Network, network.uid)
        if current is None or current.meta.deletion_requested_at is not None:
            return
        if any(lease.owner for lease in transaction.where(AddressLease, "network", network.uid)):
            raise ForbiddenError(
                f"error while removing network: network {network.name} id {network.uid} has active endpoints"
            )
        transaction.update(current.with_meta(deletion_requested_at=time.time_ns()))
        transaction.emit(leasing.event(network, "destroy"))

    await store.commit(mark)
    crashpoint("network.remove.committed")
    await store.wait_for(Network, network.uid, lambda each: each is None, _PATIENCE)


async def _take_back(store: Store, network: Network) -> None:
    def drop(transaction: Transaction) -> None:
        current = transaction.get(Network, network.uid)
        if current is not None and current.meta.deletion_requested_at is None:
            transaction.update(current.with_meta(deletion_requested_at=time.time_ns()))
            transaction.emit(leasing.event(network, "destroy"))

    await store.commit(drop)


def finish(transaction: Transaction, uid: str) -> None:
    """Remove a network's row with the addresses that it had reserved."""
    for lease in transaction.where(AddressLease, "network", uid):
        transaction.delete(AddressLease, lease.uid)
    transaction.delete(Network, uid)
