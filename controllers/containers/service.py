"""Containers for the rest of the engine: the loop with its parts, and the few things that are no state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from controllers import metrics
from controllers.archive.helper import Archiver
from controllers.containers import adoption
from controllers.containers.ending import Ender
from controllers.containers.events import event
from controllers.containers.execs import ExecRegistry
from controllers.containers.exits import Exit, ExitWatcher
from controllers.containers.health import HealthMonitor
from controllers.containers.log_rotation import LogRotator
from controllers.containers.parts import Parts
from controllers.containers.reconcile import ContainerReconciler
from controllers.containers.rootfs import RootFilesystems
from controllers.containers.runtime import Runtime
from controllers.containers.starting import Starter
from controllers.containers.upkeep import GroupWatch, Upkeep
from controllers.containers.watch import MonitorWatch
from controllers.controller import Controller
from controllers.images.service import ImageService
from controllers.layout import Layout
from controllers.manager import Manager
from controllers.networks.service import NetworkService
from controllers.volumes.service import VolumeService
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, NotFoundError
from store.objects import Container
from store.objects.containers import StopRequest
from store.store import Change, Store, Transaction

_log = logging.getLogger(__name__)

WORKERS = 16
TIMEOUT = 300.0


class ContainerService:
    """All that others do with containers beside writing their specs."""

    def __init__(
        self,
        layout: Layout,
        store: Store,
        runtime: Runtime,
        images: ImageService,
        networks: NetworkService,
        volumes: VolumeService,
        archiver: Archiver,
        execs: ExecRegistry,
    ) -> None:
        self._store = store
        self._parts = Parts(
            layout=layout,
            store=store,
            runtime=runtime,
            roots=RootFilesystems(layout),
            exits=ExitWatcher(layout, self.wake),
            images=images,
            networks=networks,
            volumes=volumes,
            archiver=archiver,
        )
        self._ender = Ender(self._parts)
        self._starter = Starter(self._parts, self._ender)
        self._upkeep = Upkeep(self._parts, self.wake)
        self._reconciler = ContainerReconciler(self._parts, self._starter, self._ender, self._upkeep)
        self._watch = MonitorWatch(store, self._ended)
        self._groups = GroupWatch(self._parts, self._wake_after)
        self._health = HealthMonitor(store, execs)
        self._logs = LogRotator(layout, store)
        self.controller = Controller(
            "containers", self._reconciler.reconcile, workers=WORKERS, keys=self._keys, timeout=TIMEOUT
        )
        self._count_states()

    def join(self, manager: Manager) -> None:
        """Have the manager run the loop."""
        manager.add(self.controller)
        manager.watch(Container, self.controller, _wishes)

    async def start(self) -> None:
        """Take stock of the host; when this returns, what ran has been adopted. Before the manager starts.

        Networks and volumes must have been started. Raises OSError when the host cannot hold containers.
        """
        self._parts.roots.prepare_host()
        await adoption.adopt(self._parts, self._reconciler)
        await self._parts.exits.start()
        self._watch.start()
        self._groups.start()
        self._health.start()
        self._logs.start()

    async def rest(self, stops: Mapping[str, StopRequest]) -> None:
        """End running containers because the machine stops; which come back after the boot their policies say.

        ``stops`` says how to stop each. For after the loops have ended, which would start them again.
        """

        async def one(uid: str, stop: StopRequest) -> None:
            container = self._store.containers.get(uid)
            if container is None or not container.running:
                return
            try:
                await self._ender.rest(container, stop)
            except (EngineError, OSError) as error:
                _log.error("container %s could not be stopped: %s", uid, error)

        await asyncio.gather(*(one(uid, stop) for uid, stop in stops.items()))

    async def stop(self) -> None:
        """Watch no longer. Containers run on."""
        await self._logs.stop()
        await self._health.stop()
        self._watch.stop()
        self._groups.stop()
        await self._parts.exits.stop()
        self._parts.roots.close()

    def wake(self, uid: str) -> None:
        """Something happened to a container: have the loop look at it."""
        self.controller.enqueue(uid)

    def look_at_mounts(self, gone: frozenset[str]) -> None:
        """Mounts have gone from the host: have the loop look at the containers that miss one."""
        self._upkeep.look_at_mounts(gone)

    def _wake_after(self, uid: str, seconds: float) -> None:
        self.controller.enqueue_after(uid, seconds)

    def _ended(self, exit_: Exit) -> None:
        self._ender.note_exit(exit_)
        self.wake(exit_.uid)

    def _keys(self) -> list[str]:
        return [container.uid for container in self._store.containers]

    @asynccontextmanager
    async def mounted_root(self, uid: str) -> AsyncIterator[Path]:
        """The container's root on the host, mounted meanwhile whether it runs or not.

        NotFoundError when the container or its image is gone, EngineError when the mount fails.
        """
        container = self._store.containers.get(uid)
        if container is None:
            raise NotFoundError(f"No such container: {uid}")
        try:
            async with self._parts.roots.held(uid, self._starter.lowers(container)) as root:
                yield root
        finally:
            self.wake(uid)

    async def prepared(self, uid: str) -> None:
        """Right after a container's creation: fill its new volumes from its image, so that ``docker cp`` finds them.

        When that fails the container is removed again and the error raised.
        """
        begin = time.perf_counter()
        container = self._store.containers.get(uid)
        if container is not None and self._to_fill(container):
            try:
                async with self.mounted_root(uid) as root:
                    await self._starter.populate(container, root)
            except (EngineError, OSError) as error:
                await self._store.commit(lambda tx: _withdraw(tx, uid))
                raise error if isinstance(error, EngineError) else EngineError(str(error)) from None
            crashpoint("container.create.filled")
        metrics.CONTAINER_ACTIONS.labels("create").observe(time.perf_counter() - begin)

    def _to_fill(self, container: Container) -> bool:
        volumes = [
            self._store.volumes.by_name(point.name)
            for point in container.spec.mounts
            if point.type == "volume" and point.copy_up
        ]
        return any(volume is not None and not volume.status.populated for volume in volumes)

    async def written_bytes(self, uid: str) -> int:
        """What a container has written above its image."""
        try:
            return await self._parts.archiver.usage(self._parts.layout.upper(uid))
        except NotFoundError:
            # Nothing before its first start.
            return 0

    async def kill(self, uid: str, number: int) -> None:
        """Send a signal to a container's first process. ConflictError when it does not run."""

        def change(tx: Transaction) -> Container:
            current = tx.get(Container, uid)
            if current is None:
                raise NotFoundError(f"No such container: {uid}")
            if not current.running:
                raise ConflictError(f"Container {uid} is not running")
            # A signal thaws, or a frozen process would never see it (dockerd does the same).
            spec = replace(current.spec, manually_stopped=True, paused=False)
            if spec != current.spec:
                tx.update(current.edited(spec=spec))
            tx.emit(event(current, "kill", signal=str(number)))
            return current

        await self._store.commit(change)
        crashpoint("container.signal.committed")
        await self._parts.runtime.kill(uid, number)

    async def update(self, container: Container) -> None:
        """Give a running container the limits of its spec. InvalidParameterError with the runtime's reason."""
        await self._parts.runtime.update(container)

    def _count_states(self) -> None:
        others = ("created", "restarting", "removing", "exited", "dead")
        for state, phases in (("running", ("running",)), ("paused", ("paused",)), ("stopped", others)):
            metrics.CONTAINER_STATES.labels(state).set_function(partial(self._in_phase, phases))

    def _in_phase(self, phases: Iterable[str]) -> int:
        return sum(container.status.phase in phases for container in self._store.containers)


def _withdraw(tx: Transaction, uid: str) -> None:
    container = tx.get(Container, uid)
    if container is not None:
        spec = replace(container.spec, remove_volumes=True)
        tx.update(container.edited(spec=spec).with_meta(deletion_requested_at=time.time_ns()))


def _wishes(change: Change[Container]) -> tuple[str, ...]:
    """What the loop writes about a container itself need not wake it."""
    before, after = change.before, change.after
    if after is None or (before is not None and before.meta.generation == after.meta.generation):
        deleted = before is not None and after is not None and before.meta.deletion_requested_at is None
        return (change.uid,) if deleted and after is not None and after.meta.deletion_requested_at else ()
    return (change.uid,)
