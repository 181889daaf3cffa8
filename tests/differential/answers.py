"""An answer of the API as lines of text that are equal where two engines did the same."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from tests.differential.accepted_answers import without_accepted
from tests.differential.calls import Answered, Call
from tests.differential.normalise import Normaliser

# By which of the two an answer's end is told is HTTP's own affair; how long it is depends on ids and times.
_FRAMING = frozenset(("content-length", "transfer-encoding"))
_UNTOLD = frozenset(("length", "date"))
# Values that are the host's or the clock's wherever the operation is called: of these only the kinds are compared.
_LOOSE = {
    "ContainerStats": (r".*_stats\..*", r"networks\..*"),
    "SystemInfo": (r"NFd|NGoroutines|NEventsListener|SystemTime|ID|Name|Warnings|Runtimes|Labels|MemTotal|Images",),
    "ContainerTop": (r"Processes.*",),
}
# Seconds since 1970 where others have a time's text.
_SECONDS = r"(.*[].])?Created"
_KINDS = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "list",
    type(None): "null",
}


def lines(answered: Answered, normaliser: Normaliser) -> list[str]:
    """What is compared: the status, each header, and each value of the body with its path."""
    answer = answered.answer
    headers = {"length" if name in _FRAMING else name: value for name, value in answer.headers.items()}
    found = [f"status {answer.status}"]
    found += [f"header {name}: {_header(name, value)}" for name, value in sorted(headers.items())]
    found += _body(answered)
    # Before ids are numbered: one that only the other has would shift all that come after it.
    text = without_accepted(answered.call.operation, "\n".join(found))
    return normaliser.text(text).splitlines()


def event_lines(events: Sequence[Any], normaliser: Normaliser) -> list[str]:
    """Each event on a line, without its times; one that dockerd tells twice counts once.

    It tells a volume's creation again when a container is made with it, and a disconnection by both its parts.
    """
    shown = [{name: event[name] for name in event if name not in ("time", "timeNano")} for event in events]
    shown = [event for event, before in zip(shown, [None, *shown], strict=False) if event != before]
    return normaliser.text("\n".join(json.dumps(event, sort_keys=True) for event in shown)).splitlines()


def _header(name: str, value: str) -> str:
    if name == "x-docker-container-path-stat":
        return base64.b64decode(value).decode()
    if name == "connection":
        return value.lower()
    return "…" if name in _UNTOLD else value


def _body(answered: Answered) -> Iterator[str]:
    call, answer = answered.call, answered.answer
    body, kind = answer.body, answer.headers.get("content-type", "").partition(";")[0]
    if not body:
        yield "body: none"
    elif call.headers.get("Upgrade") == "websocket" and answer.status == 101:
        yield from _websocket(body)
    elif kind == "application/json" or (not kind and body[:1] in b"[{"):
        yield from _documents(call, body)
    elif kind in ("application/vnd.docker.raw-stream", "") or answer.status == 101:
        yield from _streams(body)
    elif kind in ("application/x-tar", "application/octet-stream") or body[257:262] == b"ustar":
        yield from _members(body)
    else:
        yield f"body: {body.decode(errors='replace')!r}"


def _documents(call: Call, body: bytes) -> Iterator[str]:
    text = body.decode().strip()
    decoder = json.JSONDecoder()
    documents, position = [], 0
    while position < len(text):
        document, position = decoder.raw_decode(text, position)
        documents.append(document)
        while position < len(text) and text[position] in "\r\n":
            position += 1
    if call.operation in ("ImageCreate", "ImageLoad"):
        documents = _without_chance(documents)
    for document in documents:
        yield from _values(_settled(document, "", call), "")


def _without_chance(documents: list[Any]) -> list[Any]:
    """Progress lines without bars, and of layers, which go on side by side, only how each ended, by their ids."""
    plain = [document for document in documents if "id" not in document or "progressDetail" not in document]
    ended = [document for document in documents if document.get("status") in ("Pull complete", "Already exists")]
    return plain + sorted(ended, key=lambda document: str(document["id"]))


def _settled(value: Any, path: str, call: Call) -> Any:
    """The value with its loose parts replaced by their kinds and its unordered lists sorted."""
    if isinstance(value, dict):
        return {name: _settled(inner, f"{path}.{name}".lstrip("."), call) for name, inner in value.items()}
    if any(re.fullmatch(pattern, path) for pattern in (_SECONDS, *call.loose, *_LOOSE.get(call.operation, ()))):
        return f"<{_KINDS[type(value)]}>"
    if isinstance(value, list):
        items = [_settled(inner, f"{path}[]", call) for inner in value]
        if any(re.fullmatch(pattern, path) for pattern in call.unordered):
            # By what is in them but ids, which are numbered only afterwards.
            items.sort(key=_order)
        return items
    return value


def _order(item: Any) -> tuple[str, str]:
    name = str(item.get("Name", item.get("Names", ""))) if isinstance(item, dict) else ""
    return name, re.sub(r"(?<!sha256:)\b[0-9a-f]{12,}", "", json.dumps(item, sort_keys=True))


def _values(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in sorted(value.items()):
            yield from _values(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _values(inner, f"{path}[{index}]")
    else:
        yield f"{path or 'body'} = {json.dumps(value)}"


def _streams(body: bytes) -> Iterator[str]:
    """The text of each stream; how it was cut into frames is chance."""
    texts: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(body) and body[position] in (0, 1, 2) and body[position + 1 : position + 4] == b"\0\0\0":
        (length,) = struct.unpack(">I", body[position + 4 : position + 8])
        stream = body[position]
        texts[stream] = texts.get(stream, b"") + body[position + 8 : position + 8 + length]
        position += 8 + length
    for stream, text in sorted(texts.items()):
        yield from (f"stream {stream}: {line!r}" for line in text.decode(errors="replace").splitlines(keepends=True))
    if rest := body[position:].decode(errors="replace"):
        yield from (f"raw: {line!r}" for line in rest.splitlines(keepends=True))


def _websocket(body: bytes) -> Iterator[str]:
    """The messages of a server, which are not masked: the text of all, and how it closed."""
    text, position = b"", 0
    while position + 2 <= len(body):
        code, length = body[position] & 0x0F, body[position + 1]
        position += 2
        if length == 126:
            (length,) = struct.unpack(">H", body[position : position + 2])
            position += 2
        if code == 8:
            yield f"close {body[position : position + length]!r}"
        else:
            text += body[position : position + length]
        position += length
    yield f"messages: {text.decode(errors='replace')!r}"


def _members(body: bytes) -> Iterator[str]:
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        for member in sorted(archive, key=lambda member: member.name):
            shown = (
                member.type,
                oct(member.mode & 0o7777),
                member.uid,
                member.gid,
                member.uname,
                member.gname,
                member.linkname,
            )
            size = "<size>" if member.name.endswith(".json") else member.size
            yield f"member {member.name} {' '.join(map(str, shown))} {size}"
