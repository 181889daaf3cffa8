"""Connections taken over, frames, progress lines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from apiserver.streams import STDERR, STDOUT, frame, human_size, progress_bar

if TYPE_CHECKING:
    from tests.unit.apiserver.frame.conftest import Client, Starter

UPGRADE = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"


async def test_a_client_that_asks_for_it_gets_the_connection_as_a_stream(client: Client) -> None:
    reply = await client.send(b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"\r\n", half_close=True)
    assert reply.status == 101
    assert reply.headers["upgrade"] == "tcp"
    assert reply.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert reply.body == b"bye"


async def test_a_client_that_does_not_ask_gets_a_stream_behind_200(client: Client) -> None:
    reader, writer = await client.connect()
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    writer.write(b"a")
    assert await reader.readexactly(3) == b"<a>"
    writer.close()


async def test_bytes_sent_with_the_request_belong_to_the_stream(client: Client) -> None:
    reply = await client.send(b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"\r\nabc", half_close=True)
    assert reply.body == b"<abc>bye"


async def test_bytes_behind_a_body_belong_to_the_stream(client: Client) -> None:
    raw = b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n"
    reply = await client.send(raw, half_close=True)
    assert reply.body == b"<GET / HTTP/1.1\r\n\r\n>bye"


async def test_a_request_that_arrives_byte_by_byte_is_the_same(client: Client) -> None:
    reader, writer = await client.connect()
    for byte in b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert b"101 UPGRADED" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x")
    assert await reader.readexactly(3) == b"<x>"
    writer.close()


async def test_what_follows_an_upgrade_that_was_refused_is_not_read_as_http(client: Client) -> None:
    reply = await client.send(b"POST /nope HTTP/1.1\r\n" + UPGRADE + b"\r\nGET /things/a HTTP/1.1\r\n\r\n")
    assert (reply.status, reply.message) == (404, "page not found")
    assert reply.body.count(b"HTTP/1.1") == 0


async def test_megabytes_pass_both_ways_whole(client: Client) -> None:
    reader, writer = await client.connect()
    writer.write(b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    sent = bytes(range(97, 105)) * 1_000_000

    async def send() -> None:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    received = await reader.read()
    await sending
    assert received.endswith(b"bye")
    assert received.removesuffix(b"bye").replace(b"<", b"").replace(b">", b"") == sent
    writer.close()


async def test_a_handler_ends_when_its_client_has_gone_for_good(client: Client) -> None:
    _, writer = await client.connect()
    writer.write(b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    await asyncio.sleep(0.1)
    writer.close()
    async with asyncio.timeout(20):
        while client.server.requests_in_progress:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_websocket_is_a_stream_too(start: Starter) -> None:
    client = await start(read_timeout=0.1, write_timeout=0.1, keep_alive=0.1)
    path = str(client.server.listeners[0].endpoint.path)
    async with aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(path)) as session:
        async with session.ws_connect("/v1.41/talk") as socket:
            for number in range(3):
                await socket.send_str(str(number))
                assert await socket.receive_str() == f"<{number}>"
                await asyncio.sleep(0.15)
        assert socket.close_code == 1000


def test_a_frame_is_the_stream_the_length_and_the_data() -> None:
    assert frame(STDOUT, b"hello") == b"\x01\0\0\0\0\0\0\x05hello"
    assert frame(STDERR, b"x" * 300)[:8] == b"\x02\0\0\0\0\0\x01\x2c"


async def test_progress_is_lines_of_json(client: Client) -> None:
    reply = await client.ask("POST", "/pull")
    assert reply.status == 200
    assert b'{"status":"Downloading","progressDetail":{"current":5,"total":10},"progress":"[====' in reply.body
    assert b'"id":"abc"}\r\n' in reply.body


async def test_a_failure_before_the_first_line_is_an_http_error_and_a_line_later(client: Client) -> None:
    early = await client.ask("POST", "/pull?early=1")
    assert (early.status, early.message) == (409, "early")
    late = await client.ask("POST", "/pull?late=1")
    assert late.status == 200
    assert b'{"errorDetail":{"message":"late"},"error":"late"}\r\n' in late.body


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (32770, "32.77kB"), (2_200_000, "2.2MB"), (5e12, "5TB")]
)
def test_sizes_are_decimal_with_four_digits(size: float, text: str) -> None:
    assert human_size(size) == text


def test_a_progress_bar_is_fifty_wide() -> None:
    assert progress_bar(32770, 2_200_000) == "[>" + " " * 50 + "]  32.77kB/2.2MB"
    assert progress_bar(10, 10) == "[" + "=" * 50 + ">]      10B/10B"
    assert progress_bar(10, 0) == "     10B"
