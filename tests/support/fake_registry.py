"""A registry that a test can make misbehave: it cuts connections, asks for credentials, lies."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.support.image_content import Content, digest_of


@dataclass(frozen=True)
class Request:
    """A request as it came; ``path`` with its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters in the path."""
        return parse_qs(urlsplit(self.path).query)


@dataclass(frozen=True)
class Reply:
    """An answer; with ``cut`` only so many bytes of the body are sent before the connection breaks."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


def errors(code: str, message: str, detail: Any = None) -> bytes:
    """An error document of the registry API."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


class FakeRegistry:
    """Serves what it holds on a socket that is given, bound or not; ``address`` is where.

    ``requests`` are those that came. ``cuts`` says after how many bytes to break the next downloads of a digest,
    ``replies`` what to answer to a path (without its query) instead of the truth, each once. ``basic`` are the only
    credentials, ``token_server`` the realm that hands out ``token``.
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.requests: list[Request] = []
        self.cuts: dict[str, list[int]] = defaultdict(list)
        self.replies: dict[str, list[Reply]] = defaultdict(list)
        self.ranges = True
        self.basic: tuple[str, str] | None = None
        self.token: str | None = None
        self._manifests: dict[tuple[str, str], Content] = {}
        self._blobs: dict[str, bytes] = {}
        self._listener = listener or socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = _Server(("127.0.0.1", port), handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = self._listener
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, repository: str, tag: str, content: Content) -> None:
        """Hold an image or an index under a tag."""
        self._manifests[repository, tag] = content
        self._keep(repository, content)

    def _keep(self, repository: str, content: Content) -> None:
        self._manifests[repository, content.digest] = content
        self._blobs.update({digest_of(blob): blob for blob in content.blobs})
        for child in content.children:
            self._keep(repository, child)

    def asked(self, part: str) -> list[Request]:
        """The requests whose path contains a text."""
        return [request for request in self.requests if part in request.path]

    def answer(self, request: Request) -> Reply:
        """The reply to a request."""
        path = urlsplit(request.path).path
        if self.replies[path]:
            return self.replies[path].pop(0)
        if path == "/token":
            return self._hand_out(request)
        if (refused := self._refused(request)) is not None:
            return refused
        if path == "/v2/":
            return Reply(200, b"{}")
        repository, _, rest = path.removeprefix("/v2/").rpartition("/manifests/")
        if repository:
            return self._manifest(repository, rest)
        repository, _, rest = path.removeprefix("/v2/").rpartition("/blobs/")
        if repository:
            return self._blob(rest, request.headers.get("range", ""))
        if path.endswith("/tags/list"):
            name = path.removeprefix("/v2/").removesuffix("/tags/list")
            tags = [tag for repository, tag in self._manifests if repository == name and ":" not in tag]
            return Reply(200, json.dumps({"name": name, "tags": tags}).encode())
        return Reply(404, b"404 page not found\n")

    def _refused(self, request: Request) -> Reply | None:
        given = request.headers.get("authorization", "")
        if self.token is not None and given != f"Bearer {self.token}":
            challenge = f'Bearer realm="http://{self.address}/token",service="a test"'
            body = errors("UNAUTHORIZED", "authentication required", [{"Action": "pull"}])
            return Reply(401, body, {"WWW-Authenticate": challenge})
        if self.token is None and self.basic is not None and given != self._basic_header():
            return Reply(
                401, errors("UNAUTHORIZED", "authentication required"), {"WWW-Authenticate": 'Basic realm="x"'}
            )
        return None

    def _basic_header(self) -> str:
        assert self.basic is not None
        return "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()

    def _hand_out(self, request: Request) -> Reply:
        if self.basic is not None and request.headers.get("authorization", "") != self._basic_header():
            return Reply(401, json.dumps({"details": "incorrect username or password"}).encode())
        return Reply(200, json.dumps({"token": self.token, "expires_in": 300}).encode())

    def _manifest(self, repository: str, reference: str) -> Reply:
        content = self._manifests.get((repository, reference))
        if content is None:
            return Reply(404, errors("MANIFEST_UNKNOWN", "manifest unknown", {"Tag": reference}))
        return Reply(200, content.manifest, {"Content-Type": content.media_type})

    def _blob(self, digest: str, asked: str) -> Reply:
        data = self._blobs.get(digest)
        if data is None:
            return Reply(404, errors("BLOB_UNKNOWN", "blob unknown to registry", digest))
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0) if self.ranges else 0
        cut = self.cuts[digest].pop(0) if self.cuts[digest] else None
        if not start:
            return Reply(200, data, {}, cut)
        if start >= len(data):
            return Reply(416)
        return Reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, cut)


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is none."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ClassVar[FakeRegistry]

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.registry.requests.append(request)
        reply = self.registry.answer(request)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
        if reply.cut is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = _do

    def log_message(self, format: str, *args: Any) -> None:
        """Into ``requests`` instead."""
