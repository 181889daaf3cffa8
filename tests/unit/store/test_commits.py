"""Committing: what callers, views and the database see of it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert

from store.database import WriteConnection, engine
from store.errors import UnavailableError
from store.kinds import ADDRESS_LEASES
from store.objects import AddressLease, Container, Meta, Volume
from store.objects.volumes import VolumeStatus
from store.store import CommitError, CommitReport, GoneError, NameTakenError, Store, Transaction
from tests.unit.store.samples import container, one_of_each, volume


class DiskFullError(Exception):
    pass


async def add(store: Store, name: str, **options: bool) -> Volume:
    return await store.commit(lambda transaction: transaction.insert(volume(name)), **options)


def held(store: Store) -> tuple[threading.Event, asyncio.Task[None]]:
    """Keeps the writer busy until the event is set, so that what is committed meanwhile makes one group."""
    release = threading.Event()

    def wait(_: Transaction) -> None:
        release.wait()

    return release, asyncio.create_task(store.commit(wait))


async def test_when_a_commit_returns_the_views_show_it(store: Store) -> None:
    stored = await add(store, "v")
    assert store.volumes.get("v") is stored
    assert stored.meta.resource_version == store.revision > 0


@pytest.mark.parametrize("durable", [True, False])
async def test_what_was_committed_is_there_after_the_next_start(url: str, durable: bool) -> None:
    first = await Store.open(url)
    for obj in one_of_each():
        await first.commit(lambda transaction, obj=obj: transaction.insert(obj), durable=durable)  # type: ignore[misc]
    before = [list(first.view(type(obj))) for obj in one_of_each()]
    await first.close()
    second = await Store.open(url)
    assert [list(second.view(type(obj))) for obj in one_of_each()] == before
    assert second.revision == first.revision
    await second.close()


async def test_each_part_of_an_object_is_written_when_it_alone_changes(url: str) -> None:
    store = await Store.open(url)
    await store.commit(lambda transaction: transaction.insert(container(1)))
    uid = container(1).uid

    def change(**fields: Any) -> Any:
        return lambda transaction: transaction.update(replace(transaction.get(Container, uid), **fields))

    now = store.containers.get(uid)
    assert now is not None
    await store.commit(change(status=replace(now.status, pid=7)), durable=False)
    await store.commit(change(spec=replace(now.spec, starts=3)))
    await store.commit(lambda transaction: transaction.update(_renamed(transaction, uid, "new")))
    after = store.containers.get(uid)
    await store.close()
    store = await Store.open(url)
    assert store.containers.get(uid) == after
    assert after is not None
    assert (after.status.pid, after.spec.starts, after.name) == (7, 3, "new")
    assert store.containers.by_name("c1") is None
    await store.close()


def _renamed(transaction: Transaction, uid: str, name: str) -> Container:
    found = transaction.get(Container, uid)
    assert found is not None
    return found.with_meta(name=name, labels={"a": "b"})


async def test_a_change_that_raises_undoes_itself_and_nobody_elses(store: Store) -> None:
    release, busy = held(store)

    def spoiled(transaction: Transaction) -> None:
        transaction.insert(volume("spoiled"))
        transaction.delete(Volume, "good")
        raise KeyError("spoiled")

    changes = [add(store, "good"), store.commit(spoiled), add(store, "better")]
    tasks = [asyncio.ensure_future(change) for change in changes]
    await asyncio.sleep(0)
    release.set()
    good, error, better = await asyncio.gather(*tasks, return_exceptions=True)
    await busy
    assert isinstance(error, KeyError)
    assert list(store.volumes) == [good, better]
    await add(store, "spoiled")
    await store.commit(lambda transaction: transaction.update(replace(volume("good"), status=VolumeStatus(ready=True))))
    assert [each.name for each in store.volumes] == ["good", "better", "spoiled"]


async def test_a_later_change_of_a_group_sees_the_earlier_ones(store: Store) -> None:
    release, busy = held(store)
    first = asyncio.create_task(add(store, "v"))
    second = asyncio.create_task(store.commit(lambda transaction: transaction.by_name(Volume, "v")))
    await asyncio.sleep(0)
    release.set()
    assert await second == await first
    await busy


async def test_changes_that_come_together_are_committed_together(store: Store) -> None:
    reports: list[CommitReport] = []
    store.on_commit(reports.append)
    release, busy = held(store)
    tasks = [asyncio.create_task(add(store, f"v{number}")) for number in range(20)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(busy, *tasks)
    assert sum(report.size for report in reports) == 20
    assert max(report.size for report in reports) > 1
    assert len(store.volumes) == 20


async def test_a_taken_name_is_refused_with_its_holder(store: Store) -> None:
    await store.commit(lambda transaction: transaction.insert(container(1)))
    other = container(2).with_meta(name="c1")
    with pytest.raises(NameTakenError) as caught:
        await store.commit(lambda transaction: transaction.insert(other))
    assert (caught.value.kind, caught.value.name, caught.value.holder_uid) == (Container, "c1", container(1).uid)
    assert len(store.containers) == 1


async def test_renaming_to_a_taken_name_is_refused(store: Store) -> None:
    await store.commit(lambda transaction: [transaction.insert(container(number)) for number in (1, 2)])
    with pytest.raises(NameTakenError):
        await store.commit(lambda transaction: transaction.update(_renamed(transaction, container(1).uid, "c2")))


async def test_a_name_is_free_again_once_its_holder_is_deleted(store: Store) -> None:
    await add(store, "v")

    def replace_it(transaction: Transaction) -> None:
        transaction.delete(Volume, "v")
        transaction.insert(volume("v"))

    await store.commit(replace_it)
    assert len(store.volumes) == 1


async def test_updating_what_is_gone_is_refused(store: Store) -> None:
    with pytest.raises(GoneError):
        await store.commit(lambda transaction: transaction.update(volume("v")))


async def test_deleting_what_is_gone_does_nothing(store: Store) -> None:
    revision = store.revision
    await store.commit(lambda transaction: transaction.delete(Volume, "v"))
    assert store.revision == revision


async def test_an_equal_update_changes_nothing(store: Store) -> None:
    stored = await add(store, "v")
    again = replace(volume("v"), meta=replace(stored.meta, resource_version=0))
    assert await store.commit(lambda transaction: transaction.update(again)) is stored
    assert store.revision == stored.meta.resource_version


async def test_the_revision_does_not_fall_back_when_the_newest_object_is_gone(url: str) -> None:
    first = await Store.open(url)
    await add(first, "v")
    await first.commit(lambda transaction: transaction.delete(Volume, "v"))
    await first.close()
    second = await Store.open(url)
    assert second.revision == first.revision == 2
    await second.close()


async def test_the_database_refuses_a_second_claim_that_memory_does_not_know_of(store: Store, url: str) -> None:
    other = engine(url)
    lease = AddressLease(meta=Meta(uid="a", name="n/10.0.0.2"), network="n", address="10.0.0.2")
    with other.begin() as connection:
        connection.execute(insert(ADDRESS_LEASES.table), ADDRESS_LEASES.row(lease))
    other.dispose()
    second = AddressLease(meta=Meta(uid="b", name="n/other"), network="n", address="10.0.0.2")
    with pytest.raises(NameTakenError):
        await store.commit(lambda transaction: transaction.insert(second))
    release, busy = held(store)
    refused = asyncio.create_task(store.commit(lambda transaction: transaction.insert(second)))
    fine = asyncio.create_task(add(store, "v"))
    await asyncio.sleep(0)
    release.set()
    with pytest.raises(NameTakenError):
        await refused
    assert await fine == store.volumes.get("v")
    assert len(store.address_leases) == 0
    await busy


async def test_a_cancelled_caller_does_not_cancel_the_change(store: Store) -> None:
    release, busy = held(store)
    task = asyncio.create_task(add(store, "v"))
    await asyncio.sleep(0)
    task.cancel()
    release.set()
    await busy
    assert await store.wait_for(Volume, "v", lambda found: found is not None) is not None


@pytest.mark.parametrize("failing", ["BEGIN", "INSERT INTO volumes", "COMMIT"])
async def test_a_failed_commit_is_told_and_leaves_nothing(
    store: Store, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, "before")
    execute = WriteConnection.execute

    def full(self: WriteConnection, sql: str, *rest: Any) -> None:
        if sql.startswith(failing):
            raise DiskFullError("database or disk is full")
        execute(self, sql, *rest)

    monkeypatch.setattr(WriteConnection, "execute", full)
    with pytest.raises(CommitError, match="the store could not commit: database or disk is full"):
        await add(store, "lost")
    assert [each.name for each in store.volumes] == ["before"]
    monkeypatch.undo()
    await add(store, "after")
    await add(store, "lost")
    assert [each.name for each in store.volumes] == ["before", "after", "lost"]


async def test_a_commit_whose_answer_was_lost_shows_up_with_the_next_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = WriteConnection.execute

    def cut_off(self: WriteConnection, sql: str, *rest: Any) -> None:
        execute(self, sql, *rest)
        if sql == "COMMIT":
            raise ConnectionError("server closed the connection unexpectedly")

    monkeypatch.setattr(WriteConnection, "execute", cut_off)
    with pytest.raises(CommitError):
        await add(store, "unsure")
    monkeypatch.undo()
    with store.subscribe(Volume) as changes:
        await store.commit(lambda transaction: transaction.get(Volume, "unsure"))
        await add(store, "sure")
        assert [(await anext(changes)).uid for _ in range(2)] == ["unsure", "sure"]
    assert [each.name for each in store.volumes] == ["unsure", "sure"]


async def test_a_closed_store_takes_nothing(url: str) -> None:
    store = await Store.open(url)
    await store.close()
    with pytest.raises(UnavailableError):
        await add(store, "v")
    await store.close()


async def test_closing_commits_what_is_queued(url: str) -> None:
    store = await Store.open(url)
    tasks = [asyncio.create_task(add(store, f"v{number}")) for number in range(10)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*tasks)
    store = await Store.open(url)
    assert len(store.volumes) == 10
    await store.close()


async def test_status_and_its_event_are_one_commit(store: Store) -> None:
    await add(store, "v")
    reports: list[CommitReport] = []
    store.on_commit(reports.append)

    def change(transaction: Transaction) -> None:
        found = transaction.get(Volume, "v")
        assert found is not None
        transaction.update(replace(found, status=VolumeStatus(ready=True)))

    await store.commit(change, durable=False)
    assert [(report.size, report.failed) for report in reports] == [(1, False)]
