"""What this engine's networks are on the host right now: rules, held ports, names, and who is being worked on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from controllers.layout import Layout
from controllers.networks import conntrack, ipam, leasing
from controllers.networks.creating import ENABLE_MASQUERADE, flag
from controllers.networks.firewall import Firewall, Forwarding, Zone
from controllers.networks.names import NameServers, hosts_text
from controllers.networks.nftables import NftablesError
from controllers.networks.ports import Holder
from store.objects import Network
from store.objects.containers import EndpointStatus, PublishedPort
from store.store import Store

T = TypeVar("T")
_log = logging.getLogger(__name__)


def zones(networks: Iterable[Network]) -> list[Zone]:
    """The bridges that there should be rules for."""
    return [
        Zone(
            bridge=network.spec.bridge,
            subnet=str(ipam.subnet_of(network.spec.pools[0])),
            masquerade=flag(network.spec.options, ENABLE_MASQUERADE, True),
            internal=network.spec.internal,
        )
        for network in networks
        if network.spec.driver == "bridge"
    ]


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    takers: int = 0


class Host:
    """Use from the event loop's thread."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._holder = Holder()
        self.names = NameServers(layout.names)
        # One thread for all changes of rules: in order, and known as ours when the kernel tells of them.
        self._rules = ThreadPoolExecutor(1, thread_name_prefix="nftables")
        self.rules_thread = 0
        self._firewall: Firewall | None = None
        self._rules_lock = asyncio.Lock()
        self._zones: list[Zone] = []
        self._names_locks: dict[str, asyncio.Lock] = {}
        self._busy: dict[str, _Turn] = {}
        self._closed: set[str] = set()
        self._live: dict[str, dict[str, EndpointStatus]] = {}
        self._interfaces: dict[str, str] = {}
        self._namespaces: dict[int, str] = {}

    async def open(self) -> None:
        """Open the packet filter. Raises OSError without libnftables."""

        def make() -> Firewall:
            self.rules_thread = threading.get_native_id()
            return Firewall(self._layout.table)

        self._firewall = await asyncio.get_running_loop().run_in_executor(self._rules, make)

    async def close(self) -> None:
        """Let go of ports and threads; nothing on the host changes."""
        await asyncio.to_thread(self._holder.close)
        self._rules.shutdown(wait=False)

    @asynccontextmanager
    async def busy(self, uid: str) -> AsyncIterator[None]:
        """While inside, nobody else works on this container's network."""
        turn = self._busy.setdefault(uid, _Turn())
        turn.takers += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.takers -= 1
            if not turn.takers:
                del self._busy[uid]

    def is_busy(self, uid: str) -> bool:
        """Whether somebody works on this container's network."""
        return uid in self._busy

    def remember(self, uid: str, endpoints: Mapping[str, EndpointStatus], namespace: int) -> None:
        """This container is connected so, in the namespace that the kernel tells of by that number (-1: none)."""
        self._live[uid] = dict(endpoints)
        for endpoint in endpoints.values():
            if endpoint.host_interface:
                self._interfaces[endpoint.host_interface] = uid
        if namespace >= 0:
            self._namespaces[namespace] = uid

    def forget(self, uid: str) -> dict[str, EndpointStatus]:
        """This container is not connected any more; returns how it was."""
        endpoints = self._live.pop(uid, {})
        for endpoint in endpoints.values():
            self._interfaces.pop(endpoint.host_interface, None)
        self._namespaces = {number: owner for number, owner in self._namespaces.items() if owner != uid}
        return endpoints

    def owner_of_namespace(self, number: int) -> str | None:
        """The container whose namespace the kernel calls so."""
        return self._namespaces.get(number)

    def owner_of(self, host_interface: str) -> str | None:
        """The container that a link of the host belongs to."""
        return self._interfaces.get(host_interface)

    @property
    def connected(self) -> Mapping[str, Mapping[str, EndpointStatus]]:
        """All containers that are connected, with their endpoints."""
        return self._live

    def forwardings(self, uid: str) -> list[Forwarding]:
        """The rule elements of a container's leased ports."""
        found = (leasing.forwarding(port) for port in self._store.port_leases.where("owner", uid))
        return [each for each in found if each is not None]

    async def hold(self, uid: str, ports: Iterable[PublishedPort]) -> PublishedPort | None:
        """See ``Holder.hold``."""
        return await self._on_rules_thread(lambda: self._holder.hold(uid, ports))

    async def publish(self, uid: str, forwardings: Iterable[Forwarding]) -> None:
        """Open a container's ports. Raises NftablesError when the kernel refuses even a table made anew."""
        wanted = list(forwardings)
        self._closed.discard(uid)
        if not wanted:
            return
        async with self._rules_lock:
            firewall = self._opened()
            try:
                await self._on_rules_thread(lambda: firewall.open(wanted))
            except NftablesError:
                # The table is gone, or holds something stale under that key.
                await self._replace()
        await _forget_udp(wanted)

    async def unpublish(self, uid: str, forwardings: Iterable[Forwarding]) -> None:
        """Close a container's ports and let go of them; none there is fine. Until ``publish`` or ``given_back`` they
        stay closed, whoever makes the table anew meanwhile: their leases are still there."""
        wanted = list(forwardings)
        self._closed.add(uid)
        if not wanted:
            return
        async with self._rules_lock:
            firewall = self._opened()
            if not await self._on_rules_thread(lambda: self._close(firewall, uid, wanted)):
                await self._replace(without=wanted)
        await _forget_udp(wanted)

    def given_back(self, uid: str) -> None:
        """A container's leases are gone."""
        self._closed.discard(uid)

    def _close(self, firewall: Firewall, uid: str, wanted: list[Forwarding]) -> bool:
        closed = firewall.close(wanted)
        self._holder.release(uid)
        return closed

    async def replace_rules(self) -> None:
        """Make the whole table anew from networks and leases."""
        async with self._rules_lock:
            await self._replace()

    async def mend_rules(self) -> str:
        """Compare the table with networks and leases and make it anew if it differs; returns what was wrong, as
        ``Firewall.differs`` says it, or nothing."""
        async with self._rules_lock:
            firewall = self._opened()
            # The zones that we made: a network that is just coming or going is no drift.
            known, (ports, unsure) = self._zones, self._ports()
            wrong = await self._on_rules_thread(lambda: firewall.differs(known, ports, unsure))
            if wrong:
                await self._replace()
            return wrong

    async def _replace(self, without: Iterable[Forwarding] = ()) -> None:
        firewall = self._opened()
        ports, unsure = self._ports()
        closed = {forwarding for uid in self._closed for forwarding in self.forwardings(uid)}
        wanted_zones, wanted = zones(self._store.networks), {*ports, *unsure} - set(without) - closed
        await self._on_rules_thread(lambda: firewall.replace(wanted_zones, sorted(wanted)))
        self._zones = wanted_zones

    def _ports(self) -> tuple[set[Forwarding], set[Forwarding]]:
        """What should be open, and what may or may not be because its container is being worked on."""
        sure: set[Forwarding] = set()
        unsure: set[Forwarding] = set()
        for port in self._store.port_leases:
            if (forwarding := leasing.forwarding(port)) is not None:
                (unsure if self.is_busy(port.owner) else sure).add(forwarding)
        return sure, unsure

    def _opened(self) -> Firewall:
        if self._firewall is None:
            raise RuntimeError("the packet filter is not open")
        return self._firewall

    async def _on_rules_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._rules, work)

    async def write_names(self, networks: Iterable[str]) -> None:
        """Have the name servers of these networks know what is leased; networks without names are passed over."""
        for uid in set(networks):
            network = self._store.networks.get(uid)
            if network is None or network.spec.driver != "bridge" or network.spec.predefined:
                continue
            # Several starts at once find their names written by the first that comes through.
            async with self._names_locks.setdefault(uid, asyncio.Lock()):
                text = hosts_text(
                    (lease.address, lease.meta.labels[leasing.NAMES].split())
                    for lease in self._store.address_leases.where("network", uid)
                    if leasing.NAMES in lease.meta.labels
                )
                await asyncio.to_thread(self.names.write, uid, text)

    def forget_names(self, network: str) -> None:
        """The network is gone."""
        self._names_locks.pop(network, None)


async def _forget_udp(forwardings: Iterable[Forwarding]) -> None:
    """Have senders to ports just opened or closed be led anew."""
    if ports := {each.port for each in forwardings if each.protocol == "udp"}:
        try:
            await asyncio.to_thread(conntrack.forget_udp, ports)
        except OSError as error:
            # The ports themselves are as they should be.
            _log.warning("old UDP connections may go on to where they went: %s", error)
