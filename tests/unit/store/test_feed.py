"""The change feed: subscriptions, cursors, callbacks and waiting."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from store import feed
from store.errors import UnavailableError
from store.feed import Backlog
from store.objects import Volume
from store.objects.volumes import VolumeStatus
from store.store import Change, CursorExpiredError, SlowReaderError, Store, Transaction
from tests.unit.store.samples import container, volume


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


async def add(store: Store, *names: str) -> None:
    for name in names:
        await store.commit(lambda transaction, name=name: transaction.insert(volume(name)))  # type: ignore[misc]


def make_ready(transaction: Transaction) -> None:
    found = transaction.get(Volume, "v")
    assert found is not None
    transaction.update(replace(found, status=VolumeStatus(ready=True)))


async def test_a_subscriber_gets_each_change_with_before_and_after(store: Store) -> None:
    with store.subscribe(Volume) as changes:
        await add(store, "v")
        await store.commit(make_ready)
        await store.commit(lambda transaction: transaction.delete(Volume, "v"))
        made, edited, gone = [await anext(changes) for _ in range(3)]
    assert made.before is None
    assert edited.before is made.after
    assert gone.before is edited.after
    assert gone.after is None
    assert [change.revision for change in (made, edited, gone)] == [1, 2, 3]


async def test_a_subscriber_gets_only_the_kinds_it_asked_for(store: Store) -> None:
    with store.subscribe(Volume) as some, store.subscribe() as all_kinds:
        await store.commit(lambda transaction: transaction.insert(container(1)))
        await add(store, "v")
        assert (await anext(some)).uid == "v"
        assert (await anext(all_kinds)).uid == container(1).uid


async def test_a_subscription_continues_after_a_revision(store: Store) -> None:
    await add(store, "a", "b", "c")
    with store.subscribe(Volume, after=1) as changes:
        await add(store, "d")
        assert [(await anext(changes)).uid for _ in range(3)] == ["b", "c", "d"]


async def test_a_revision_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_HISTORY", 4)
    store = await Store.open(url)
    await add(store, *"abcdef")
    with pytest.raises(CursorExpiredError):
        store.subscribe(Volume, after=1)
    with store.subscribe(Volume, after=2) as changes:
        assert (await anext(changes)).uid == "c"
    await store.close()
    store = await Store.open(url)
    with pytest.raises(CursorExpiredError):
        store.subscribe(Volume, after=5)
    store.subscribe(Volume, after=6).close()
    await store.close()


async def test_a_reader_that_falls_behind_is_dropped_and_told() -> None:
    dropped: list[Backlog[int]] = []
    backlog = Backlog(dropped.append, limit=3)
    for number in range(4):
        backlog.offer(number)
    assert dropped == [backlog]
    with pytest.raises(SlowReaderError):
        await anext(backlog)


async def test_a_subscription_ends_with_the_store(url: str) -> None:
    store = await Store.open(url)
    changes = store.subscribe(Volume)
    await add(store, "v")
    await store.close()
    assert [change.uid async for change in changes] == ["v"]


async def test_a_failing_callback_is_logged_and_stops_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Change[Volume]] = []

    def failing(_: Change[Volume]) -> None:
        raise KeyError("broken subscriber")

    store.on_change(Volume, failing)
    store.on_change(Volume, seen.append)
    with caplog.at_level(logging.ERROR):
        await add(store, "v")
    assert [change.uid for change in seen] == ["v"]
    assert "a subscriber to changes of Volume failed" in caplog.text


async def test_a_callback_sees_the_views_with_its_change(store: Store) -> None:
    seen: list[bool] = []
    store.on_change(Volume, lambda change: seen.append(store.volumes.get("v") is change.after))
    await add(store, "v")
    assert seen == [True]


async def test_a_callback_can_be_taken_back(store: Store) -> None:
    seen: list[Change[Volume]] = []
    end = store.on_change(Volume, seen.append)
    end()
    await add(store, "v")
    assert seen == []


async def test_waiting_ends_at_once_when_it_is_so_already(store: Store) -> None:
    assert await store.wait_for(Volume, "v", lambda found: found is None) is None


async def test_waiting_ends_with_the_change_that_makes_it_so(store: Store) -> None:
    await add(store, "v")
    waiting = asyncio.create_task(store.wait_for(Volume, "v", lambda found: found is not None and found.status.ready))
    await add(store, "w")
    assert not waiting.done()
    await store.commit(make_ready)
    assert await waiting is store.volumes.get("v")


async def test_waiting_for_the_end_of_an_object_gives_none(store: Store) -> None:
    await add(store, "v")
    waiting = asyncio.create_task(store.wait_for(Volume, "v", lambda found: found is None))
    await asyncio.sleep(0)
    await store.commit(lambda transaction: transaction.delete(Volume, "v"))
    assert await waiting is None


async def test_waiting_in_vain_times_out_and_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(TimeoutError):
        await store.wait_for(Volume, "v", lambda found: found is not None, timeout=0.001)
    assert store._feed._waiters == {}


async def test_a_condition_that_raises_is_raised_to_the_waiter(store: Store) -> None:
    def broken(found: Volume | None) -> bool:
        if found is not None:
            raise KeyError(found.name)
        return False

    waiting = asyncio.create_task(store.wait_for(Volume, "v", broken))
    await asyncio.sleep(0)
    await add(store, "v")
    with pytest.raises(KeyError):
        await waiting


async def test_waiters_are_told_when_the_store_closes(url: str) -> None:
    store = await Store.open(url)
    waiting = asyncio.create_task(store.wait_for(Volume, "v", lambda found: found is not None))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(UnavailableError):
        await waiting
