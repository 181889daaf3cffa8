"""Networks for the rest of the engine: start, attach a container, detach it, look after it, write its files."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from controllers.containers import process
from controllers.layout import Layout
from controllers.manager import Manager
from controllers.mounts import entries
from controllers.networks import (
    bridge,
    connecting,
    creating,
    leasing,
    linking,
    namespaces,
    sandbox,
    sandbox_files,
    startup,
)
from controllers.networks.firewall import Forwarding
from controllers.networks.host import Host
from controllers.networks.leasing import Leased
from controllers.networks.ports import Chooser, PortTakenError, listen_text, wishes
from controllers.networks.reconcile import NetworkLoop
from controllers.networks.sandbox import Interface
from controllers.networks.watch import Watcher
from controllers.repairs import repaired
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, InvalidParameterError, NotFoundError
from store.objects import Container, Network
from store.objects.containers import EndpointSpec, EndpointStatus, PublishedPort
from store.store import Change, Store, Transaction

REFIT = "refit"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attachment:
    """A container's connection: its network namespace (None: the host's own), its endpoints by network name, and the
    ports that answer on the host."""

    namespace: Path | None
    endpoints: dict[str, EndpointStatus]
    ports: tuple[PublishedPort, ...]
    sandbox_id: str


class NetworkService:
    """All networks of one engine. ``bip`` is the default bridge's address with prefix length, or empty: choose."""

    def __init__(self, store: Store, layout: Layout, *, bip: str = "") -> None:
        self._store = store
        self._layout = layout
        self._bip = bip
        self._chooser = Chooser()
        self._unwatch: Callable[[], None] = lambda: None
        # Ended containers whose disconnection has been told, until it is done.
        self._told: set[str] = set()
        self._renaming: set[asyncio.Task[None]] = set()
        self._host = Host(store, layout)
        self._links = linking.LinkWatch(store, self._host, layout, self._find)
        self._loop = NetworkLoop(store, self._host, layout.prefix, self._check_uid)
        self._watcher = Watcher(
            self._host,
            changed_bridge=self._loop.changed_bridge,
            changed_container=self._loop.changed_container,
            changed_host=self._loop.changed_host,
        )

    def register(self, manager: Manager) -> None:
        """Have the manager run the network loop; call after ``start``."""
        self._loop.register(manager)

    async def start(self) -> None:
        """Predefined networks, their bridges, the packet rules; clears away what no row explains; begins to watch.

        Raises OSError or NftablesError when this host cannot have networks, store.errors.EngineError for a wrong
        ``bip``.
        """
        await self._host.open()
        await startup.predefined(self._store, self._layout, self._bip)
        await startup.clear_away(self._store, self._layout, self._host)
        await self._loop.make_all()
        await self._refit_noted()
        self._watcher.start()
        self._links.start()
        self._unwatch = self._store.on_change(Container, self._on_container)

    async def stop(self) -> None:
        """Stop watching. What containers need stays on the host."""
        self._unwatch()
        self._watcher.stop()
        await self._links.stop()
        self._loop.stop()
        await self._host.close()

    def look_at_mounts(self, gone: frozenset[str]) -> None:
        """Mounts have gone from the host: have the loop look at the containers whose namespace is kept no longer."""
        for uid in entries(self._layout.namespaces, gone) & set(self._host.connected):
            container = self._store.containers.get(uid)
            if container is None or not container.running or container.network_mode == "host":
                continue
            if not self._host.is_busy(uid) and not namespaces.exists(self._layout.namespaces / uid):
                self._loop.changed_container(uid, 0.0)

    def _on_container(self, change: Change[Container]) -> None:
        before, after = change.before, change.after
        if before is None or after is None or before.name == after.name:
            return
        task = asyncio.create_task(self._rename(after.uid, before.name, after.name), name=f"rename-{after.uid[:12]}")
        self._renaming.add(task)
        task.add_done_callback(self._renaming.discard)

    def rename(self, transaction: Transaction, container: Container, before: str) -> None:
        """In the transaction that renames a container: its addresses get its new name too."""
        leasing.rename(transaction, container.uid, before, container.name)

    async def _rename(self, uid: str, before: str, after: str) -> None:
        async with self._host.busy(uid):
            # Once more, for a start that was leasing under the old name just then.
            await self._store.commit(lambda transaction: leasing.rename(transaction, uid, before, after))
            crashpoint("container.rename.leased")
            await self._host.write_names(lease.network for lease in self._store.address_leases.where("owner", uid))

    def resolve(self, text: str) -> Network:
        """A network by id, name or id prefix. Raises NotFoundError, InvalidParameterError when ambiguous."""
        found = self._store.networks.get(text) or self._store.networks.by_name(text)
        if found is not None:
            return found
        matches = self._store.networks.by_prefix(text) if text else []
        if len(matches) > 1:
            raise InvalidParameterError(
                f"network {text} is ambiguous ({len(matches)} matches found based on ID prefix)"
            )
        if not matches:
            raise NotFoundError(f"network {text} not found")
        return matches[0]

    async def create(self, network: Network) -> Network:
        """Commit a new network (pools completed, gateway leased) and wait until it is on the host.

        Raises store.errors in dockerd's words; then there is no network.
        """
        return await creating.create(self._store, self._layout, network)

    async def remove(self, network: Network) -> None:
        """Ask for a network's removal and wait until it is gone. Raises ForbiddenError while containers use it."""
        await creating.remove(self._store, network)

    async def attach(self, container: Container) -> Attachment:
        """Lease and make all that a container needs of the network; run again, it begins anew.

        Raises store.errors in dockerd's words (ports and addresses taken, unknown networks), OSError and NftablesError
        when the host refuses; then nothing is left of it.
        """
        networks = self._networks(container)
        mode = container.network_mode
        if mode.startswith("container:"):
            return self._joined(mode.removeprefix("container:"))
        async with self._host.busy(container.uid):
            try:
                return await self._attach(container, networks)
            except BaseException:
                # Also when cancelled: nobody would know of what has been made so far.
                await asyncio.shield(self._release(container, {}))
                raise

    async def _attach(self, container: Container, networks: Mapping[str, Network]) -> Attachment:
        leased = await self._lease(container, networks)
        crashpoint("network.attach.leased")
        if container.network_mode == "host":
            self._host.remember(container.uid, leased.endpoints, -1)
            return Attachment(None, leased.endpoints, (), secrets.token_hex(32))
        path = self._layout.namespaces / container.uid
        interfaces = self._interfaces(leased.endpoints)
        number = await namespaces.on_own_thread(partial(sandbox.create, path, interfaces))
        crashpoint("network.attach.made")
        await self._host.publish(container.uid, leased.forwardings)
        crashpoint("network.attach.published")
        await self._host.write_names(endpoint.network for endpoint in leased.endpoints.values())
        crashpoint("network.attach.named")
        self._host.remember(container.uid, leased.endpoints, number)
        return Attachment(path, leased.endpoints, leased.ports, secrets.token_hex(32))

    async def _lease(self, container: Container, networks: Mapping[str, Network]) -> Leased:
        wanted = wishes(container) if any(network.spec.driver == "bridge" for network in networks.values()) else []
        refused: set[tuple[str, str, int]] = set()
        prefix = f"{self._layout.prefix}v"
        while True:
            leased = await self._store.commit(
                lambda transaction: leasing.lease(
                    transaction, container, networks, wanted, self._chooser, refused, prefix
                ),
                durable=False,
            )
            gateway = leasing.gateway_of(leased.endpoints, networks)
            if gateway is None or not leased.ports:
                return leased
            try:
                busy = await self._host.hold(container.uid, leased.ports)
            except PortTakenError as error:
                raise EngineError(leasing.external_failure(container, leased.endpoints[gateway], str(error))) from None
            if busy is None:
                return leased
            key = (busy.protocol, busy.host_ip, busy.host_port)
            if any(wish.protocol == busy.protocol and wish.first == wish.last == busy.host_port for wish in wanted):
                text = listen_text(busy, "address already in use")
                raise EngineError(leasing.external_failure(container, leased.endpoints[gateway], text))
            refused.add(key)

    def _networks(self, container: Container) -> dict[str, Network]:
        if container.spec.config.network_disabled:
            return {}
        return {name: self.resolve(spec.network or name) for name, spec in container.spec.endpoints.items()}

    def _joined(self, text: str) -> Attachment:
        other = self._find(text)
        if other is None:
            raise NotFoundError(f"No such container: {text}")
        if not other.running:
            raise ConflictError(f"cannot join network of a non running container: {other.uid}")
        if other.network_mode == "host":
            return Attachment(None, {}, (), "")
        if other.network_mode.startswith("container:"):
            return self._joined(other.network_mode.removeprefix("container:"))
        return Attachment(self._layout.namespaces / other.uid, {}, (), "")

    def _find(self, text: str) -> Container | None:
        containers = self._store.containers
        found = containers.get(text) or containers.by_name(text.removeprefix("/"))
        matches = containers.by_prefix(text) if found is None and text else []
        return matches[0] if len(matches) == 1 else found

    def _interfaces(self, endpoints: Mapping[str, EndpointStatus]) -> list[Interface]:
        found = []
        networks = {
            name: network
            for name, endpoint in endpoints.items()
            if endpoint.ipv4_address and (network := self._store.networks.get(endpoint.network)) is not None
        }
        # Of an internal network the gateway leads nowhere, but as with dockerd it is there if there is no other.
        routed = leasing.gateway_of({name: endpoints[name] for name in networks}, networks) or next(iter(networks), "")
        for name, network in networks.items():
            endpoint = endpoints[name]
            found.append(
                Interface(
                    name=endpoint.interface,
                    host_name=endpoint.host_interface,
                    bridge=network.spec.bridge,
                    address=endpoint.ipv4_address,
                    prefix_length=endpoint.prefix_length,
                    gateway=endpoint.gateway if name == routed else "",
                    mac_address=endpoint.mac_address,
                    mtu=creating.mtu(network.spec.options),
                    isolated=not creating.flag(network.spec.options, creating.ENABLE_ICC, True),
                )
            )
        return found

    async def detach(self, container: Container) -> None:
        """Take down and give back all that a container has of the network; nothing there is fine."""
        async with self._host.busy(container.uid):
            await asyncio.shield(self._release(container, container.status.endpoints))

    async def _release(self, container: Container, endpoints: Mapping[str, EndpointStatus]) -> None:
        uid = container.uid
        live = self._host.forget(uid)
        told = uid in self._told
        self._told.discard(uid)
        forwardings = self._host.forwardings(uid)
        await self._host.unpublish(uid, forwardings)
        crashpoint("network.detach.unpublished")
        await asyncio.to_thread(namespaces.drop, self._layout.namespaces / uid)
        crashpoint("network.detach.dropped")
        affected = {lease.network for lease in self._store.address_leases.where("owner", uid)}
        gone = live or (endpoints if affected else {})

        def give_back(transaction: Transaction) -> None:
            leasing.release(transaction, uid)
            if not told:
                leasing.tell_disconnected(transaction, uid, gone)

        if affected or gone or self._store.port_leases.where("owner", uid):
            await self._store.commit(give_back, durable=False)
        self._host.given_back(uid)
        crashpoint("network.detach.returned")
        await self._host.write_names(affected)

    def tell_disconnected(self, transaction: Transaction, container: Container) -> None:
        """The events of a container's disconnection, told with its end: ``detach``, which follows, takes time."""
        leasing.tell_disconnected(transaction, container.uid, container.status.endpoints)

    def was_told_disconnected(self, uid: str) -> None:
        """What ``tell_disconnected`` told is committed, and ``detach`` need not tell it."""
        self._told.add(uid)

    async def connect(self, container: Container, network: Network, spec: EndpointSpec) -> None:
        """Connect a container, running or not, to a network. Raises store.errors in dockerd's words."""
        connecting.check_connect(container, network, spec)
        async with self._host.busy(container.uid), self._refitting(container):
            before = self._host.forwardings(container.uid)
            prefix = f"{self._layout.prefix}v"
            changed = await connecting.connect(self._store, container.uid, network, spec, self._chooser, prefix)
            await self._refit(changed.container, before)

    async def disconnect(self, container: Container, network: Network) -> None:
        """Disconnect a container, running or not, from a network. Raises store.errors in dockerd's words."""
        if network.spec.driver == "host":
            raise InvalidParameterError(connecting.HOST_NETWORK)
        async with self._host.busy(container.uid), self._refitting(container):
            before = self._host.forwardings(container.uid)
            changed = await connecting.disconnect(self._store, container.uid, network, self._chooser)
            if changed.gone is not None and changed.gone.interface:
                path = self._layout.namespaces / container.uid
                await namespaces.on_own_thread(partial(sandbox.unplug, path, changed.gone.interface))
                crashpoint("network.disconnect.unplugged")
                await self._host.write_names([network.uid])
            await self._refit(changed.container, before)

    @asynccontextmanager
    async def _refitting(self, container: Container) -> AsyncIterator[None]:
        """Note beside a running container that its network is being changed: after a crash it is refitted."""
        if not container.running:
            yield
            return
        note = self._layout.bundle(container.uid) / REFIT
        await asyncio.to_thread(note.touch)
        try:
            yield
        finally:
            await asyncio.to_thread(note.unlink, missing_ok=True)

    async def _refit_noted(self) -> None:
        for container in list(self._store.containers):
            note = self._layout.bundle(container.uid) / REFIT
            if not container.running or not note.exists():
                continue
            try:
                async with self._host.busy(container.uid):
                    await self._refit(container, self._host.forwardings(container.uid))
            except (EngineError, OSError) as error:
                # It may have ended while nobody looked.
                _log.warning("container %s could not be refitted: %s", container.uid, error)
            note.unlink(missing_ok=True)

    async def _refit(self, container: Container, before: list[Forwarding]) -> None:
        """Make a running container's namespace, ports, names and files fit its endpoints."""
        if not container.running:
            return
        endpoints, path = container.status.endpoints, self._layout.namespaces / container.uid
        await namespaces.on_own_thread(partial(sandbox.mend, path, self._interfaces(endpoints)))
        crashpoint("network.refit.plugged")
        after = self._host.forwardings(container.uid)
        if set(after) != set(before):
            await self._host.unpublish(container.uid, before)
            try:
                await self._host.hold(container.uid, container.status.ports)
            finally:
                await self._host.publish(container.uid, after)
        crashpoint("network.refit.published")
        await self._host.write_names(endpoint.network for endpoint in endpoints.values())
        numbers = await asyncio.to_thread(bridge.peer_namespaces)
        known = [numbers[each.host_interface] for each in endpoints.values() if each.host_interface in numbers]
        self._host.forget(container.uid)
        self._host.remember(container.uid, endpoints, known[0] if known else -1)
        attachment = Attachment(path, endpoints, container.status.ports, container.status.sandbox_id)
        texts = {"hosts": self.hosts(container, attachment), "resolv.conf": self.resolv_conf(container, attachment)}
        await asyncio.to_thread(_rewrite, self._layout.container(container.uid), texts)

    async def check(self, container: Container) -> None:
        """Mend a running container's namespace: links, addresses, routes, and the mount that keeps it.

        Each thing mended is counted and told in ``/events``. Raises OSError when mending fails.
        """
        if not container.running or not container.status.endpoints or self._host.is_busy(container.uid):
            return
        interfaces = self._interfaces(container.status.endpoints)
        path = self._layout.namespaces / container.uid
        if container.network_mode == "host":
            return
        async with self._host.busy(container.uid):
            current = self._store.containers.get(container.uid)
            status = container.status
            # It may have ended, and been taken down, while we waited for our turn.
            if current is None or not current.running or not process.same(status.pid, status.pid_start_time):
                return
            remounted = await asyncio.to_thread(namespaces.remount, path, container.status.pid)
            wrong = ["namespace unmounted"] if remounted else []
            wrong += await namespaces.on_own_thread(partial(sandbox.mend, path, interfaces))
            for interface in interfaces:
                wrong += await asyncio.to_thread(sandbox.replug, interface)
        if not wrong:
            return
        events = [repaired(reason, "container", container.uid, name=container.name) for reason in wrong]

        def tell(transaction: Transaction) -> None:
            for event in events:
                transaction.emit(event)

        await self._store.commit(tell, durable=False)

    async def _check_uid(self, uid: str) -> None:
        container = self._store.containers.get(uid)
        if container is not None:
            await self.check(container)

    def hosts(self, container: Container, attachment: Attachment) -> str:
        """The text of the container's /etc/hosts. Blocking for one small read in host mode."""
        extra = container.spec.host.extra_hosts or []
        config = container.spec.config
        if attachment.namespace is None:
            own = Path("/etc/hosts").read_text()
            return own + "".join(f"{address}\t{name}\n" for name, _, address in (each.partition(":") for each in extra))
        addresses = [each.ipv4_address for each in attachment.endpoints.values() if each.ipv4_address]
        bridge = self._store.networks.by_name("bridge")
        gateway = bridge.spec.pools[0].gateway if bridge is not None and bridge.spec.pools else ""
        links = linking.linked_names(self._store, self._find, container, attachment.endpoints)
        return sandbox_files.hosts_text(config.hostname, config.domainname, addresses, extra, gateway, links)

    def resolv_conf(self, container: Container, attachment: Attachment) -> str:
        """The text of the container's /etc/resolv.conf. Blocking for one small read."""
        host = container.spec.host
        try:
            text = Path("/etc/resolv.conf").read_text()
        except FileNotFoundError:
            text = ""
        networks = [self._store.networks.get(each.network) for each in attachment.endpoints.values()]
        servers = [
            network.spec.pools[0].gateway
            for network in networks
            if network is not None and network.spec.driver == "bridge" and leasing.user_defined(network)
        ]
        return sandbox_files.resolv_text(
            text,
            own_servers=servers,
            servers=host.dns or (),
            search=host.dns_search or (),
            options=host.dns_options or (),
            keep_local=attachment.namespace is None,
        )


def _rewrite(directory: Path, texts: Mapping[str, str]) -> None:
    # In place: the running container has the files themselves mounted.
    for name, text in texts.items():
        with (directory / name).open("w") as file:
            file.write(text)
