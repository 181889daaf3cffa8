"""The manager between a real store and controllers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from controllers.controller import Controller
from controllers.manager import Manager
from store.objects import Meta, Reference, Volume, VolumeSpec
from store.objects.volumes import VolumeStatus
from store.store import Store, Transaction


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


class Volumes:
    """A controller that makes volumes ready, and says what it was called for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[str] = []
        self.called = asyncio.Event()
        self.controller = Controller("volumes", self.reconcile, keys=lambda: [each.uid for each in store.volumes])

    async def reconcile(self, key: str) -> None:
        self.calls.append(key)
        self.called.set()

        def ready(transaction: Transaction) -> None:
            found = transaction.get(Volume, key)
            if found is not None:
                transaction.update(replace(found, status=VolumeStatus(ready=True)))

        await self.store.commit(ready, durable=False)


async def add(store: Store, name: str) -> None:
    await store.commit(
        lambda transaction: transaction.insert(Volume(meta=Meta(uid=name, name=name), spec=VolumeSpec()))
    )


async def became_ready(store: Store, name: str) -> None:
    await store.wait_for(Volume, name, lambda found: found is not None and found.status.ready, timeout=30)


async def test_what_is_there_at_the_start_and_what_comes_later_is_reconciled(store: Store) -> None:
    await add(store, "early")
    manager, volumes = Manager(store), Volumes(store)
    manager.add(volumes.controller)
    manager.watch(Volume, volumes.controller)
    await manager.start()
    await became_ready(store, "early")
    await add(store, "late")
    await became_ready(store, "late")
    await manager.stop()


async def test_a_controller_that_writes_the_same_status_again_does_not_wake_itself_for_ever(store: Store) -> None:
    manager, volumes = Manager(store), Volumes(store)
    manager.add(volumes.controller)
    manager.watch(Volume, volumes.controller)
    await manager.start()
    await add(store, "v")
    await became_ready(store, "v")
    for _ in range(20):
        await store.commit(lambda _: None)
    await manager.stop()
    assert 1 <= len(volumes.calls) <= 3


async def test_a_change_of_one_kind_wakes_the_controller_of_another(store: Store) -> None:
    manager, volumes = Manager(store), Volumes(store)
    manager.add(volumes.controller)
    manager.watch(Reference, volumes.controller, lambda change: ["x", change.uid])
    await manager.start()
    await store.commit(lambda transaction: transaction.insert(Reference(meta=Meta(uid="r", name="r"), image="i")))
    await volumes.called.wait()
    await manager.stop()
    assert volumes.calls == ["x", "r"]


async def test_everything_is_looked_at_again_now_and_then(store: Store) -> None:
    await add(store, "v")
    manager, volumes = Manager(store, resync=0.01), Volumes(store)
    manager.add(volumes.controller)
    await manager.start()
    while len(volumes.calls) < 3:
        volumes.called.clear()
        await volumes.called.wait()
    await manager.stop()
    assert set(volumes.calls) == {"v"}


async def test_nothing_is_enqueued_after_the_stop(store: Store) -> None:
    manager, volumes = Manager(store), Volumes(store)
    manager.add(volumes.controller)
    manager.watch(Volume, volumes.controller)
    await manager.start()
    await manager.stop()
    await add(store, "v")
    assert volumes.calls == []
