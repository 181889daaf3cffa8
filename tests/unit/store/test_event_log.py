"""Events: kept, followed, and not for ever."""

from __future__ import annotations

import time

import pytest

from store import writer
from store.objects import Event, Volume
from store.store import SlowReaderError, Store, Transaction
from tests.unit.store.samples import volume

WEEK = 7 * 24 * 3600 * 10**9


def happened(action: str, at: int | None = None) -> Event:
    return Event(
        type="volume", action=action, actor="v", attributes={"ä": "ö"}, at=time.time_ns() if at is None else at
    )


async def emit(store: Store, *events: Event) -> None:
    for event in events:
        await store.commit(lambda transaction, event=event: transaction.emit(event))  # type: ignore[misc]


async def test_events_are_kept_over_a_restart_in_order(url: str) -> None:
    store = await Store.open(url)
    await emit(store, happened("create"), happened("mount"))
    kept = await store.events.read()
    await store.close()
    store = await Store.open(url)
    await emit(store, happened("destroy"))
    events = await store.events.read()
    assert events[:2] == kept
    assert [event.action for event in events] == ["create", "mount", "destroy"]
    assert events[0].attributes == {"ä": "ö"}
    assert sorted({event.sequence for event in events}) == [event.sequence for event in events]
    await store.close()


async def test_reading_is_bounded_by_time_on_both_sides(store: Store) -> None:
    now = time.time_ns()
    await emit(store, *(happened(str(number), now + number) for number in range(5)))
    assert [event.action for event in await store.events.read(now + 1, now + 3)] == ["1", "2", "3"]
    assert [event.action for event in await store.events.read(now + 4)] == ["4"]


async def test_an_event_of_a_change_that_fails_never_happened(store: Store) -> None:
    def change(transaction: Transaction) -> None:
        transaction.emit(happened("create"))
        transaction.insert(volume("v"))
        transaction.insert(volume("v"))

    with store.events.follow() as events:
        with pytest.raises(Exception, match="already in use"):
            await store.commit(change)
        await emit(store, happened("next"))
        assert (await anext(events)).action == "next"
    assert [event.action for event in await store.events.read()] == ["next"]


async def test_a_follower_gets_events_after_their_changes_are_seen(store: Store) -> None:
    seen: list[bool] = []
    store.events.on_event(lambda event: seen.append(store.volumes.get("v") is not None))

    def change(transaction: Transaction) -> None:
        transaction.insert(volume("v"))
        transaction.emit(happened("create"))

    with store.events.follow() as events:
        await store.commit(change)
        assert (await anext(events)).sequence == store.revision
    assert seen == [True]
    assert store.view(Volume).get("v") is not None


async def test_a_follower_that_does_not_read_is_dropped(store: Store) -> None:
    def flood(transaction: Transaction) -> None:
        for _ in range(5000):
            transaction.emit(happened("x"))

    with store.events.follow() as events:
        await store.commit(flood)
        with pytest.raises(SlowReaderError):
            await anext(events)


async def test_only_the_newest_events_are_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PRUNE_EVERY", 10)
    store = await Store.open(url, events_kept=5)
    await emit(store, *(happened(str(number)) for number in range(30)))
    await store.close()
    store = await Store.open(url, events_kept=5)
    kept = [int(event.action) for event in await store.events.read()]
    assert kept == list(range(kept[0], 30))
    assert 5 <= len(kept) < 15
    await store.close()


async def test_events_older_than_a_week_are_not_kept(url: str) -> None:
    store = await Store.open(url)
    await emit(store, happened("old", time.time_ns() - WEEK - 1), happened("young", time.time_ns() - WEEK // 2))
    await store.close()
    store = await Store.open(url)
    await emit(store, happened("new"))
    await store.close()
    store = await Store.open(url)
    assert [event.action for event in await store.events.read()] == ["young", "new"]
    await store.close()
