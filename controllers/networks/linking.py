"""What links (``--link``) put into /etc/hosts, and keep right there when a linked container gets another address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from controllers.layout import Layout
from controllers.networks.host import Host
from controllers.networks.sandbox_files import readdressed
from store.objects import Container
from store.objects.containers import BRIDGE, EndpointStatus
from store.store import Change, Store

Find = Callable[[str], Container | None]
"""A container by id or name."""


def linked_names(
    store: Store, find: Find, container: Container, endpoints: Mapping[str, EndpointStatus]
) -> Iterator[tuple[str, list[str]]]:
    """The addresses of linked containers that run, with the names that the links give them.

    ``endpoints`` are the container's own, which may not be in its status yet.
    """
    for link in container.spec.links:
        target = store.containers.get(link.container)
        endpoint = target.status.endpoints.get(BRIDGE) if target is not None and target.running else None
        if target is not None and endpoint is not None:
            names = [link.alias, target.spec.config.hostname]
            yield endpoint.ipv4_address, names + [target.name] * (link.alias != target.name)
    common = {endpoint.network for endpoint in endpoints.values()}
    for text in (link for spec in container.spec.endpoints.values() for link in spec.links):
        name, _, alias = text.partition(":")
        target = find(name)
        for endpoint in target.status.endpoints.values() if target is not None and target.running else ():
            if target is not None and endpoint.network in common and endpoint.ipv4_address:
                names = [alias.rpartition("/")[2] or target.name, target.uid[:12], target.name]
                yield endpoint.ipv4_address, list(dict.fromkeys(names))


class LinkWatch:
    """Corrects the hosts files of running containers when one that they are linked to has started anew."""

    def __init__(self, store: Store, host: Host, layout: Layout, find: Find) -> None:
        self._store = store
        self._host = host
        self._find = find
        self._layout = layout
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin with what changes from now on, and with what changed while nobody looked."""
        self._unwatch = self._store.on_change(Container, self._changed)
        for container in self._store.containers:
            self._tell_parents(container)

    async def stop(self) -> None:
        """Watch no more; what is being written is finished."""
        self._unwatch()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(self, change: Change[Container]) -> None:
        before, after = change.before, change.after
        if after is None or (before is not None and before.status is after.status):
            return
        if before is None or not before.running or before.status.endpoints is not after.status.endpoints:
            self._tell_parents(after)

    def _tell_parents(self, target: Container) -> None:
        if not target.running:
            return
        parents = {parent.uid: parent for parent in self._store.containers.where("linked", target.uid)}
        # Whoever has links on any network is few enough to be asked.
        parents |= {other.uid: other for other in self._store.containers.where("linking", "endpoints")}
        for parent in parents.values():
            names = list(linked_names(self._store, self._find, parent, parent.status.endpoints))
            if parent.running and names:
                path = self._layout.container(parent.uid) / "hosts"
                task = asyncio.create_task(self._write(parent.uid, path, names), name=f"hosts of {parent.uid[:12]}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _write(self, uid: str, path: Path, names: list[tuple[str, list[str]]]) -> None:
        async with self._host.busy(uid):
            await asyncio.to_thread(_correct, path, names)


def _correct(path: Path, names: list[tuple[str, list[str]]]) -> None:
    try:
        before = after = path.read_text(errors="surrogateescape")
        for address, known in names:
            after = readdressed(after, known, address)
        if after != before:
            # In place: the running container has the file itself mounted.
            path.write_text(after, errors="surrogateescape")
    except FileNotFoundError:
        return
