"""The engine put together: the one place where the API's side and the host's side meet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from apiserver.admission import life
from apiserver.admission.hostconfig import HostFacts
from apiserver.config import Settings
from apiserver.hostinfo import read_host
from apiserver.release import VERSION
from apiserver.reloading import reload_event
from controllers.archive.helper import Archiver
from controllers.containers import boots, links
from controllers.containers.execs import ExecRegistry
from controllers.containers.runtime import Runtime
from controllers.containers.service import ContainerService
from controllers.events.observe import observe
from controllers.images.pulling import Puller
from controllers.images.removal import Remover
from controllers.images.service import ImageService
from controllers.layout import Layout
from controllers.manager import Manager
from controllers.mounts import MountWatch
from controllers.networks.service import NetworkService
from controllers.volumes.service import VolumeService
from store.objects import Container
from store.store import Change, Store

log = logging.getLogger("wharfinger")


class KeptList(NamedTuple):
    """A whole list of containers: true of the store's ``revisions``, and from ``made`` to ``until`` (Unix time)."""

    revisions: object
    made: float
    until: float
    body: bytes


@dataclass
class Engine:
    """What the routes work with.

    The caches keep serialised pieces by container, and whole lists by query, with what they were made of.
    """

    settings: Settings
    layout: Layout
    facts: HostFacts
    store: Store
    archiver: Archiver
    runtime: Runtime
    execs: ExecRegistry
    images: ImageService
    remover: Remover
    puller: Puller
    networks: NetworkService
    volumes: VolumeService
    containers: ContainerService
    manager: Manager
    mounts: MountWatch
    inspect_cache: dict[str, tuple[object, bytes]] = field(default_factory=dict)
    list_cache: dict[str, tuple[object, bytes, bytes]] = field(default_factory=dict)
    list_answers: dict[str, KeptList] = field(default_factory=dict)
    _unwatch: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Take stock of the host and adopt what runs; then let the loops run."""
        self._unwatch = self.store.on_change(Container, self._forget)
        observe(self.store)
        await asyncio.to_thread(boots.forget_earlier, self.layout)
        await self.archiver.start()
        await self.runtime.probe()
        await self.execs.start_supervisor()
        await self.images.start()
        await self.puller.start()
        await self.remover.start()
        await self.networks.start()
        self.networks.register(self.manager)
        self.volumes.join(self.manager)
        await self.containers.start()
        self.containers.join(self.manager)
        self.mounts.start()
        await self.manager.start()

    async def stop(self, *, machine_stops: bool = False) -> None:
        """Stop the loops and let go of everything; containers run on, unless the machine stops."""
        self.mounts.stop()
        await self.manager.stop()
        if machine_stops:
            running = [container for container in self.store.containers if container.running]
            await self.containers.rest({each.uid: life.last_stop(each) for each in running})
        await self.containers.stop()
        await self.networks.stop()
        await self.remover.stop()
        await self.execs.close()
        await self.archiver.close()
        self._unwatch()
        await self.store.close()

    async def reload(self, settings: Settings) -> None:
        """Take over those of new settings that need no restart, registries and labels, and tell of it."""
        self.puller.reach(mirrors=settings.registry_mirrors, insecure=settings.insecure_registries)
        self.settings = replace(
            self.settings,
            registry_mirrors=settings.registry_mirrors,
            insecure_registries=settings.insecure_registries,
            labels=settings.labels,
            log_level=settings.log_level,
        )
        told = reload_event(self.settings, await asyncio.to_thread(read_host, settings.data_root))
        await self.store.commit(lambda tx: tx.emit(told), durable=False)

    def _forget(self, change: Change[Container]) -> None:
        if change.before is not None and change.before.running and (change.after is None or not change.after.running):
            self.execs.forget_unstarted(change.uid)
        if change.after is None:
            self.inspect_cache.pop(change.uid, None)
            self.list_cache.pop(change.uid, None)
            self.execs.forget(change.uid)


async def assemble(settings: Settings) -> Engine:
    """Open the store and make all parts; nothing on the host is touched yet but the data root.

    Raises DatabaseError for a database that cannot be opened or is of a newer version.
    """
    layout = Layout(settings.data_root, settings.exec_root)
    for directory in (layout.data_root, layout.exec_root, layout.containers):
        directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    store = await Store.open(settings.database_url or f"sqlite:///{layout.database}")
    archiver = Archiver()
    runtime = Runtime(layout, program=settings.runtime)
    execs = ExecRegistry(layout, runtime, partial(links.variables, store))
    images = ImageService(layout, store, archiver)
    networks = NetworkService(store, layout, bip=settings.bip)
    volumes = VolumeService(layout, store, archiver)
    containers = ContainerService(layout, store, runtime, images, networks, volumes, archiver, execs)
    return Engine(
        settings=settings,
        layout=layout,
        facts=HostFacts.read(frozenset({settings.runtime}), settings.runtime),
        store=store,
        archiver=archiver,
        runtime=runtime,
        execs=execs,
        images=images,
        remover=Remover(store, images),
        puller=Puller(
            layout,
            store,
            images,
            mirrors=settings.registry_mirrors,
            insecure=settings.insecure_registries,
            user_agent=f"wharfinger/{VERSION}",
        ),
        networks=networks,
        volumes=volumes,
        containers=containers,
        manager=Manager(store),
        mounts=MountWatch((containers.look_at_mounts, networks.look_at_mounts, volumes.look_at_mounts)),
    )
