"""The volumes loop: a row means a directory, wanted mounts are there, and what is to go goes."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from msgspec.structs import replace

from controllers.archive.helper import Archiver
from controllers.archive.kernel import is_mount_point, sync_directory
from controllers.containers import process
from controllers.controller import Result
from controllers.layout import Layout
from controllers.repairs import repaired
from controllers.volumes.holds import Holds
from controllers.volumes.local import DeviceMount, device_mount
from store.crashpoints import crashpoint
from store.errors import EngineError
from store.objects import Container, Event, Volume
from store.objects.volumes import VolumeStatus
from store.store import Store, Transaction

FINALIZER = "volumes"
RESOLVE_TIMEOUT = 10.0
MS_RDONLY = 1


class VolumeReconciler:
    """Makes the host match a volume's row. All steps can be repeated at any time."""

    def __init__(self, layout: Layout, store: Store, archiver: Archiver, holds: Holds) -> None:
        self._layout = layout
        self._store = store
        self._archiver = archiver
        self._holds = holds

    async def reconcile(self, name: str) -> Result | None:
        """One look at one volume; failures to mount are reported to whoever wants the mount, and retried."""
        volume = self._store.volumes.get(name)
        if volume is None:
            return None
        async with self._holds.lock(name):
            if volume.meta.deletion_requested_at is not None:
                try:
                    await self._remove(volume)
                except EngineError as error:
                    await self._note(volume, error.message)
                    raise
                return None
            await self.make(volume)
            await self._settle_mount(volume)
        return None

    async def make(self, volume: Volume) -> None:
        """The directory of a volume, made if it is missing; then the row says that it is ready."""
        data = self._layout.volume_data(volume.name)
        made = await asyncio.to_thread(make_directory, data)
        crashpoint("volume.create.made")
        if volume.status.ready and not made:
            return
        lost = volume.status.ready

        def change(tx: Transaction) -> None:
            current = tx.get(Volume, volume.uid)
            if current is None:
                return
            tx.update(
                replace(
                    current,
                    status=VolumeStatus(
                        ready=True,
                        observed_generation=current.meta.generation,
                        populated=current.status.populated and not lost,
                    ),
                )
            )
            if lost:
                tx.emit(repaired("directory missing", "volume", volume.name))

        await self._store.commit(change, durable=False)

    async def mount(self, volume: Volume, wanted: DeviceMount) -> None:
        """Mount what the volume's options say, if it is not mounted.

        Raises:
            EngineError: in dockerd's words, when the kernel refuses.
        """
        target = self._layout.volume_data(volume.name)
        resolved = await resolve_server(wanted)
        try:
            await self._archiver.mount(resolved.device, target, resolved.type, resolved.flags, resolved.data)
        except EngineError as error:
            reason = error.message.removeprefix(f"{target}: ")
            raise EngineError(
                f"failed to mount local volume: mount {resolved.device}:{target}, flags: {hex(resolved.flags)}"
                + (f", data: {resolved.data}" if resolved.data else "")
                + f": {reason}"
            ) from None

    def in_use(self, name: str) -> bool:
        """Whether a live container, or one about to live, has the volume."""
        users = self._store.containers.where("volume", name)
        return self._holds.held(name) or any(user.running or user.status.phase == "restarting" for user in users)

    async def _settle_mount(self, volume: Volume) -> None:
        wanted = device_mount(volume.spec.options)
        if wanted is None:
            return
        target = self._layout.volume_data(volume.name)
        mounted = await asyncio.to_thread(is_mount_point, target)
        if self.in_use(volume.name):
            if not mounted:
                await self._bring_back(volume, wanted)
        elif mounted:
            await self._archiver.unmount(target)

    async def _bring_back(self, volume: Volume, wanted: DeviceMount) -> None:
        """Mount what is needed. That it was missing is drift only where a container runs with it: the very mount that
        this one has is laid again then, since a new one might be another (a tmpfs would be empty)."""
        running = [user for user in self._store.containers.where("volume", volume.name) if user.running]
        for user in running:
            if await self._borrow(volume, user, wanted):
                break
        else:
            await self.mount(volume, wanted)
        if running:
            await self._store.commit(lambda tx: tx.emit(repaired("mount missing", "volume", volume.name)))

    async def _borrow(self, volume: Volume, user: Container, wanted: DeviceMount) -> bool:
        place = next(point.destination for point in user.spec.mounts if point.name == volume.name)
        try:
            namespace = process.open_namespace(user.status.pid, user.status.pid_start_time, "mnt")
        except OSError:
            return False
        try:
            target = self._layout.volume_data(volume.name)
            await self._archiver.mount_again(namespace, place, target, writable=not wanted.flags & MS_RDONLY)
        except EngineError:
            return False
        finally:
            os.close(namespace)
        return True

    async def _note(self, volume: Volume, message: str) -> None:
        def change(tx: Transaction) -> None:
            current = tx.get(Volume, volume.uid)
            if current is not None:
                tx.update(replace(current, status=replace(current.status, error=message)))

        await self._store.commit(change, durable=False)

    async def _remove(self, volume: Volume) -> None:
        directory = self._layout.volumes / volume.name
        if device_mount(volume.spec.options) is not None:
            await self._archiver.unmount(directory / "_data")
        crashpoint("volume.remove.unmounted")
        await self._archiver.remove(directory)
        crashpoint("volume.remove.emptied")

        def change(tx: Transaction) -> None:
            current = tx.get(Volume, volume.uid)
            if current is None:
                return
            users = tx.where(Container, "volume", volume.name)
            if any(user.meta.deletion_requested_at is None for user in users):
                # A container was created with it meanwhile: it gets an empty one of the same name.
                tx.update(
                    replace(
                        current.with_meta(deletion_requested_at=None, finalizers=(FINALIZER,)), status=VolumeStatus()
                    )
                )
                return
            tx.delete(Volume, volume.uid)
            tx.emit(
                Event(type="volume", action="destroy", actor=volume.name, attributes={"driver": volume.spec.driver})
            )

        await self._store.commit(change)


def make_directory(data: Path) -> bool:
    """A volume's two directories, as dockerd makes them, on the disk; whether the data directory was missing."""
    if data.is_dir():
        return False
    data.parent.parent.mkdir(mode=0o701, exist_ok=True)
    data.parent.mkdir(mode=0o701, exist_ok=True)
    data.mkdir(mode=0o755, exist_ok=True)
    # mkdir's mode is cut by the umask, and the container's users must get in.
    data.parent.chmod(0o701)
    data.chmod(0o755)
    for directory in (data, data.parent, data.parent.parent):
        sync_directory(directory)
    return True


async def resolve_server(wanted: DeviceMount) -> DeviceMount:
    """The mount with its server's name resolved: the kernel takes addresses only.

    Raises:
        EngineError: the name has no address.
    """
    if not wanted.server:
        return wanted
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await loop.getaddrinfo(wanted.server, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        raise EngineError(f"error resolving passed in network volume address: {wanted.server}") from None
    return wanted.with_server(str(found[0][4][0]))
