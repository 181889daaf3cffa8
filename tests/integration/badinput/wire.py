"""Requests as bytes, so that a test can say what no HTTP library would, and what comes back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path

SHOWN = 2000
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """One request; ``target`` and the headers go out as they are."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None
    chunked: bool = False

    def render(self) -> bytes:
        """The bytes on the wire, on a connection of their own."""
        lines = [b"%s %s HTTP/1.1" % (self.method.encode(), self.target), b"Host: docker", b"Connection: close"]
        lines += [b"%s: %s" % header for header in self.headers]
        body = self.body or b""
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif self.body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]) + body


@dataclass(frozen=True)
class Reply:
    """What came back; ``status`` is 0 when nothing did, ``whole`` whether the body is as long as its head says."""

    status: int
    head: bytes
    body: bytes
    whole: bool

    @property
    def message(self) -> str:
        """The error's message; empty when the body is none of the form that every client expects."""
        with contextlib.suppress(ValueError):
            value = json.loads(self.body)
            if isinstance(value, dict) and set(value) == {"message"} and isinstance(value["message"], str):
                return str(value["message"])
        return ""

    @property
    def failed_midway(self) -> bool:
        """Whether a stream of progress ended in an error."""
        return self.status == 200 and b'"errorDetail"' in self.body


def exchange(
    path: Path, raw: bytes, *, seconds: float, stream: bool = False, bodiless: bool = False, cut: bool = False
) -> Reply:
    """Send bytes and read the answer.

    Of a ``stream`` that begins well only the head is read. ``cut`` closes the writing side after the bytes. Silence of
    ``seconds`` is a reply of status 0.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        # A server may answer, and stop reading, before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
            if cut:
                connection.shutdown(socket.SHUT_WR)
        return _read(connection, stream, bodiless)


def _read(connection: socket.socket, stream: bool, bodiless: bool) -> Reply:
    received = bytearray()
    head, status = b"", 0
    while True:
        try:
            data = connection.recv(1 << 18)
        except (TimeoutError, ConnectionResetError):
            data = b""
        received += data
        if not head and b"\r\n\r\n" in received:
            head = bytes(received[: received.index(b"\r\n\r\n") + 4])
            status = int(head.split(b" ", 2)[1])
            if status == 100:
                del received[: len(head)]
                head = b""
                continue
        if head and (bodiless or (stream and status in (101, 200))):
            return Reply(status, head, bytes(received[len(head) :]), True)
        if not data:
            break
    return Reply(status, head, *_body(head, bytes(received[len(head) :])))


def _body(head: bytes, rest: bytes) -> tuple[bytes, bool]:
    if length := _LENGTH.search(head):
        return rest, len(rest) == int(length[1])
    if not _CHUNKED.search(head):
        return rest, True
    body = bytearray()
    while (end := rest.find(b"\r\n")) >= 0:
        size = int(rest[:end], 16)
        if size == 0:
            return bytes(body), True
        body += rest[end + 2 : end + 2 + size]
        rest = rest[end + 4 + size :]
    return bytes(body), False


def again(raw: bytes, directory: Path) -> str:
    """How to send the same bytes again."""
    if len(raw) <= SHOWN:
        shown = repr(raw)
    else:
        directory.mkdir(parents=True, exist_ok=True)
        kept = directory / f"{hashlib.sha256(raw).hexdigest()[:16]}.request"
        kept.write_bytes(raw)
        shown = f"open({str(kept)!r}, 'rb').read()"
    return (
        "python3 - /var/run/docker-engine-api.sock <<'END'\n"
        "import socket, sys\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall({shown})\n"
        "while data := s.recv(65536): print(data)\n"
        "END"
    )
