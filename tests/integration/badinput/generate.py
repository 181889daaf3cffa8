"""Requests that are nearly right, for one operation: hypothesis shrinks them to what matters."""

from __future__ import annotations

import base64
import io
import tarfile
from urllib.parse import quote, quote_from_bytes

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.integration.badinput.document import Document, Operation
from tests.integration.badinput.values import anything, body, emit, integers, scalars, strings
from tests.integration.badinput.wire import Request

EXEC = "EXEC"
"""Stands for the id of an exec that exists, which is known only when the request is sent."""

NAMES = {
    "containers": ("victim", "idle"),
    "images": ("busybox", "busybox:latest", "spare:1"),
    "networks": ("net", "bridge", "host", "none"),
    "volumes": ("kept",),
    "exec": (EXEC,),
}
VERSIONS = ("", "/v1.41", "/v1.40", "/v1.24", "/v1.30")
WRONG_VERSIONS = ("/v1.23", "/v1.42", "/v1", "/v1.41.1", "/v99999999999", "/v..", "/v1.4x", "/v1.%34", "/v", "//v1.41")
# Paths on the wire that are not a quoted string: the bytes themselves, escapes that are none, encodings that lie.
RAW_NAMES = (
    b"%", b"%zz", b"%2", b"%00", b"%2f..%2f..%2fetc", b"..%2f..", b"%2e%2e", b"%c0%ae%c0%ae%2f", b"%ff", b"%ed%a0%80",
    b"\xff\xfe",
    b"\xc3\xa9", b"a%20b", b"a;b", b"a?b", b"*", b"%252e%252e", b"%0d%0aX:%20y", b"\x7f", b"[::]", b"a" * 9000,
)  # fmt: skip
CONTENT_TYPES = (
    b"text/plain", b"", b"application/json; charset=utf-16", b"application/x-tar", b"application/json;;",
    b"APPLICATION/JSON",
    b"application/json, text/html", b"multipart/form-data; boundary=x", b"\xff", b"application/jsonp", b"a" * 5000,
)  # fmt: skip
OTHER_HEADERS = (
    (b"Accept", b"\xff"), (b"Accept-Encoding", b"gzip, x" * 200), (b"Content-Encoding", b"gzip"),
    (b"Content-Encoding", b"br"),
    (b"Expect", b"100-continue"), (b"Expect", b"200-ok"), (b"Range", b"bytes=5-2,9-"), (b"If-None-Match", b"*"),
    (b"Upgrade", b"tcp"), (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"X-Http-Method-Override", b"DELETE"),
    (b"Host", b"evil.example"), (b"Cookie", b"a" * 4000), (b"Authorization", b"Basic %%%"),
    (b"X-Forwarded-For", b"\x01\x02"),
    (b"Sec-WebSocket-Key", b"x"), (b"Sec-WebSocket-Version", b"-1"), (b"X-Meta-Source", b"../.."), (b"Date", b"never"),
)  # fmt: skip


def _tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in ("../escape", "/etc/escape", "manifest.json", "repositories"):
            info = tarfile.TarInfo(name)
            info.size = 2
            archive.addfile(info, io.BytesIO(b"[]"))
    return sink.getvalue()


TAR = _tar()
BODIES = (
    b"",
    b"\0",
    b"x",
    bytes(512),
    bytes(1024),
    bytes(10_240),
    TAR,
    TAR[:700],
    b"\x1f\x8b\x08",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
)


@st.composite
def request(draw: DrawFn, document: Document, operation: Operation) -> Request:
    """A request for an operation."""
    versions = WRONG_VERSIONS if draw(st.integers(0, 29)) == 29 else VERSIONS
    target = draw(st.sampled_from(versions)).encode() + draw(_path(operation))
    query = draw(_query(operation))
    if query:
        target += b"?" + query
    headers = draw(_headers(operation))
    sent, kind = draw(_body(document, operation))
    if sent is not None and kind is not None:
        headers.append((b"Content-Type", kind))
    return Request(operation.method, target, tuple(headers), sent, sent is not None and draw(st.integers(0, 9)) == 0)


@st.composite
def _path(draw: DrawFn, operation: Operation) -> bytes:
    first, *rest = operation.parts
    path = first.encode()
    # What needs no more than a name to succeed would mostly do so, and each success has to be undone.
    usual = 3 if operation.schema is None and operation.method in ("POST", "DELETE") else 7
    for part in rest:
        chance = draw(st.integers(0, 9))
        if chance < usual and operation.kind in NAMES:
            path += draw(st.sampled_from(NAMES[operation.kind])).encode()
        elif chance < 9:
            path += draw(st.one_of(st.just(b"none-such"), strings.map(_quoted)))
        else:
            path += draw(st.sampled_from(RAW_NAMES))
        path += part.encode()
    return path


@st.composite
def _query(draw: DrawFn, operation: Operation) -> bytes:
    pairs: list[tuple[bytes, bytes]] = []
    for name, kind in operation.query:
        if draw(st.booleans()):
            pairs.append((name.encode(), draw(_parameter(name, kind))))
    chance = draw(st.integers(0, 19))
    if chance == 0:
        pairs.append((draw(st.sampled_from((b"", b"%", b"%ff", b"a%00", b"filters", b"force", b"t", b"name"))), b"%zz"))
    elif chance == 1 and pairs:
        pairs.append((pairs[0][0], _quoted(draw(strings))))
    return b"&".join(name + b"=" + value for name, value in pairs)


@st.composite
def _parameter(draw: DrawFn, name: str, kind: str) -> bytes:
    chance = draw(st.integers(0, 9))
    if name == "filters" and chance < 8:
        return quote_from_bytes(emit(draw(_filters()))).encode()
    if name == "path" and chance < 3:
        return draw(st.sampled_from((b"/", b"/tmp", b"/etc/passwd", b"/proc", b"/no/such", b"tmp", b"/dev")))
    if chance == 9:
        return draw(st.sampled_from(RAW_NAMES)).replace(b"?", b"").replace(b"\x7f", b"")
    if kind == "boolean" and chance < 5:
        return draw(st.sampled_from((b"0", b"1", b"true", b"false", b"maybe")))
    if kind == "integer" and chance < 5:
        return str(draw(integers)).encode()
    return _quoted(draw(strings))


@st.composite
def _filters(draw: DrawFn) -> object:
    if draw(st.integers(0, 4)) == 0:
        return draw(anything)
    name = draw(st.one_of(st.sampled_from(FILTERS), strings))
    values = draw(st.lists(st.one_of(strings, scalars), max_size=3))
    return {
        name: values
        if draw(st.booleans())
        else {str(value): draw(scalars) for value in values if isinstance(value, str)}
    }


FILTERS = (
    "label", "label!", "until", "name", "id", "status", "exited", "ancestor", "before", "since", "volume", "network",
    "publish",
    "expose", "health", "isolation", "is-task", "dangling", "reference", "driver", "type", "scope", "event",
    "container", "image",
)  # fmt: skip


@st.composite
def _headers(draw: DrawFn, operation: Operation) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    if draw(st.integers(0, 9)) == 0:
        headers.append(draw(st.sampled_from(OTHER_HEADERS)))
    if operation.kind == "images" and draw(st.integers(0, 3)) == 0:
        headers.append((b"X-Registry-Auth", draw(_credentials())))
    return headers


@st.composite
def _credentials(draw: DrawFn) -> bytes:
    given = emit(draw(st.one_of(anything, st.just({"username": 1}), st.just({"auth": "x"}))))
    encoded = base64.urlsafe_b64encode(given)
    return draw(st.sampled_from((encoded[:8000], encoded[:7], b"===", b"\xff", b"e30", b"bnVsbA==", b"a" * 8000)))


@st.composite
def _body(draw: DrawFn, document: Document, operation: Operation) -> tuple[bytes | None, bytes | None]:
    chance = draw(st.integers(0, 19))
    if operation.schema is None:
        if operation.method in ("GET", "HEAD", "DELETE") and chance:
            return None, None
        return draw(st.one_of(st.none(), st.sampled_from(BODIES))), draw(
            st.sampled_from((None, b"application/x-tar", *CONTENT_TYPES))
        )
    text = emit(draw(anything if chance == 0 else body(document, operation.schema)))
    if chance == 1:
        text = text[: draw(st.integers(0, len(text)))]
    elif chance == 2:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(min_size=1, max_size=3)) + text[at:]
    elif chance == 3:
        text = draw(
            st.sampled_from(
                (b"", b" ", b"\xef\xbb\xbf" + text, text.decode("latin-1").encode("utf-16"), text + text, b"null")
            )
        )
    return text, draw(st.sampled_from(CONTENT_TYPES)) if chance == 4 else b"application/json"


def _quoted(text: str) -> bytes:
    return quote(text.encode("utf-8", "surrogatepass"), safe="").encode()
