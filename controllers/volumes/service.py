"""Volumes for the rest of the engine: declare, wait for, mount, fill, remove."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from controllers.archive.helper import Archiver
from controllers.archive.kernel import is_mount_point
from controllers.controller import Controller
from controllers.layout import Layout
from controllers.manager import Manager
from controllers.mounts import entries
from controllers.volumes import filling, local
from controllers.volumes.holds import Holds
from controllers.volumes.notices import mount_event, unmount_event
from controllers.volumes.reconcile import FINALIZER, VolumeReconciler
from store.crashpoints import crashpoint
from store.errors import ConflictError, EngineError, NotFoundError
from store.objects import Container, Event, Meta, Volume, VolumeSpec
from store.objects.containers import MountPoint
from store.store import Change, Store, Transaction

_log = logging.getLogger(__name__)

READY_TIMEOUT = 60.0
REMOVE_TIMEOUT = 600.0
MEASURED_AT_ONCE = 4


@dataclass(frozen=True)
class VolumeUsage:
    """What a volume takes: bytes (-1 when unknown) and how many containers refer to it."""

    volume: Volume
    size_bytes: int
    references: int


class VolumeService:
    """All that others do with volumes. ``controller`` runs in the daemon's manager."""

    def __init__(self, layout: Layout, store: Store, archiver: Archiver) -> None:
        self._layout = layout
        self._store = store
        self._archiver = archiver
        self._holds = Holds()
        self._telling: set[asyncio.Future[None]] = set()
        self._reconciler = VolumeReconciler(layout, store, archiver, self._holds)
        self.controller = Controller("volumes", self._reconciler.reconcile, keys=self._keys)

    def join(self, manager: Manager) -> None:
        """Have the manager run the loop: woken by volumes, and by containers that begin or cease to use one."""
        for container in self._store.containers:
            if container.running:
                for point in _points(container):
                    self._holds.take(point.name, container.uid)
        manager.add(self.controller)
        manager.watch(Volume, self.controller)
        manager.watch(Container, self.controller, _volumes_to_settle)

    def look_at_mounts(self, gone: frozenset[str]) -> None:
        """Mounts have gone from the host: have the loop look at the volumes that miss theirs."""
        for name in entries(self._layout.volumes, gone):
            volume = self._store.volumes.by_name(name)
            if volume is None or local.device_mount(volume.spec.options) is None or not self._reconciler.in_use(name):
                continue
            if not is_mount_point(self.directory(volume.name)):
                self.controller.enqueue(volume.name)

    def _keys(self) -> list[str]:
        return [volume.name for volume in self._store.volumes]

    def directory(self, name: str) -> Path:
        """The data directory: what is mounted into containers."""
        return self._layout.volume_data(name)

    def get(self, name: str) -> Volume:
        """A volume by name. Raises NotFoundError in dockerd's words."""
        volume = self._store.volumes.get(name)
        if volume is None:
            raise NotFoundError(f"get {name}: no such volume")
        return volume

    def users(self, name: str) -> Sequence[Container]:
        """The containers, live or not, that refer to the volume."""
        return self._store.containers.where("volume", name)

    def declare(
        self,
        name: str,
        *,
        driver: str = local.DRIVER,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """A volume's row, to be inserted (by ``ensure``, or with the container that brings it). Empty name: random.

        Raises:
            InvalidParameterError, NotFoundError: in dockerd's words, for a name, options or a driver that cannot be.
        """
        name = name or secrets.token_hex(32)
        driver = driver or local.DRIVER
        local.check_driver(name, driver)
        local.check_name(name)
        local.check_options(name, options or {})
        return Volume(
            meta=Meta(uid=name, name=name, labels=dict(labels or {}), finalizers=(FINALIZER,)),
            spec=VolumeSpec(
                driver=driver,
                options=None if options is None else dict(options),
                labels=None if labels is None else dict(labels),
                anonymous=anonymous,
            ),
        )

    async def ensure(
        self,
        name: str,
        *,
        driver: str = local.DRIVER,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """The volume of that name, made if there is none, and ready. An existing one keeps its options and labels.

        Raises as ``declare`` does; EngineError when the directory cannot be made.
        """
        existing = self._store.volumes.get(name) if name else None
        if existing is not None:
            local.check_driver(name, driver or local.DRIVER)
            if existing.meta.deletion_requested_at is not None:
                await self._gone(name)
                existing = None
        wanted = existing or self.declare(name, driver=driver, options=options, labels=labels, anonymous=anonymous)

        def change(tx: Transaction) -> None:
            if tx.get(Volume, wanted.uid) is None:
                tx.insert(wanted)
            # dockerd tells of every request to create, also when the volume exists.
            tx.emit(Event(type="volume", action="create", actor=wanted.name, attributes={"driver": wanted.spec.driver}))

        await self._store.commit(change)
        crashpoint("volume.create.committed")
        return (await self.ready([wanted.name]))[0]

    async def ready(self, names: Iterable[str]) -> list[Volume]:
        """Wait until the directories of declared volumes exist.

        Raises:
            EngineError: a directory is not there in time (a full or broken file system).
        """
        return [await self._ready(name) for name in names]

    async def _ready(self, name: str) -> Volume:
        def settled(volume: Volume | None) -> bool:
            return volume is None or (volume.status.ready and volume.meta.deletion_requested_at is None)

        try:
            volume = await self._store.wait_for(Volume, name, settled, READY_TIMEOUT)
        except TimeoutError:
            raise EngineError(f"create {name}: the volume's directory could not be made") from None
        if volume is None:
            raise NotFoundError(f"get {name}: no such volume")
        return volume

    async def mount(self, name: str, holder: str = "") -> Path:
        """The data directory, with what the volume's options ask for mounted on it, kept so for ``holder``.

        A running container keeps it so by itself; the holder is for the time until the store says that it runs.

        Raises:
            NotFoundError: no such volume.
            EngineError: in dockerd's words, when the mount fails.
        """
        self.get(name)
        volume = (await self.ready([name]))[0]
        news = self._holds.take(name, holder)
        wanted = local.device_mount(volume.spec.options)
        try:
            async with self._holds.lock(name):
                # Whatever became of the directory since it was ready.
                await self._reconciler.make(volume)
                if wanted is not None:
                    await self._reconciler.mount(volume, wanted)
                    crashpoint("volume.mount.mounted")
        except BaseException:
            self._holds.drop(name, holder)
            raise
        if news:
            self._tell(name, holder, mount_event)
        return self.directory(name)

    async def unmount(self, name: str, holder: str = "") -> None:
        """The holder is done; the mount goes once nobody uses it."""
        if self._holds.drop(name, holder):
            self._tell(name, holder, unmount_event)
        volume = self._store.volumes.get(name)
        if volume is not None and local.device_mount(volume.spec.options) is not None:
            self.controller.enqueue(name)

    def _tell(self, name: str, holder: str, make: Callable[[str, MountPoint], Event]) -> None:
        """Emit events of a container's use of a volume, behind its back: a start does not wait for them."""
        container = self._store.containers.get(holder)
        if container is None:
            return
        events = [make(container.uid, point) for point in _points(container) if point.name == name]

        def change(tx: Transaction) -> None:
            for event in events:
                tx.emit(event)

        task = asyncio.ensure_future(self._store.commit(change, durable=False))
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Future[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("an event of a volume is lost: %s", error)

    @asynccontextmanager
    async def laid_out(self, container: Container) -> AsyncIterator[list[tuple[Path, str]]]:
        """Where volumes and bind mounts belong in a container's tree, parents first: (host path, path in the tree).

        Meanwhile what the volumes' options ask for is mounted; the tree itself is left alone.
        """
        holder = f"files-{secrets.token_hex(8)}"
        points = sorted(
            (point for point in container.spec.mounts if point.type in ("volume", "bind")),
            key=lambda point: point.destination,
        )
        names = [point.name for point in points if point.type == "volume"]
        try:
            for name in names:
                await self.mount(name, holder)
            yield [
                (self.directory(point.name) if point.type == "volume" else Path(point.source), point.destination)
                for point in points
            ]
        finally:
            for name in names:
                await self.unmount(name, holder)

    async def populate(self, volume: Volume, image_root: Path, destination: str) -> None:
        """Fill an empty volume from the image's directory at ``destination``, with its owner and mode, once.

        A copy that was cut short is begun anew.
        """
        volume = self._store.volumes.get(volume.name) or volume
        if volume.status.populated:
            return
        data = self.directory(volume.name)
        async with self._holds.lock(volume.name):
            plain = local.device_mount(volume.spec.options) is None
            need = await asyncio.to_thread(filling.assess, image_root, destination, data, plain=plain)
            if need is filling.Need.NOTHING:
                return
            if need is filling.Need.COPY_ANEW:
                await self._archiver.remove(data)
                crashpoint("volume.populate.emptied")
                await self._reconciler.make(volume)
            if need is not filling.Need.FILLED:
                crashpoint("volume.populate.begun")
                await self._archiver.copy_up(image_root, destination, data)
                crashpoint("volume.populate.copied")
                await asyncio.to_thread(filling.finished, data)
                crashpoint("volume.populate.finished")
            await self._store.commit(lambda tx: _set_populated(tx, volume.uid), durable=False)

    async def remove(self, name: str, *, force: bool = False, leaving: str = "") -> None:
        """Remove a volume with all its data; returns when it is gone. The container ``leaving`` does not count as user.

        Raises:
            NotFoundError: no such volume, unless ``force``.
            ConflictError: a container refers to it.
        """

        def change(tx: Transaction) -> None:
            volume = tx.get(Volume, name)
            if volume is None:
                raise NotFoundError(f"get {name}: no such volume")
            users = [user.uid for user in tx.where(Container, "volume", name) if user.uid != leaving]
            if users:
                raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
            marked = volume.with_meta(deletion_requested_at=volume.meta.deletion_requested_at or time.time_ns())
            tx.update(replace(marked, status=replace(volume.status, error="")))

        try:
            await self._store.commit(change)
        except NotFoundError:
            if force:
                return
            raise
        crashpoint("volume.remove.requested")
        await self._gone(name)

    async def _gone(self, name: str) -> None:
        def settled(volume: Volume | None) -> bool:
            return volume is None or volume.meta.deletion_requested_at is None or volume.status.error != ""

        try:
            volume = await self._store.wait_for(Volume, name, settled, REMOVE_TIMEOUT)
        except TimeoutError:
            raise EngineError(f"remove {name}: not done after {REMOVE_TIMEOUT:.0f} s, it goes on") from None
        if volume is not None and volume.status.error:
            raise EngineError(f"remove {name}: {volume.status.error}")

    async def prune(self, wanted: Callable[[Volume], bool]) -> tuple[list[str], int]:
        """Remove the volumes without options that nobody refers to and ``wanted`` likes: their names, bytes freed."""
        names: list[str] = []
        freed = 0
        for volume in list(self._store.volumes):
            if volume.spec.options or self.users(volume.name) or not wanted(volume):
                continue
            try:
                size = await self._archiver.usage(self.directory(volume.name))
                await self.remove(volume.name)
            except (ConflictError, NotFoundError):
                # A container has just begun to use it, or somebody else has removed it.
                continue
            names.append(volume.name)
            freed += size
        event = Event(type="volume", action="prune", actor="", attributes={"reclaimed": str(freed)})
        await self._store.commit(lambda tx: tx.emit(event), durable=False)
        return names, freed

    async def remove_anonymous(self, container: Container) -> None:
        """Remove the volumes that were made for this container alone, as far as no other one refers to them."""
        for point in _points(container):
            if not point.anonymous:
                continue
            try:
                await self.remove(point.name, force=True, leaving=container.uid)
            except ConflictError:
                continue

    async def usage(self) -> list[VolumeUsage]:
        """The sizes of all volumes, for ``docker system df``; a few at once."""
        gate = asyncio.Semaphore(MEASURED_AT_ONCE)

        async def measure(volume: Volume) -> VolumeUsage:
            async with gate:
                try:
                    size = await self._archiver.usage(self.directory(volume.name))
                except EngineError:
                    size = -1
            return VolumeUsage(volume, size, len(self.users(volume.name)))

        return list(await asyncio.gather(*(measure(volume) for volume in self._store.volumes)))


def _points(container: Container) -> list[MountPoint]:
    """Where a container has volumes."""
    return [point for point in container.spec.mounts if point.type == "volume"]


def _volumes_to_settle(change: Change[Container]) -> set[str]:
    """The volumes whose use may have changed with a container."""
    names: set[str] = set()
    phases = [state.status.phase if state is not None else "" for state in (change.before, change.after)]
    if phases[0] != phases[1]:
        for state in (change.before, change.after):
            if state is not None:
                names |= {point.name for point in _points(state)}
    return names


def _set_populated(tx: Transaction, uid: str) -> None:
    current = tx.get(Volume, uid)
    if current is not None:
        tx.update(replace(current, status=replace(current.status, populated=True)))
