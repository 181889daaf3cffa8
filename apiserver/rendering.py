"""Answers."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from apiserver.release import VERSION
from apiserver.wire.versions import CURRENT, text

JSON = "application/json"
HEADERS = {
    "Api-Version": text(CURRENT),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Wharfinger/{VERSION} (linux)",
}
"""What every answer carries, by which clients know what they talk to."""
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON bytes of a wire type or of plain values."""
    return _encoder.encode(value)


def json_response(value: Any, status: int = 200) -> web.Response:
    """An answer whose body is JSON; bytes are taken to be JSON already."""
    body = value if isinstance(value, bytes) else _encoder.encode(value)
    if not body.endswith(b"\n"):
        body += b"\n"
    return web.Response(body=body, status=status, headers={"Content-Type": JSON})


def error_response(status: int, message: str) -> web.Response:
    """An error as every client expects it: ``{"message": …}``. What it quotes of the request may be no Unicode."""
    return json_response({"message": _NO_CHARACTER.sub("\ufffd", message)}, status)


def no_content(status: int = 204) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status)
