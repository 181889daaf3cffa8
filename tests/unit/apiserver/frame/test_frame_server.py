"""The server over a real socket: versions, errors, limits, streams, shutdown."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from apiserver.bodies import LIMIT

if TYPE_CHECKING:
    from tests.unit.apiserver.frame.conftest import Client, Starter

JSON = ("Content-Type: application/json",)


async def test_every_answer_says_what_it_talks_to(client: Client) -> None:
    for path in ("/things/a", "/nope", "/v9.9/things/a", "/fail"):
        headers = (await client.ask("GET", path)).headers
        assert headers["api-version"] == "1.41"
        assert headers["ostype"] == "linux"
        assert headers["docker-experimental"] == "false"
        assert headers["server"].startswith("Wharfinger/")


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41"])
async def test_a_path_may_begin_with_a_version(client: Client, version: str) -> None:
    reply = await client.ask("GET", f"/v{version}/things/a")
    assert msgspec.json.decode(reply.body)["version"] == [int(part) for part in version.split(".")]


async def test_no_version_means_the_newest(client: Client) -> None:
    assert msgspec.json.decode((await client.ask("GET", "/things/a")).body)["version"] == [1, 41]


@pytest.mark.parametrize("version", ["1.42", "2.0", "1.41.2", "99"])
async def test_a_version_that_is_too_new_is_refused_in_dockerds_words(client: Client, version: str) -> None:
    reply = await client.ask("GET", f"/v{version}/things/a")
    assert reply.status == 400
    assert reply.message == f"client version {version} is too new. Maximum supported API version is 1.41"


@pytest.mark.parametrize("version", ["1.23", "1.12", "1", "0.5"])
async def test_a_version_that_is_too_old_is_refused_in_dockerds_words(client: Client, version: str) -> None:
    reply = await client.ask("GET", f"/v{version}/things/a")
    assert reply.status == 400
    assert reply.message == (
        f"client version {version} is too old. Minimum supported API version is 1.24, "
        "please upgrade your client to a newer version"
    )


@pytest.mark.parametrize("path", ["/nope", "/v1.41/nope", "/v1.41", "/", "/things", "/fail/", "/vx/things/a", "/v./x"])
async def test_a_path_that_is_not_there_is_not_found(client: Client, path: str) -> None:
    reply = await client.ask("GET", path)
    assert (reply.status, reply.message) == (404, "page not found")
    assert reply.headers["content-type"] == "application/json"


async def test_a_method_that_a_path_lacks_is_not_allowed(client: Client) -> None:
    reply = await client.ask("PUT", "/things/a")
    assert (reply.status, reply.message) == (405, "method not allowed")
    assert reply.headers["allow"] == "DELETE, GET"


async def test_a_written_out_path_goes_before_a_parameter_for_its_method_only(client: Client) -> None:
    assert (await client.ask("GET", "/things/json")).status == 409
    assert (await client.ask("DELETE", "/things/json")).status == 500  # the test's handler wants another name


async def test_a_path_that_is_not_clean_is_redirected(client: Client) -> None:
    for path, clean in (("/things//a?q=1", "/things/a?q=1"), ("/x/../things/./a", "/things/a")):
        reply = await client.ask("GET", path)
        assert (reply.status, reply.headers["location"]) == (301, clean)


async def test_an_escaped_path_is_decoded_once(client: Client) -> None:
    assert msgspec.json.decode((await client.ask("GET", "/things/a%2Db%20%25")).body)["id"] == "a-b %"


async def test_failures_are_messages_with_their_status(client: Client) -> None:
    refused = await client.ask("GET", "/refuse")
    assert (refused.status, refused.message) == (409, "not now")
    unmodified = await client.ask("GET", "/unmodified")
    assert (unmodified.status, unmodified.body) == (304, b"")


async def test_an_unforeseen_failure_tells_the_client_no_secret(client: Client) -> None:
    reply = await client.ask("GET", "/fail")
    assert reply.status == 500
    assert "secret" not in reply.message


async def test_a_query_that_cannot_be_is_refused(client: Client) -> None:
    assert (await client.ask("GET", "/things/a?n=x")).message == 'strconv.Atoi: parsing "x": invalid syntax'
    assert (await client.ask("GET", "/things/a?%zz")).message == 'invalid URL escape "%zz"'


@pytest.mark.parametrize("given", ["text/plain", "bogus;;;", "application/jsonx"])
async def test_a_body_of_another_type_is_refused_in_dockerds_words(client: Client, given: str) -> None:
    reply = await client.ask("POST", "/body", b"{}", [f"Content-Type: {given}"])
    assert (reply.status, reply.message) == (400, f"Content-Type specified ({given}) must be 'application/json'")


async def test_a_body_without_a_type_is_refused(client: Client) -> None:
    reply = await client.ask("POST", "/body", b"{}")
    assert reply.message == "Content-Type specified () must be 'application/json'"


async def test_a_type_may_have_parameters_and_unknown_properties_are_ignored(client: Client) -> None:
    reply = await client.ask(
        "POST", "/body", b'{"Name":"a","Bogus":1}', ["Content-Type: Application/JSON; charset=utf-8"]
    )
    assert msgspec.json.decode(reply.body) == {"Name": "a", "Number": 0, "Labels": None}


async def test_a_missing_body_is_refused_unless_it_is_optional(client: Client) -> None:
    assert (await client.ask("POST", "/body", b"", JSON)).message == "got EOF while reading request body"
    assert (await client.ask("POST", "/body")).message == "got EOF while reading request body"
    assert (await client.ask("POST", "/optional")).status == 200


async def test_a_body_that_is_too_long_is_refused_unread(client: Client) -> None:
    head = f"POST /body HTTP/1.1\r\nHost: x\r\n{JSON[0]}\r\nContent-Length: {LIMIT + 1}\r\n\r\n"
    reply = await client.send(head.encode())
    assert (reply.status, reply.message) == (413, "http: request body too large")


async def test_a_chunked_body_that_is_too_long_is_refused(client: Client) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = f"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{JSON[0]}\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await client.send(head.encode() + chunk * 5 + b"0\r\n\r\n")
    assert (reply.status, reply.message) == (413, "http: request body too large")


@pytest.mark.parametrize(
    "raw", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nFoo\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"]
)
async def test_what_is_no_http_is_answered_with_a_message_and_the_end(client: Client, raw: bytes) -> None:
    reply = await client.send(raw)
    assert reply.status == 400
    assert reply.message


async def test_a_head_that_is_too_large_is_refused(start: Starter) -> None:
    client = await start(max_header_size=10_000)
    reply = await client.send(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 20_000)
    assert reply.status == 431
    reply = await client.send(b"GET / HTTP/1.1\r\n" + b"X-A: aaaa\r\n" * 2_000)
    assert reply.status == 431


async def test_a_head_as_large_as_allowed_is_taken(start: Starter) -> None:
    client = await start(max_header_size=10_000)
    assert (await client.ask("GET", "/things/a", headers=["X-A: " + "a" * 9_000])).status == 200


async def test_a_head_that_does_not_arrive_in_time_is_refused(start: Starter) -> None:
    client = await start(read_timeout=0.1)
    assert (await client.send(b"GET /things/a HTTP/1.1\r\nX: ")).status == 408


async def test_a_body_that_does_not_arrive_in_time_is_refused(start: Starter) -> None:
    client = await start(read_timeout=0.1)
    head = f"POST /body HTTP/1.1\r\nHost: x\r\n{JSON[0]}\r\nContent-Length: 100\r\n\r\n{{"
    assert (await client.send(head.encode())).status == 408


async def test_a_living_stream_outlives_every_limit_of_time(start: Starter) -> None:
    client = await start(read_timeout=0.1, write_timeout=0.1, keep_alive=0.1)
    reader, writer = await client.connect()
    writer.write(b"GET /tick HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(20):
        assert await reader.readuntil(b"tick\n")
    writer.close()


async def test_a_client_that_reads_no_answer_is_cut_off(start: Starter) -> None:
    client = await start(write_timeout=0.1)
    reader, writer = await client.connect()
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(1)
    received = 0
    try:
        while data := await reader.read(1 << 20):
            received += len(data)
    except ConnectionResetError:
        pass
    assert received < 64_000_000
    writer.close()


async def test_connections_beyond_the_limit_wait_for_their_turn(start: Starter) -> None:
    client = await start(connections=1)
    _, first = await client.connect()
    first.write(b"GET /tick HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.1)
    second = asyncio.create_task(client.ask("GET", "/things/a"))
    done, _ = await asyncio.wait([second], timeout=0.3)
    assert not done
    first.close()
    assert (await second).status == 200


async def test_a_connection_is_kept_for_the_next_request(client: Client) -> None:
    reader, writer = await client.connect()
    for _ in range(3):
        writer.write(b"GET /things/a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readuntil(b"}\n")
    writer.close()


async def test_requests_may_be_sent_ahead_of_their_answers(client: Client) -> None:
    one = b"GET /things/a HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /things/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    reader, writer = await client.connect()
    writer.write(one + one + last)
    assert (await reader.read()).count(b"200 OK") == 3
    writer.close()


async def test_a_client_that_closed_its_writing_side_is_answered(client: Client) -> None:
    reply = await client.send(b"GET /wait?ms=100 HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True)
    assert reply.status == 200


async def test_a_failure_inside_a_stream_cuts_the_connection(client: Client) -> None:
    reply = await client.ask("GET", "/break")
    assert b"begun" in reply.body
    assert not reply.body.endswith(b"0\r\n\r\n")


async def test_a_shutdown_ends_streams_at_once_and_lets_requests_finish(start: Starter) -> None:
    client = await start(graceful_timeout=20.0)
    stream = asyncio.create_task(client.ask("GET", "/tick"))
    request = asyncio.create_task(client.ask("GET", "/wait?ms=500"))
    await asyncio.sleep(0.2)
    await client.server.shutdown()
    assert (await request).status == 200
    assert b"tick" in (await stream).body


async def test_a_shutdown_does_not_wait_for_ever(start: Starter) -> None:
    client = await start(graceful_timeout=0.1)
    request = asyncio.create_task(client.ask("GET", "/wait?ms=600000"))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(20):
        await client.server.shutdown()
    request.cancel()


async def test_a_socket_is_gone_after_the_shutdown(start: Starter) -> None:
    client = await start()
    path = client.server.listeners[0].endpoint.path
    assert path.is_socket()
    await client.server.shutdown()
    assert not path.exists()


PIECES = [
    b"GET /things/a HTTP/1.1\r\n",
    b"POST /echo HTTP/1.1\r\n",
    b"POST /body HTTP/1.0\r\n",
    b"Host: x\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
    b"Upgrade: websocket\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"zz\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Type: application/json\r\n",
    b"{}",
    b"\x00\xff",
    b"\n",
    b" ",
    b"A" * 9000,
]


async def test_whatever_is_sent_the_server_lives_on(client: Client) -> None:
    chance = random.Random(20)

    async def trouble() -> None:
        _, writer = await client.connect()
        for _ in range(chance.randrange(1, 12)):
            writer.write(chance.choice(PIECES))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        if chance.random() < 0.5 and writer.can_write_eof():
            writer.write_eof()
        await asyncio.sleep(chance.random() / 20)
        writer.transport.abort()

    for _ in range(20):
        await asyncio.gather(*(trouble() for _ in range(25)))
    assert (await client.ask("GET", "/things/a")).status == 200
    async with asyncio.timeout(20):
        while client.server.requests_in_progress:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
