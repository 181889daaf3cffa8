"""The API's document at ``/swagger.json``, and a page to read at ``/docs`` that loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from html import escape
from itertools import groupby
from typing import Any

from aiohttp import web

from apiserver.dispatch import Call, Route
from apiserver.openapi import document, group, path_names
from apiserver.release import VERSION
from apiserver.rendering import encode, json_response
from apiserver.wire.versions import CURRENT, MINIMUM, text

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}
h2{border-bottom:1px solid #bbb;margin-top:2.5rem;text-transform:capitalize}
details{border:1px solid #ccc;border-radius:4px;margin:.4rem 0;padding:.3rem .7rem}
summary{cursor:pointer}code,.method{font-family:ui-monospace,monospace}
.method{display:inline-block;width:4.5rem;font-weight:bold}.missing{opacity:.65}
table{border-collapse:collapse}td,th{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}
pre{overflow-x:auto;background:#f5f5f5;padding:.5rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#252525}details,h2{border-color:#555}
a{color:#8ab4ff}}
"""
# A page of ours must never reach out, whatever is in it.
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes(described: Sequence[Route]) -> list[Route]:
    """The operations of this module, about the operations given and themselves."""
    pages = _Pages(described)
    own = [
        Route("GET", "/swagger.json", pages.json, "OpenAPI", summary="This document."),
        Route("GET", "/docs", pages.html, "Documentation", summary="This document, as a page.", produces="text/html"),
    ]
    pages.described = [*described, *own]
    return own


class _Pages:
    """Both renderings, made when first asked for."""

    def __init__(self, described: Sequence[Route]) -> None:
        self.described = list(described)

    async def json(self, call: Call) -> web.StreamResponse:
        del call
        return json_response(self._json)

    async def html(self, call: Call) -> web.StreamResponse:
        del call
        return web.Response(body=self._html, headers={"Content-Type": "text/html; charset=utf-8", **_SECURITY})

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self.described)

    @cached_property
    def _json(self) -> bytes:
        return encode(self._document)

    @cached_property
    def _html(self) -> bytes:
        return "\n".join(_page(self.described, self._document)).encode()


def _page(described: Sequence[Route], content: dict[str, Any]) -> Iterator[str]:
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>Wharfinger API {text(CURRENT)}</title>"
    yield f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
    yield f"<h1>Wharfinger {VERSION}: Docker Engine API {text(CURRENT)}</h1>"
    yield f"<p>{escape(content['info']['description'])}"
    yield "The same for programs: <a href=swagger.json>swagger.json</a>.</p>"
    # Older versions are reached by their prefix; what each lacks is told with the operation.
    ordered = sorted(described, key=group)
    for name, members in groupby(ordered, key=group):
        yield f"<section id='{escape(name)}'><h2>{escape(name)}</h2>"
        for route in members:
            yield from _operation(route, content)
        yield "</section>"
    yield "<h2 id=schemas>Types</h2>"
    for name, schema in sorted(content["components"]["schemas"].items()):
        shown = escape(json.dumps(schema, indent=2, ensure_ascii=False))
        yield f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary><pre>{shown}</pre></details>"


def _operation(route: Route, content: dict[str, Any]) -> Iterator[str]:
    described = content["paths"][route.template][route.method.lower()]
    kind = "" if route.delivered else " class=missing"
    since = f" Since API {route.since}." if route.since != text(MINIMUM) else ""
    yield f"<details{kind}><summary><span class=method>{route.method}</span><code>{escape(route.template)}</code>"
    yield f" {escape(route.summary)}</summary><p><code>{escape(route.operation)}</code>.{since}</p>"
    if path_names(route) or route.parameters:
        yield "<table><tr><th>Parameter<th>In<th>Type<th>"
        for parameter in described["parameters"]:
            cells = parameter["name"], parameter["in"], parameter["schema"]["type"], parameter.get("description", "")
            yield "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)
        yield "</table>"
    if "requestBody" in described:
        yield f"<p>Body: {_type(described['requestBody'])}</p>"
    for status, response in described["responses"].items():
        yield f"<p>{status}: {escape(response['description'])} {_type(response)}</p>"
    yield "</details>"


def _type(described: dict[str, Any]) -> str:
    for media, content in described.get("content", {}).items():
        reference = content.get("schema", {}).get("$ref", "")
        if reference:
            name = escape(reference.rpartition("/")[2])
            return f"<a href='#{name}'><code>{name}</code></a>"
        return f"<code>{escape(media)}</code>"
    return ""
