"""Our own OpenAPI document, generated from the routes and the wire types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from apiserver.dispatch import Parameter, Route
from apiserver.release import VERSION
from apiserver.wire.versions import CURRENT, MINIMUM, text

OPENAPI = "3.1.0"
REFERENCE = "#/components/schemas/{name}"
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_ERRORS = {
    "400": "The request itself is wrong.",
    "404": "What it names does not exist.",
    "409": "The present state does not allow it.",
    "500": "The engine failed.",
}


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What every error looks like."""

    message: str


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of these operations, as plain values."""
    types = list(dict.fromkeys(kind for route in routes for kind in (route.request, route.response) if kind))
    schemas, components = msgspec.json.schema_components([ErrorResponse, *types], ref_template=REFERENCE)
    by_type = dict(zip([ErrorResponse, *types], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Wharfinger",
            "version": text(CURRENT),
            "description": (
                f"Wharfinger {VERSION} speaks the Docker Engine API, versions {text(MINIMUM)} to {text(CURRENT)}. "
                f"A path may begin with a version, such as /v{text(MINIMUM)}; without one the newest is meant."
            ),
            "license": {"name": "MIT"},
        },
        "servers": [{"url": f"/v{text(CURRENT)}"}, {"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(map(group, routes))],
        "paths": paths,
        "components": {"schemas": components},
    }


def group(route: Route) -> str:
    """Which group of the API a route belongs to: its path's first word."""
    first = route.path[1:].partition("/")[0]
    return "system" if first in ("_ping", "version", "info", "events", "auth", "system") else first


def _operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in path_names(route)
    ]
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [group(route)],
        "parameters": [*in_path, *map(_parameter, route.parameters)],
        "responses": _responses(route, schemas),
        "x-since": route.since,
    }
    if route.request is not None:
        content = {"application/json": {"schema": schemas[route.request]}}
        operation["requestBody"] = {"content": content}
    return operation


def path_names(route: Route) -> list[str]:
    """The names of the parameters in a route's path."""
    return _PATH_PARAMETER.findall(route.template)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.kind == "array":
        schema["items"] = {"type": "string"}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.summary,
        "schema": schema,
    }


def _responses(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": schemas[ErrorResponse]}}}
    if not route.delivered:
        return {"501": {"description": "The engine does not have this yet.", **error}}
    usual: dict[str, Any] = {"description": "It went well."}
    if route.response is not None:
        usual["content"] = {route.produces: {"schema": schemas[route.response]}}
    elif route.status == 200 and route.produces != "application/json":
        usual["content"] = {route.produces: {}}
    failures = {code: {"description": what, **error} for code, what in _ERRORS.items()}
    return {str(route.status): usual, **failures}
