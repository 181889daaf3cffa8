"""The networks' loops: each network's bridge and name server, the host's rules and forwarding, each container's
namespace; made, compared, mended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from controllers.controller import Controller, Result
from controllers.manager import Manager
from controllers.networks import bridge, creating, ipam
from controllers.networks.bridge import Bridge
from controllers.networks.host import Host
from controllers.networks.names import Server
from controllers.networks.nftables import NftablesError
from controllers.repairs import repaired
from store.crashpoints import crashpoint
from store.objects import Event, Network
from store.objects.networks import NetworkStatus
from store.store import Change, Store, Transaction

HOST = "host"
_log = logging.getLogger(__name__)
_LASTING, _LONGEST_WAIT = 2.0, 60.0


def bridge_of(network: Network) -> Bridge:
    """The bridge that a network should have."""
    pool = network.spec.pools[0]
    return Bridge(
        name=network.spec.bridge,
        address=pool.gateway,
        prefix_length=ipam.subnet_of(pool).prefixlen,
        mtu=creating.mtu(network.spec.options),
    )


class NetworkLoop:
    """Keeps networks; ``mark`` is what our links carry as alias."""

    def __init__(self, store: Store, host: Host, mark: str, check_container: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._host = host
        self._mark = mark
        self._check_container = check_container
        self._networks = Controller("networks", self._reconcile, keys=self._keys, workers=4)
        self._sandboxes = Controller("sandboxes", self._sandbox, keys=lambda: list(host.connected), workers=4)
        self._servers: dict[str, asyncio.Task[None]] = {}
        self._early_ends: dict[str, int] = {}

    def register(self, manager: Manager) -> None:
        """Have the manager run these loops."""
        manager.add(self._networks)
        manager.add(self._sandboxes)
        manager.watch(Network, self._networks, _needs_look)

    def stop(self) -> None:
        """Watch name servers no longer; they run on."""
        for task in self._servers.values():
            task.cancel()
        self._servers.clear()

    def changed_bridge(self, name: str) -> None:
        """Something happened to a link of that name."""
        for network in self._store.networks:
            if network.spec.bridge and network.spec.bridge == name:
                self._networks.enqueue(network.uid)

    def changed_host(self) -> None:
        """Something happened to rules or forwarding. Others may change theirs often: ours are looked at some times a
        second at most."""
        self._networks.enqueue_after(HOST, 0.05)

    def changed_container(self, uid: str, seconds: float) -> None:
        """Something happened in a container's namespace, to be looked at in some seconds."""
        self._sandboxes.enqueue_after(uid, seconds)

    async def make_all(self) -> None:
        """Make everything so, at start, when nothing is drift. Raises OSError or NftablesError."""
        await asyncio.to_thread(bridge.enable_forwarding)
        for network in list(self._store.networks):
            if network.meta.deletion_requested_at is None:
                await self._make(network)
        await self._host.write_names(network.uid for network in self._store.networks)
        await self._host.replace_rules()

    def _keys(self) -> Iterable[str]:
        return [HOST, *(network.uid for network in self._store.networks)]

    async def _sandbox(self, uid: str) -> Result | None:
        await self._check_container(uid)
        return None

    async def _reconcile(self, key: str) -> Result | None:
        if key == HOST:
            await self._reconcile_host()
            return None
        network = self._store.networks.get(key)
        if network is None:
            return None
        if network.meta.deletion_requested_at is not None:
            await self._remove(network)
            return None
        try:
            mended = await self._make(network)
            if not network.status.ready:
                await self._host.replace_rules()
                crashpoint("network.make.ruled")
        except (OSError, NftablesError) as error:
            await self._tell(network, NetworkStatus(observed_generation=network.meta.generation, error=str(error)))
            raise
        status = NetworkStatus(observed_generation=network.meta.generation, ready=True)
        known = network.status.ready
        await self._tell(
            network, status, [repaired(each, "network", key, name=network.name) for each in mended if known]
        )
        return None

    async def _reconcile_host(self) -> None:
        events = []
        if await asyncio.to_thread(bridge.enable_forwarding):
            events.append(repaired("ip_forward off", "daemon"))
        if wrong := await self._host.mend_rules():
            events.append(repaired(f"nftables {wrong}", "daemon"))
        if events:
            await self._emit(events)

    async def _make(self, network: Network) -> list[str]:
        """Bridge, its ports and the name server as they should be; what had to be mended."""
        if network.spec.driver != "bridge":
            return []
        wanted = bridge_of(network)
        mended = await asyncio.to_thread(bridge.ensure, wanted, self._mark)
        crashpoint("network.make.bridged")
        if mended:
            ports = [
                endpoint.host_interface
                for endpoints in self._host.connected.values()
                for endpoint in endpoints.values()
                if endpoint.network == network.uid
            ]
            isolated = not creating.flag(network.spec.options, creating.ENABLE_ICC, True)
            await asyncio.to_thread(bridge.reconnect, wanted.name, ports, isolated)
        if not network.spec.predefined:
            server = Server(wanted.address, forward=not network.spec.internal)
            if await asyncio.to_thread(self._host.names.ensure, network.uid, server):
                # One that keeps ending is told once and then no more.
                if self._early_ends.get(network.uid, 0) <= 1:
                    mended.append("name server gone")
                await self._host.write_names([network.uid])
            self._watch_server(network.uid)
        return mended

    async def _remove(self, network: Network) -> None:
        if watch := self._servers.pop(network.uid, None):
            watch.cancel()
        self._early_ends.pop(network.uid, None)
        await asyncio.to_thread(self._host.names.remove, network.uid)
        self._host.forget_names(network.uid)
        crashpoint("network.remove.nameless")
        if network.spec.bridge:
            await asyncio.to_thread(bridge.remove, network.spec.bridge, self._mark)
        crashpoint("network.remove.unlinked")
        await self._store.commit(lambda transaction: creating.finish(transaction, network.uid))
        crashpoint("network.remove.finished")
        await self._host.replace_rules()

    def _watch_server(self, uid: str) -> None:
        running = self._servers.get(uid)
        if running is not None and not running.done():
            return

        async def watch() -> None:
            begun = time.monotonic()
            await self._host.names.ended(uid)
            if time.monotonic() - begun > _LASTING:
                self._early_ends.pop(uid, None)
                self._networks.enqueue(uid)
                return
            # It cannot start, say because something else of the host has port 53 everywhere: not without end.
            count = self._early_ends[uid] = self._early_ends.get(uid, 0) + 1
            reason = await asyncio.to_thread(self._host.names.last_words, uid)
            _log.warning("the name server of network %s ended at once: %s", uid[:12], reason)
            self._networks.enqueue_after(uid, min(0.1 * 2**count, _LONGEST_WAIT))

        self._servers[uid] = asyncio.create_task(watch(), name=f"names-{uid[:12]}")

    async def _tell(self, network: Network, status: NetworkStatus, events: Iterable[Event] = ()) -> None:
        events = list(events)

        def write(transaction: Transaction) -> None:
            current = transaction.get(Network, network.uid)
            if current is not None:
                transaction.update(msgspec.structs.replace(current, status=status))
            for event in events:
                transaction.emit(event)

        if status != network.status or events:
            await self._store.commit(write, durable=False)

    async def _emit(self, events: Iterable[Event]) -> None:
        def emit(transaction: Transaction) -> None:
            for event in events:
                transaction.emit(event)

        await self._store.commit(emit, durable=False)


def _needs_look(change: Change[Network]) -> Iterable[str]:
    """Our own status is no reason to look again."""
    before, after = change.before, change.after
    if after is None or (before is not None and before.status != after.status and before.spec == after.spec):
        return ()
    return (change.uid,)
