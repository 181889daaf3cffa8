"""The volume service with a real store, controller and helper."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from controllers.archive.helper import Archiver
from controllers.archive.kernel import is_mount_point
from controllers.layout import Layout
from controllers.manager import Manager
from controllers.volumes import filling
from controllers.volumes.service import VolumeService
from store.errors import ConflictError, EngineError, NotFoundError
from store.objects import Container, ContainerConfig, ContainerSpec, HostConfig, Meta, Volume
from store.objects.containers import MountPoint
from store.objects.volumes import VolumeStatus
from store.store import Store

# A test may hold up its own loop.
# ruff: noqa: ASYNC110
pytestmark = pytest.mark.host

TMPFS = {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"}


@dataclass
class World:
    """Everything that a volume needs."""

    layout: Layout
    store: Store
    archiver: Archiver
    volumes: VolumeService

    async def add_container(self, uid: str, *names: str, anonymous: bool = False) -> Container:
        """A container that refers to volumes."""
        points = tuple(
            MountPoint(type="volume", name=name, destination=f"/{name}", driver="local", anonymous=anonymous)
            for name in names
        )
        container = Container(
            meta=Meta(uid=uid, name=uid),
            spec=ContainerSpec(
                config=ContainerConfig(), host=HostConfig(), image_id="", path="", args=(), mounts=points
            ),
        )
        await self.store.commit(lambda tx: tx.insert(container))
        return container

    async def set_phase(self, uid: str, phase: str) -> None:
        """What a container is said to do."""

        def change(tx: object) -> None:
            current = tx.get(Container, uid)  # type: ignore[attr-defined]
            tx.update(replace(current, status=replace(current.status, phase=phase)))  # type: ignore[attr-defined]

        await self.store.commit(change)

    def mounted(self, name: str) -> bool:
        """Whether something is mounted for the volume."""
        return is_mount_point(self.volumes.directory(name))

    async def until(self, name: str, mounted: bool) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(10):
            while self.mounted(name) != mounted:
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world with its loop running; what is still mounted at the end is unmounted."""
    layout = Layout(tmp_path / "data", tmp_path / "run")
    layout.data_root.mkdir()
    store = await Store.open(f"sqlite:///{layout.database}")
    archiver = Archiver()
    await archiver.start()
    manager = Manager(store)
    volumes = VolumeService(layout, store, archiver)
    volumes.join(manager)
    await manager.start()
    yield World(layout, store, archiver, volumes)
    await manager.stop()
    for volume in store.volumes:
        await archiver.unmount(layout.volume_data(volume.name))
    await archiver.close()
    await store.close()


async def actions(store: Store) -> list[str]:
    """What the events say happened, in order."""
    return [event.action for event in await store.events.read(0, 2**62)]


async def test_a_volume_is_a_directory_that_all_can_enter(world: World) -> None:
    volume = await world.volumes.ensure("data", labels={"a": "b"})
    assert volume.status.ready
    assert world.volumes.directory("data").stat().st_mode & 0o7777 == 0o755
    again = await world.volumes.ensure("data", labels={"c": "d"})
    assert again.spec.labels == {"a": "b"}
    assert await actions(world.store) == ["create", "create"]


async def test_a_nameless_volume_gets_a_random_name(world: World) -> None:
    volume = await world.volumes.ensure("", anonymous=True)
    assert len(volume.name) == 64
    assert volume.spec.anonymous


async def test_a_thousand_names_at_once_make_one_volume_each(world: World) -> None:
    names = [f"v{number % 10}" for number in range(100)]
    await asyncio.gather(*(world.volumes.ensure(name) for name in names))
    assert sorted(volume.name for volume in world.store.volumes) == sorted(set(names))


async def test_removing_takes_data_and_row(world: World) -> None:
    await world.volumes.ensure("data")
    (world.volumes.directory("data") / "sub").mkdir()
    (world.volumes.directory("data") / "sub/f").touch()
    await world.volumes.remove("data")
    assert world.store.volumes.get("data") is None
    assert not (world.layout.volumes / "data").exists()
    with pytest.raises(NotFoundError, match="get data: no such volume"):
        await world.volumes.remove("data")
    await world.volumes.remove("data", force=True)
    assert await actions(world.store) == ["create", "destroy"]


async def test_a_volume_in_use_stays(world: World) -> None:
    await world.volumes.ensure("data")
    await world.add_container("c1", "data")
    for force in (False, True):
        with pytest.raises(ConflictError, match=r"remove data: volume is in use - \[c1\]"):
            await world.volumes.remove("data", force=force)
    assert world.volumes.directory("data").exists()


async def test_a_container_that_comes_while_the_volume_goes_gets_an_empty_one(world: World) -> None:
    await world.volumes.ensure("data")
    (world.volumes.directory("data") / "old").touch()
    async with world.volumes._holds.lock("data"):
        removing = asyncio.create_task(world.volumes.remove("data"))
        await world.store.wait_for(
            Volume, "data", lambda volume: volume is not None and volume.meta.deletion_requested_at is not None
        )
        await world.add_container("c1", "data")
    await removing
    (volume,) = await world.volumes.ready(["data"])
    assert volume.meta.deletion_requested_at is None
    assert list(world.volumes.directory("data").iterdir()) == []


async def test_options_are_mounted_while_somebody_uses_the_volume(world: World) -> None:
    await world.volumes.ensure("ram", options=TMPFS)
    await world.add_container("c1", "ram")
    assert not world.mounted("ram")
    path = await world.volumes.mount("ram", "c1")
    assert path == world.volumes.directory("ram")
    assert world.mounted("ram")
    await world.set_phase("c1", "running")
    await world.volumes.unmount("ram", "c1")
    await world.volumes.mount("ram", "other")
    await world.volumes.unmount("ram", "other")
    await asyncio.sleep(0.1)
    assert world.mounted("ram")
    await world.set_phase("c1", "exited")
    await world.until("ram", mounted=False)


async def test_use_is_told_once_for_each_container(world: World) -> None:
    await world.volumes.ensure("data")
    await world.add_container("c1", "data")
    for _ in range(2):
        await world.volumes.mount("data", "c1")
    for _ in range(2):
        await world.volumes.unmount("data", "c1")
    await world.volumes.mount("data", "files-1")
    async with asyncio.timeout(10):
        while (await actions(world.store))[-1] != "unmount":
            await asyncio.sleep(0.01)
    assert await actions(world.store) == ["create", "mount", "unmount"]


async def test_a_mount_that_somebody_took_away_is_put_back(world: World) -> None:
    await world.volumes.ensure("ram", options=TMPFS)
    await world.add_container("c1", "ram")
    await world.volumes.mount("ram", "c1")
    await world.set_phase("c1", "running")
    await world.archiver.unmount(world.volumes.directory("ram"))
    world.volumes.look_at_mounts(frozenset({str(world.volumes.directory("ram"))}))
    await world.until("ram", mounted=True)
    async with asyncio.timeout(10):
        while "repair: mount missing" not in await actions(world.store):
            await asyncio.sleep(0.01)


async def test_a_mount_for_a_start_is_no_repair(world: World) -> None:
    await world.volumes.ensure("ram", options=TMPFS)
    await world.add_container("c1", "ram")
    world.volumes.controller.enqueue("ram")
    await world.volumes.mount("ram", "c1")
    world.volumes.controller.enqueue("ram")
    await world.until("ram", mounted=True)
    assert not [action for action in await actions(world.store) if action.startswith("repair")]


async def test_a_directory_that_somebody_took_away_is_put_back(world: World) -> None:
    await world.volumes.ensure("data")
    world.volumes.directory("data").rmdir()
    world.volumes.controller.enqueue("data")
    async with asyncio.timeout(10):
        while "repair: directory missing" not in await actions(world.store):
            await asyncio.sleep(0.01)
    assert world.volumes.directory("data").is_dir()


async def test_a_bind_volume_loses_its_mount_but_not_its_content(world: World, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").touch()
    await world.volumes.ensure("bound", options={"type": "none", "device": str(source), "o": "bind"})
    path = await world.volumes.mount("bound", "c1")
    assert (path / "f").exists()
    # Also with the mount still there the content of the device must survive.
    await world.volumes.remove("bound")
    assert (source / "f").exists()
    assert not (world.layout.volumes / "bound").exists()


async def test_a_mount_that_fails_is_told_in_dockerds_words(world: World) -> None:
    await world.volumes.ensure("bad", options={"type": "none", "device": "/does-not-exist", "o": "bind"})
    words = (
        f"failed to mount local volume: mount /does-not-exist:{world.volumes.directory('bad')}, flags: 0x1000: "
        "no such file or directory"
    )
    with pytest.raises(EngineError, match=words):
        await world.volumes.mount("bad", "c1")
    assert not world.volumes._holds.held("bad")


async def test_an_empty_volume_is_filled_from_the_image_once(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv/f").write_text("from the image")
    os.chown(root / "srv", 12, 34)
    volume = await world.volumes.ensure("data")
    await world.volumes.populate(volume, root, "/srv")
    data = world.volumes.directory("data")
    assert (data / "f").read_text() == "from the image"
    assert data.stat().st_uid == 12
    (data / "f").unlink()
    await world.volumes.populate(volume, root, "/srv")
    assert list(data.iterdir()) == []


async def test_a_copy_that_was_cut_short_is_begun_anew(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    for name in ("a", "b"):
        (root / "srv" / name).write_text("whole")
    volume = await world.volumes.ensure("data")
    data = world.volumes.directory("data")
    (data / "a").write_text("ha")
    (data.parent / filling.MARKER).touch()
    await world.volumes.populate(volume, root, "/srv")
    assert {path.name: path.read_text() for path in data.iterdir()} == {"a": "whole", "b": "whole"}
    assert not (data.parent / filling.MARKER).exists()


async def test_what_a_volume_has_is_never_overwritten(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv/f").write_text("from the image")
    volume = await world.volumes.ensure("data")
    data = world.volumes.directory("data")
    (data / "mine").touch()
    await world.volumes.populate(volume, root, "/srv")
    assert [path.name for path in data.iterdir()] == ["mine"]
    current = world.store.volumes.get("data")
    assert current is not None
    assert current.status.populated


async def test_an_empty_directory_of_the_image_gives_owner_and_mode(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    os.chown(root / "srv", 12, 34)
    (root / "srv").chmod(0o1777)
    volume = await world.volumes.ensure("data")
    await world.volumes.populate(volume, root, "/srv")
    info = world.volumes.directory("data").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (12, 34, 0o1777)
    await world.volumes.populate(volume, root, "/missing")


async def test_prune_takes_what_nobody_refers_to(world: World) -> None:
    for name in ("used", "free", "labelled"):
        await world.volumes.ensure(name, labels={"keep": ""} if name == "labelled" else None)
    await world.volumes.ensure("ram", options=TMPFS)
    await world.add_container("c1", "used")
    (world.volumes.directory("free") / "f").write_bytes(b"x" * 1000)
    names, freed = await world.volumes.prune(lambda volume: "keep" not in volume.meta.labels)
    assert (names, freed) == (["free"], 1000)
    assert sorted(volume.name for volume in world.store.volumes) == ["labelled", "ram", "used"]
    assert (await actions(world.store))[-2:] == ["destroy", "prune"]


async def test_anonymous_volumes_go_with_their_container(world: World) -> None:
    for name in ("mine", "shared", "named"):
        await world.volumes.ensure(name)
    container = await world.add_container("c1", "mine", "shared", anonymous=True)
    await world.add_container("c2", "shared")
    await world.store.commit(
        lambda tx: tx.update(container.with_meta(deletion_requested_at=1, finalizers=("containers",)))
    )
    await world.volumes.remove_anonymous(container)
    assert sorted(volume.name for volume in world.store.volumes) == ["named", "shared"]


async def test_usage_tells_sizes_and_references(world: World) -> None:
    await world.volumes.ensure("data")
    (world.volumes.directory("data") / "f").write_bytes(b"x" * 123)
    await world.add_container("c1", "data")
    (usage,) = await world.volumes.usage()
    assert (usage.size_bytes, usage.references) == (123, 1)


async def test_a_lost_status_comes_back_from_the_host(world: World) -> None:
    volume = await world.volumes.ensure("data")
    (world.volumes.directory("data") / "f").touch()
    await world.store.commit(lambda tx: tx.update(replace(volume, status=VolumeStatus())))
    await world.volumes.ready(["data"])
    assert (world.volumes.directory("data") / "f").exists()
