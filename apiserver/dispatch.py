"""From a path to its operation: the routes, and what a handler gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote

from aiohttp import web

from apiserver.bodies import read_json
from apiserver.queries import Query
from apiserver.session import RegistryAuth, parse_registry_auth
from apiserver.wire.versions import ApiVersion
from store.errors import EngineError, NotFoundError

T = TypeVar("T")
_CONTAINER = "/containers/{id}"
_LINKED = "/containers/{id:[^/]+/[^/]+}"
_PARAMETER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


class MethodNotAllowedError(EngineError):
    """The path exists, but not with this method (405). ``allowed`` are the methods that it has."""

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__("method not allowed")
        self.allowed = ", ".join(sorted(allowed))


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operation, for the document. ``kind`` is string, integer, boolean, number or array."""

    name: str
    kind: str = "string"
    summary: str = ""
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, eq=False)
class Route:
    """One operation.

    ``path`` has no version prefix; ``{id}`` matches one segment, ``{name:.*}`` what its expression says. ``operation``
    is the API's operationId. The rest describes it in our own document: ``request`` and ``response`` are struct types
    (or None), ``status`` the usual answer's code, ``produces`` its content type, ``since`` its API version.
    ``instant`` gives the body of an answer (200, with ``produces`` and ``headers``) that is at hand at once, else None.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[web.StreamResponse]]
    operation: str
    since: str = "1.24"
    summary: str = ""
    request: Any = None
    response: Any = None
    status: int = 200
    produces: str = "application/json"
    parameters: tuple[Parameter, ...] = ()
    delivered: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    instant: Callable[[Mapping[str, str], Query], bytes | None] | None = None

    @cached_property
    def template(self) -> str:
        """The path with the expressions left out: bounded, so fit for a metric's label."""
        return _PARAMETER.sub(r"{\1}", self.path)


@dataclass(frozen=True, slots=True)
class Call:
    """One request for one operation. ``path`` has the path's parameters, decoded."""

    request: web.BaseRequest
    version: ApiVersion
    route: Route
    path: Mapping[str, str]
    query: Query

    async def body(self, kind: type[T], *, optional: bool = False) -> T:
        """The JSON body as a struct; raises InvalidParameterError in dockerd's words (see bodies.read_json)."""
        return await read_json(self.request, kind, optional=optional)

    def registry_auth(self) -> RegistryAuth | None:
        """Credentials in ``X-Registry-Auth``, None without; raises InvalidParameterError for a malformed header."""
        return parse_registry_auth(self.request.headers.get("X-Registry-Auth", ""))


@dataclass(frozen=True)
class _Entry:
    pattern: re.Pattern[str]
    literal: bool
    by_link: re.Pattern[str] | None
    methods: dict[str, Route] = field(default_factory=dict)


class Router:
    """All routes, found by path and method. A path written out goes before one with parameters, then order counts."""

    def __init__(self, routes: Sequence[Route]) -> None:
        entries: dict[str, _Entry] = {}
        for route in routes:
            entry = entries.get(route.path)
            if entry is None:
                linked = route.path.replace(_CONTAINER, _LINKED, 1) if route.path.startswith(_CONTAINER) else ""
                by_link = _compile(linked) if linked else None
                entry = entries[route.path] = _Entry(_compile(route.path), "{" not in route.path, by_link)
            if route.method in entry.methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            entry.methods[route.method] = route
        self._by_segment: dict[str, list[_Entry]] = {}
        for path, entry in sorted(entries.items(), key=lambda item: not item[1].literal):
            self._by_segment.setdefault(_first_segment(path), []).append(entry)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The operation for a path as the URL has it (still encoded), without its version prefix.

        Raises NotFoundError in dockerd's words, or MethodNotAllowedError.
        """
        decoded = unquote(path) if "%" in path else path
        allowed: set[str] = set()
        for entry in self._by_segment.get(_first_segment(decoded), ()):
            match = entry.pattern.fullmatch(decoded)
            if match is None:
                continue
            route = entry.methods.get(method)
            if route is not None:
                return route, match.groupdict()
            allowed.update(entry.methods)
        if allowed:
            raise MethodNotAllowedError(allowed)
        return self._find_by_link(method, decoded)

    def _find_by_link(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """What a link calls a container, ``PARENT/ALIAS``, may stand for its id."""
        for entry in self._by_segment.get(_first_segment(path), ()):
            route = entry.methods.get(method)
            match = entry.by_link.fullmatch(path) if route is not None and entry.by_link is not None else None
            if route is not None and match is not None:
                return route, match.groupdict()
        raise NotFoundError("page not found")


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]


def _compile(path: str) -> re.Pattern[str]:
    pattern, end = "", 0
    for match in _PARAMETER.finditer(path):
        pattern += re.escape(path[end : match.start()]) + f"(?P<{match[1]}>{match[2] or '[^/]+'})"
        end = match.end()
    return re.compile(pattern + re.escape(path[end:]), re.DOTALL)
