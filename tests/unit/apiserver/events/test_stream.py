"""``GET /events`` over HTTP, on a real store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from apiserver.composition import Engine
from apiserver.config import Settings
from apiserver.frontend import Frontend
from apiserver.routes.events import routes
from store.objects import Event
from store.store import Store, Transaction

Client = TestClient[web.Request, web.Application]
SECOND = 10**9


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    engine = cast("Engine", SimpleNamespace(store=store))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Frontend(routes(engine), Settings()).__call__)
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def emit(store: Store, *actions: str, at: int | None = None) -> None:
    def change(transaction: Transaction) -> None:
        for action in actions:
            transaction.emit(Event(type="volume", action=action, actor="v", at=time.time_ns() if at is None else at))

    await store.commit(change)


async def get(client: Client, **query: Any) -> ClientResponse:
    return await client.get("/v1.41/events", params={name: str(value) for name, value in query.items()})


async def actions(response: ClientResponse) -> list[str]:
    """All of a stream that ends."""
    return [json.loads(line)["Action"] for line in (await response.text()).splitlines()]


async def next_action(response: ClientResponse) -> str:
    action: str = json.loads(await response.content.readline())["Action"]
    return action


async def test_the_answer_begins_at_once_and_has_only_coming_events(client: Client, store: Store) -> None:
    await emit(store, "before")
    response = await get(client)
    assert (response.status, response.content_type) == (200, "application/json")
    await emit(store, "after")
    assert await next_action(response) == "after"


async def test_since_replays_and_follows_without_loss_or_repetition(client: Client, store: Store) -> None:
    await emit(store, *"abc")
    response = await get(client, since=0)
    storm = [emit(store, str(number)) for number in range(50)]
    await asyncio.gather(*storm)
    expected = ["a", "b", "c", *(str(number) for number in range(50))]
    assert [await next_action(response) for _ in expected] == expected


async def test_kept_events_are_replayed_while_more_come_in(client: Client, store: Store) -> None:
    running = True

    async def flood() -> int:
        number = 0
        while running:
            await emit(store, str(number))
            number += 1
        return number

    task = asyncio.create_task(flood())
    responses = [await get(client, since=0) for _ in range(10)]
    running = False
    total = await task
    for response in responses:
        assert [await next_action(response) for _ in range(total)] == [str(number) for number in range(total)]


async def test_until_in_the_past_ends_the_stream_after_the_replay(client: Client, store: Store) -> None:
    now = time.time_ns()
    await emit(store, "old", at=now - 3 * SECOND)
    await emit(store, "new", at=now)
    until = f"{now // SECOND - 1}.{now % SECOND:09d}"
    assert await actions(await get(client, until=until)) == ["old"]
    assert await actions(await get(client, since=now // SECOND - 2, until=until)) == []


async def test_until_in_the_future_ends_the_stream_then(client: Client, store: Store) -> None:
    await emit(store, "old")
    until = time.time_ns() + SECOND
    response = await get(client, since=0, until=f"{until // SECOND}.{until % SECOND:09d}")
    await emit(store, "young")
    assert await actions(response) == ["old", "young"]
    assert time.time_ns() >= until


async def test_filters_hold_for_kept_and_coming_events(client: Client, store: Store) -> None:
    await emit(store, "create", "mount")
    response = await get(client, since=0, filters=json.dumps({"event": ["mount"], "volume": ["v"]}))
    await emit(store, "create", "mount")
    assert [await next_action(response) for _ in range(2)] == ["mount", "mount"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"since": "abc"}, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ({"until": "1.x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"since": 9, "until": 5}, "`since` time (9) cannot be after `until` time (5)"),
        ({"filters": "xx"}, "invalid character 'x' looking for beginning of value"),
    ],
)
async def test_what_cannot_be_is_refused_in_dockerds_words(client: Client, query: dict[str, Any], message: str) -> None:
    response = await get(client, **query)
    assert (response.status, await response.json()) == (400, {"message": message})


async def test_a_client_that_leaves_is_forgotten(client: Client, store: Store) -> None:
    response = await get(client)
    assert len(store.events._followers) == 1
    response.close()
    while store.events._followers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_the_stream_ends_when_the_store_closes(client: Client, store: Store) -> None:
    response = await get(client, since=0)
    await store.close()
    assert await actions(response) == []
