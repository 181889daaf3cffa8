"""Answers that are at hand go out at once; whatever is not beyond doubt goes the long way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from apiserver.middleware.metrics import HTTP_REGISTRY

if TYPE_CHECKING:
    from tests.unit.apiserver.frame.conftest import Client, Starter

AT_ONCE = b"GET /v1.41/at-once/a?q=%c3%a9 HTTP/1.1\r\nHost: docker\r\n\r\n"
LAST = b"GET /things/a HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"


async def exchange(client: Client, *parts: bytes) -> bytes:
    """Sends pieces one by one on a connection that has been used before, then ends it; all that came back."""
    reader, writer = await client.connect()
    writer.write(AT_ONCE)
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len("at once é".encode()))
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    writer.write(LAST)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


def counted() -> float:
    labels = {"route": "/at-once/{id}", "method": "GET", "code": "200"}
    return HTTP_REGISTRY.get_sample_value("http_requests_total", labels) or 0


async def test_an_answer_at_hand_goes_out_with_all_headers_and_is_counted(client: Client) -> None:
    before = counted()
    head, _, rest = (await exchange(client, AT_ONCE)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert names == {
        b"content-type", b"x-own", b"api-version", b"docker-experimental",
        b"ostype", b"server", b"content-length", b"date",
    }  # fmt: skip
    assert rest.startswith("at once é".encode() + b"HTTP/1.1 200 OK")
    assert counted() == before + 2


@pytest.mark.parametrize(
    "request_",
    [
        AT_ONCE.replace(b"Host: docker", b"Host: docker\r\nX-Any: 1"),
        AT_ONCE.replace(b"Host: docker", b"Host: docker\r\nContent-Length: 0"),
        AT_ONCE.replace(b"/a?", b"/slow?"),
    ],
)
async def test_what_is_not_beyond_doubt_goes_the_long_way(client: Client, request_: bytes) -> None:
    assert (await exchange(client, request_)).count(b"the long way") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (AT_ONCE.replace(b"/a?", b"/none?"), 200),
        (AT_ONCE.replace(b"v1.41", b"v9.9"), 400),
        (AT_ONCE.replace(b"%c3", b"%zz"), 400),
        (AT_ONCE.replace(b"/at-once", b"//at-once"), 301),
        (AT_ONCE.replace(b"at-once", b"nowhere"), 404),
        (AT_ONCE.replace(b"GET", b"PUT"), 405),
    ],
)
async def test_what_is_wrong_is_told_the_long_way(client: Client, request_: bytes, status: int) -> None:
    assert (await exchange(client, request_)).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("header", [b"Host: a\x00b", b"Host docker", b": docker", b"Host: docker\nX: 1"])
async def test_a_head_that_is_no_http_is_refused_as_ever(client: Client, header: bytes) -> None:
    reply = await client.send(AT_ONCE.replace(b"Host: docker", header))
    assert reply.status == 400


async def test_a_request_in_pieces_and_two_in_one_are_answered(client: Client) -> None:
    assert (await exchange(client, AT_ONCE[:20], AT_ONCE[20:])).count(b"the long way") == 1
    assert (await exchange(client, AT_ONCE * 2)).count(b"the long way") == 2


async def test_an_answer_never_overtakes_an_earlier_one(client: Client) -> None:
    answer = await exchange(client, b"GET /wait?ms=200 HTTP/1.1\r\nHost: docker\r\n\r\n", AT_ONCE)
    assert answer.index(b"{}") < answer.index(b"the long way")


async def test_strangers_over_tcp_are_looked_at(start: Starter, free_port: int) -> None:
    client = await start(schemes=("http",), port=free_port)
    assert (await client.send(AT_ONCE.replace(b"docker", b"localhost"), half_close=True)).body == b"the long way"


async def test_a_connection_that_only_got_answers_at_once_is_not_kept_for_ever(start: Starter) -> None:
    client = await start(keep_alive=0.2)
    reader, writer = await client.connect()
    for _ in range(3):
        writer.write(AT_ONCE)
        await reader.readuntil("at once é".encode())
        await asyncio.sleep(0.1)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_who_reads_nothing_is_not_answered_without_end(client: Client) -> None:
    reader, writer = await client.connect()
    sent = 0
    while sent < 200_000:
        writer.write(AT_ONCE)
        sent += 1
        try:
            await asyncio.wait_for(writer.drain(), 0.5)
        except TimeoutError:
            break
    assert sent < 200_000
    writer.write(LAST)
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.count(b"HTTP/1.1 200 OK") == sent + 1
    writer.close()
