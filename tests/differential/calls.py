"""A run: calls of the API made one after another, on our engine and on dockerd."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import quote

from apiserver.dispatch import Route, Router
from apiserver.routes.table import all_routes
from store.errors import EngineError
from tests.support.daemon import Answer, Daemon
from tests.support.fake_registry import FakeRegistry
from tests.support.image_content import Content

PATIENCE = 30.0
"""Seconds in which a call that is repeated until something is so has to see it, and the limit of each answer."""
LINGERING = 0.5
"""Seconds in which what happens beside the last answers has been told as an event."""
ROUTES: tuple[Route, ...] = tuple(all_routes(MagicMock()))
_ROUTER = Router(ROUTES)
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Origin": "http://docker",
}


@dataclass(frozen=True)
class Call:
    """One call, what dockerd answers to it, and how the answers are made comparable.

    ``line`` is ``METHOD /path?query``, written as a person would: it is quoted when it is sent. ``{word}`` in it, and
    in the texts of ``body``, stands for what an earlier call of the same run kept under that word.
    """

    line: str
    status: int
    body: Any = None
    """Sent as JSON unless it is bytes."""
    keep: str = ""
    """The word under which the answer's ``Id`` is kept."""
    ours: int = 0
    """Our status, where dockerd blames itself (500) for the client's mistake; its message is the same."""
    earlier: int = 0
    """Our status where we refuse what dockerd takes and then fails over, or keeps as something that can never run."""
    headers: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | None = None
    """The connection is to be taken over, and this is what the client sends on it before it closes its side."""
    lines: int | None = None
    """Read only so many lines of an answer that has no end."""
    until: str = ""
    """Repeat the call until its body has this text, before it is compared."""
    unordered: Sequence[str] = ()
    """Regular expressions of the lists, by their path, whose items come in no promised order."""
    loose: Sequence[str] = ()
    """Regular expressions of the values, by their path, that are the host's or the clock's: only kinds are compared."""

    def __str__(self) -> str:
        sent = "" if self.body is None else self.body if isinstance(self.body, bytes) else json.dumps(self.body)
        return f"{self.line} {sent[:200]!r}" if sent else self.line

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.line.partition(" ")[0]

    @property
    def target(self) -> str:
        """The path with its query."""
        return self.line.partition(" ")[2]

    @property
    def operation(self) -> str:
        """The id of the operation that this is a call of; empty for what is none."""
        path = re.sub(r"^/v[0-9.]+(?=/)", "", self.target.partition("?")[0])
        try:
            return _ROUTER.find(self.method, path)[0].operation
        except EngineError:
            return ""


@dataclass(frozen=True)
class Run:
    """Calls that build on each other; at the end the events that they caused are compared, too."""

    name: str
    calls: Sequence[Call]
    events: bool = True
    """Off where what happens depends on when it happens."""
    images: Mapping[str, Content] = field(default_factory=dict)
    """What a registry holds under ``NAME:TAG``; ``{registry}`` is its address."""
    together: bool = False
    """Make all calls at the same time: they do not build on each other, and dockerd is slow to answer them."""


@dataclass(frozen=True)
class Answered:
    """A call's answer as it came; ``body`` of a connection that was taken over is all that was read from it."""

    call: Call
    answer: Answer


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def play(run: Run, daemon: Daemon) -> tuple[list[Answered], list[Any]]:
    """Make a run's calls; the answers, and the events of meanwhile."""
    kept: dict[str, str] = {}
    began = time.time()
    with contextlib.ExitStack() as stack:
        if run.images:
            registry = FakeRegistry(daemon.surroundings.socket())
            stack.callback(registry.close)
            kept["registry"] = registry.address
            for name, content in run.images.items():
                repository, _, tag = name.partition(":")
                registry.add(repository, tag, content)
        pool = stack.enter_context(ThreadPoolExecutor(len(run.calls) if run.together else 1))
        answers = list(pool.map(lambda call: _answered(call, kept, daemon), run.calls))
    until = time.time() + LINGERING
    told = daemon.request("GET", f"/events?since={began:.6f}&until={until:.6f}") if run.events else None
    return answers, [json.loads(line) for line in told.body.splitlines()] if told else []


def _answered(call: Call, kept: dict[str, str], daemon: Daemon) -> Answered:
    start = time.monotonic()
    answer = _ask(call, kept, daemon)
    while call.until and call.until.encode() not in answer.body:
        if answer.status >= 400 or time.monotonic() - start > PATIENCE:
            break
        time.sleep(0.05)
        answer = _ask(call, kept, daemon)
    if call.keep and answer.status in (200, 201):
        kept[call.keep] = answer.json()["Id"]
    return Answered(call, answer)


def _ask(call: Call, kept: Mapping[str, str], daemon: Daemon) -> Answer:
    target = quote(_filled(call.target, kept), safe="/?&=%:+,@~$!*()")
    body = _filled(call.body, kept)
    headers = {} if body is None else {"Content-Type": "application/json"}
    if call.stdin is not None:
        headers |= _UPGRADE
    headers |= call.headers
    connection = _Connection(str(daemon.socket_path))
    try:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(call.method, target, sent, headers)
        client = connection.sock
        response = connection.getresponse()
        if call.stdin is not None and response.status in (101, 200):
            with contextlib.suppress(ConnectionError):
                # What has ended meanwhile does not read.
                client.sendall(call.stdin)
                client.shutdown(socket.SHUT_WR)
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, _read(response, call))
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, call: Call) -> bytes:
    if call.lines is not None:
        return b"".join(response.readline() for _ in range(call.lines))
    if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
        return response.fp.read()
    return response.read()


def _filled(value: Any, kept: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for word, text in kept.items():
            value = value.replace("{" + word + "}", text)
        return value
    if isinstance(value, dict):
        return {_filled(name, kept): _filled(inner, kept) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, kept) for inner in value]
    return value


def made(name: str, *command: str, **body: Any) -> Call:
    """A container of the sample image; ``{name}`` is its id from then on. Without a command it sleeps."""
    configuration = {"Image": "busybox", "Cmd": list(command) or ["sleep", "600"], **body}
    return Call(f"POST /containers/create?name={name}", 201, configuration, keep=name)


def published(port: str) -> dict[str, Any]:
    """The fields of a container whose port 80 is published at a port of the host's."""
    return {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": port}]}}}


def ours(status: int) -> int:
    """``Call.ours`` for one of many calls with a mistake in their query."""
    return 400 if status == 500 else 0


def running(name: str, *command: str, **body: Any) -> list[Call]:
    """The same, started."""
    return [made(name, *command, **body), Call(f"POST /containers/{name}/start", 204)]


def ended(name: str, *command: str, **body: Any) -> list[Call]:
    """The same, run to its end."""
    return [*running(name, *command, **body), Call(f"POST /containers/{name}/wait", 200)]
