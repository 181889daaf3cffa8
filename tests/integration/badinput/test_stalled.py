"""Clients that ask for streams and then never read: they cost nothing, and nobody waits for them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.integration.badinput.arena import Arena
from tests.integration.badinput.wire import Request
from tests.support.engine import Engine

pytestmark = pytest.mark.host

READERS = 200
# A megabyte a second, and the number of the round in a file beside it.
TALKER = (
    "head -c 100000 /dev/zero | tr '\\0' x > /x; i=0; "
    "while :; do cat /x; echo $i > /next; mv /next /round; i=$((i+1)); usleep 100000; done"
)
STREAMS = (
    "POST /containers/talker/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n"
    "Upgrade: tcp\r\nConnection: Upgrade",
    "POST /containers/talker/attach?stream=1&stdout=1&logs=1 HTTP/1.1\r\nHost: x",
    "GET /containers/talker/logs?follow=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x",
    "GET /events?since=1 HTTP/1.1\r\nHost: x",
    "GET /containers/talker/stats HTTP/1.1\r\nHost: x",
    "GET /containers/talker/attach/ws?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture
def talker(arena: Arena) -> Iterator[Engine]:
    """The engine, with a container that never stops talking."""
    engine = arena.engine
    engine.run("-d", "--name", "talker", "--log-opt", "max-size=10m", "busybox", "sh", "-c", TALKER)
    arena.stage.accept()
    try:
        yield engine
    finally:
        arena.stage.restore()


@contextlib.contextmanager
def stalled(engine: Engine, number: int, streams: tuple[str, ...] = STREAMS) -> Iterator[None]:
    """So many clients that have asked for a stream, in turn for each kind, and read nothing."""
    with contextlib.ExitStack() as stack:
        for index in range(number):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(engine.socket_path))
            connection.sendall(streams[index % len(streams)].encode() + b"\r\n\r\n")
        yield


def rounds(engine: Engine) -> int:
    """How often the container has spoken."""
    return int(engine.docker("exec", "talker", "cat", "/round").out)


def test_readers_that_stall_cost_nothing_and_block_nobody(arena: Arena, talker: Engine) -> None:
    files = len(arena.open_files())
    arena.wait(lambda: rounds(talker) > 5, "the container does not speak")
    with arena.memory_watched(100, helpers=False), stalled(talker, READERS):
        for _ in range(3):
            begun = rounds(talker)
            # Long enough for all that is between the container and its readers to be full.
            arena.wait(lambda begun=begun: rounds(talker) > begun + 30, "the container is held up")  # type: ignore[misc]
            for _ in range(10):
                arena.send("SystemPing", Request("GET", b"/_ping").render())
            assert talker.run("--rm", "busybox", "echo", "hello") == "hello"
            assert talker.docker("logs", "--tail", "1", "talker").out
    arena.wait(lambda: len(arena.open_files()) <= files + 5, "descriptors of clients that have gone are still open")


def test_who_reads_hears_everything_beside_those_who_do_not(arena: Arena, talker: Engine) -> None:
    with stalled(talker, 20), socket.socket(socket.AF_UNIX) as reader:
        reader.settimeout(30)
        reader.connect(str(talker.socket_path))
        reader.sendall(STREAMS[0].encode() + b"\r\n\r\n")
        received = 0
        while received < 3_000_000:
            data = reader.recv(1 << 18)
            assert data, "the stream ended"
            received += len(data)


def test_a_terminal_that_nobody_reads_can_still_be_ended(arena: Arena) -> None:
    engine = arena.engine
    engine.docker("run", "-d", "-i", "-t", "--name", "shell", "busybox", "sh", "-c", "while :; do echo hello; done")
    with stalled(engine, 20, (STREAMS[0].replace("talker", "shell"),)):
        assert engine.docker("rm", "-f", "shell").code == 0
    arena.stage.restore()


def test_hijacks_that_never_speak_are_let_go(arena: Arena) -> None:
    files = len(arena.open_files())
    engine = arena.engine
    with contextlib.ExitStack() as stack:
        for index in range(50):
            made = engine.request(
                "POST", "/containers/victim/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
            )
            raw = Request(
                "POST",
                f"/exec/{made.json()['Id']}/start".encode(),
                ((b"Content-Type", b"application/json"), (b"Upgrade", b"tcp")),
                b'{"Detach":false}',
            ).render()
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(30)
            connection.connect(str(engine.socket_path))
            connection.sendall(raw)
            if index % 3 == 0:
                assert connection.recv(12).startswith(b"HTTP/1.1 101")
            if index % 3 == 1:
                connection.shutdown(socket.SHUT_WR)
        arena.send("SystemPing", Request("GET", b"/_ping").render())
    arena.wait(lambda: len(arena.open_files()) <= files + 5, "descriptors of hijacks that ended are still open")
    arena.wait(lambda: engine.docker("top", "victim").out.count("\n") <= 4, "processes of hijacks that ended still run")
    arena.stage.restore("victim")
