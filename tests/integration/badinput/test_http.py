"""What is hardly HTTP: conflicting lengths, broken chunks, endless heads, floods, requests inside of requests."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from tests.integration.badinput.arena import Arena
from tests.integration.badinput.wire import Request, exchange

pytestmark = pytest.mark.host

MIB = 1024 * 1024
JSON = b"Content-Type: application/json\r\n"
CREATE = b'{"Image":"busybox","Cmd":["true"]}'


def head(line: bytes = b"GET /_ping HTTP/1.1", *headers: bytes) -> bytes:
    """A head on a connection that ends with it."""
    return b"\r\n".join([line, b"Host: docker", b"Connection: close", *headers, b"", b""])


def create(*headers: bytes, body: bytes = CREATE) -> bytes:
    """A container's creation, its length given by the headers alone."""
    return head(b"POST /containers/create HTTP/1.1", JSON.rstrip(), *headers) + body


LENGTH = b"Content-Length: %d" % len(CREATE)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%s\r\n" % (len(CREATE), CREATE)

REFUSED = {
    "two lengths that differ": create(LENGTH, b"Content-Length: 5"),
    "two lengths in one": create(b"Content-Length: %d, 5" % len(CREATE)),
    "a length and chunks": create(LENGTH, CHUNKED),
    "chunks and a length": create(CHUNKED, LENGTH, body=CHUNK + b"0\r\n\r\n"),
    "a negative length": create(b"Content-Length: -1"),
    "a length with a plus": create(b"Content-Length: +5"),
    "a length in hex": create(b"Content-Length: 0x22"),
    "a length with a blank": create(b"Content-Length: 3 4"),
    "a length that is none": create(b"Content-Length: many"),
    "no length in the field": create(b"Content-Length: "),
    "a length in other digits": create("Content-Length: ٣٤".encode()),
    "a length beyond 64 bits": create(b"Content-Length: 99999999999999999999999999"),
    "a length of 5,000 digits": create(b"Content-Length: " + b"9" * 5000),
    "a length of terabytes": create(b"Content-Length: 9999999999999"),
    "an unknown coding": create(b"Transfer-Encoding: bogus", body=CHUNK + b"0\r\n\r\n"),
    "chunks that are not last": create(b"Transfer-Encoding: chunked, gzip", body=CHUNK + b"0\r\n\r\n"),
    "chunks in chunks": create(b"Transfer-Encoding: chunked, chunked", body=CHUNK + b"0\r\n\r\n"),
    "two codings": create(CHUNKED, b"Transfer-Encoding: identity", body=CHUNK + b"0\r\n\r\n"),
    "a chunk of negative size": create(CHUNKED, body=b"-1\r\n" + CREATE),
    "a chunk with a prefix": create(CHUNKED, body=b"0x22\r\n" + CREATE + b"\r\n0\r\n\r\n"),
    "a chunk of no size": create(CHUNKED, body=b"\r\n" + CREATE),
    "a chunk of a size that is none": create(CHUNKED, body=b"zz\r\n" + CREATE),
    "a chunk of more than 64 bits": create(CHUNKED, body=b"fffffffffffffffff\r\n" + CREATE),
    "a chunk's size of 5,000 digits": create(CHUNKED, body=b"1" * 5000 + b"\r\n" + CREATE),
    "a chunk that is too long": create(CHUNKED, body=b"5\r\n" + CREATE + b"\r\n0\r\n\r\n"),
    "a chunk's endless extension": create(CHUNKED, body=b"22;" + b"x" * 2 * MIB),
    "a trailer that is none": create(CHUNKED, body=CHUNK + b"0\r\nno trailer\r\n\r\n"),
    "a header without a colon": head(b"GET /_ping HTTP/1.1", b"Nonsense"),
    "a blank before the colon": head(b"GET /_ping HTTP/1.1", b"Nonsense : x"),
    "a header without a name": head(b"GET /_ping HTTP/1.1", b": x"),
    "a NUL in a header": head(b"GET /_ping HTTP/1.1", b"X-A: a\0b"),
    "a NUL in a header's name": head(b"GET /_ping HTTP/1.1", b"X-\0A: b"),
    "a bare carriage return": head(b"GET /_ping HTTP/1.1", b"X-A: a\rX-B: b"),
    "a header of 2 MB": head(b"GET /_ping HTTP/1.1", b"X-A: " + b"a" * 2 * MIB),
    "a name of 2 MB": head(b"GET /_ping HTTP/1.1", b"X" * 2 * MIB + b": a"),
    "a target of 2 MB": head(b"GET /" + b"a" * 2 * MIB + b" HTTP/1.1"),
    "a query of 2 MB": head(b"GET /_ping?" + b"a" * 2 * MIB + b" HTTP/1.1"),
    "a method of 2 MB": head(b"G" * 2 * MIB + b" /_ping HTTP/1.1"),
    "10,000 headers": head(b"GET /_ping HTTP/1.1", *(b"X-%d: a" % number for number in range(10_000))),
    "a head that never ends": b"GET /_ping HTTP/1.1\r\n" + b"X-A: a\r\n" * 300_000,
    "a line that never ends": b"GET /" + b"a" * 4 * MIB,
    "no version": b"GET /_ping\r\n\r\n",
    "a version of the future": b"GET /_ping HTTP/3.0\r\nHost: docker\r\n\r\n",
    "a version that is none": b"GET /_ping HTTP/x\r\nHost: docker\r\n\r\n",
    "HTTP/2's greeting": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another protocol's greeting": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    "noise": bytes(range(128, 256)) * 20 + b"\r\n\r\n",
    "a target of the wrong form": head(b"GET _ping HTTP/1.1"),
    "a target that is an authority": head(b"CONNECT docker:80 HTTP/1.1"),
    "a blank in the target": head(b"GET /_ping x HTTP/1.1"),
    "a NUL in the target": head(b"GET /_pi\0ng HTTP/1.1"),
    "an unknown method": head(b"FROB /_ping HTTP/1.1"),
    "an expectation that is none": head(b"GET /_ping HTTP/1.1", b"Expect: miracles"),
    "an upgrade to what is not there": head(b"GET /none-such HTTP/1.1", b"Upgrade: tcp") + b"and more",
    "a websocket without a key": head(
        b"GET /containers/victim/attach/ws HTTP/1.1", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"
    ),
    "a websocket of no version": head(
        b"GET /containers/victim/attach/ws HTTP/1.1",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 99",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_http_is_refused_with_a_message(arena: Arena, name: str) -> None:
    reply = arena.send("HTTP", REFUSED[name])
    assert 400 <= reply.status < 500, reply
    arena.check_around()


BORNE = {
    "line feeds alone": b"GET /_ping HTTP/1.1\nHost: docker\nConnection: close\n\n",
    "empty lines first": b"\r\n\r\n" + head(),
    "the whole address": head(b"GET http://docker/_ping HTTP/1.1"),
    "an address of another scheme": head(b"GET ftp://docker/_ping HTTP/1.1"),
    "everything": head(b"OPTIONS * HTTP/1.1"),
    "no host": b"GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /_ping HTTP/1.0\r\n\r\n",
    "two hosts": head(b"GET /_ping HTTP/1.1", b"Host: other"),
    "a folded header": head(b"GET /_ping HTTP/1.1", b"X-A: a", b" b"),
    "no UTF-8": head(b"GET /_ping HTTP/1.1", b"X-A: \xff\xfe"),
    "a body where none belongs": head(b"GET /_ping HTTP/1.1", b"Content-Length: 4") + b"null",
    "the same length twice": create(LENGTH, LENGTH, body=CREATE),
    "a lower-case method": head(b"get /_ping HTTP/1.1"),
}


@pytest.mark.parametrize("name", BORNE)
def test_what_servers_differ_about_is_answered_one_way_or_the_other(arena: Arena, name: str) -> None:
    assert arena.send("HTTP", BORNE[name]).status < 500


def test_a_request_inside_of_a_request_is_never_heard(arena: Arena) -> None:
    inside = (
        b"POST /volumes/create HTTP/1.1\r\nHost: docker\r\n"
        + JSON
        + b"Content-Length: 19\r\n\r\n"
        + b'{"Name":"smuggled"}'
    )
    for outer in (
        create(LENGTH, CHUNKED, body=b"0\r\n\r\n" + inside),
        create(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n" + inside),
        create(b"Content-Length: 0", b"Content-Length: %d" % len(inside), body=inside),
        create(b"Transfer-Encoding: xchunked", b"Content-Length: 0", body=inside),
        create(b"Transfer-Encoding : chunked", b"Content-Length: %d" % len(inside), body=b"0\r\n\r\n" + inside),
        head(b"GET /_ping HTTP/1.1", b"Upgrade: tcp") + inside,
        head(b"POST /containers/none-such/attach?stream=1 HTTP/1.1", b"Upgrade: tcp") + inside,
        head(b"GET /_ping HTTP/1.1", b"X-A: a\r\r\n\r\n" + inside),
    ):
        raw = outer.replace(b"Connection: close\r\n", b"")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(arena.engine.socket_path))
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := connection.recv(65536):
                    received += data
        assert b"smuggled" not in received, (raw, received)
        assert not [v for v in arena.stage.ask("GET", "/volumes").json()["Volumes"] if v["Name"] == "smuggled"], raw
        arena.stage.restore()


def test_two_requests_in_one_go_are_both_answered(arena: Arena) -> None:
    first = head().replace(b"Connection: close\r\n", b"")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(arena.engine.socket_path))
        connection.sendall(first * 200 + head())
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 200 OK") == 201


@pytest.mark.parametrize("kept", [0, 1, len(CREATE) - 1])
@pytest.mark.parametrize("framing", [b"Content-Length: %d" % len(CREATE), CHUNKED])
def test_a_body_that_is_cut_off_changes_nothing(arena: Arena, kept: int, framing: bytes) -> None:
    body = CREATE if framing != CHUNKED else CHUNK
    reply = arena.send("ContainerCreate", create(framing, body=body[:kept]), cut=True)
    assert reply.status == 0 or 400 <= reply.status < 500


def test_a_client_that_hangs_up_in_the_middle_is_forgotten(arena: Arena) -> None:
    before = _descriptors(arena)
    for number in range(100):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(arena.engine.socket_path))
            connection.sendall(create(LENGTH)[: 20 + number * 2])
    arena.send("SystemPing", head())
    _until_at_most(arena, before + 5)


def test_500_clients_that_say_nothing_keep_nobody_out(arena: Arena) -> None:
    before = _descriptors(arena)
    with contextlib.ExitStack() as stack:
        for number in range(500):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(arena.engine.socket_path))
            connection.sendall(head()[: number % 40])
        for _ in range(20):
            assert arena.send("SystemPing", head()).status == 200
    _until_at_most(arena, before + 5)


def test_who_waits_to_be_asked_for_the_body_is_asked(arena: Arena) -> None:
    raw = Request(
        "POST",
        b"/volumes/create",
        ((b"Content-Type", b"application/json"), (b"Expect", b"100-continue")),
        b'{"Name":"kept"}',
    )
    reply = exchange(arena.engine.socket_path, raw.render(), seconds=20)
    assert (reply.status, json.loads(reply.body)["Name"]) == (201, "kept")


def _descriptors(arena: Arena) -> int:
    return len(arena.open_files())


def _until_at_most(arena: Arena, number: int) -> None:
    arena.wait(lambda: _descriptors(arena) <= number, f"more than {number} descriptors are still open")
