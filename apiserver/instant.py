"""Answers from memory, written the moment their request has arrived: without a task, a stream or a second look.

Clients poll: pings, lists, inspects, ends of logs. For these HTTP's whole machinery costs several times what the answer
does. Only what is beyond doubt goes this way: a GET with none but harmless headers, whole in one read, for an answer
that the route has at hand. All else, every error included, goes the long way, where the same answer would be made.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import cache, lru_cache

from apiserver.dispatch import Route
from apiserver.middleware.access import log_request
from apiserver.middleware.metrics import Observation
from apiserver.middleware.prefix import clean_path
from apiserver.queries import Query
from apiserver.rendering import HEADERS
from apiserver.wire.versions import ApiVersion
from store.errors import EngineError

Resolve = Callable[[str, str], tuple[ApiVersion, Route, Mapping[str, str]]]

LONGEST = 4096
"""Bytes of a head that is looked at."""
_PLAIN = re.compile(
    rb"GET (?P<path>/[!-\"$->@-~]*+)(?:\?(?P<query>[!-\"$-~]*+))? HTTP/1\.1\r\n"
    rb"(?:(?:Host|User-Agent|Accept|Accept-Encoding|Content-Type): [ -~]*+\r\n|Connection: keep-alive\r\n)*+\r\n"
)


class Instants:
    """Finds the answers; ``resolve`` is the frontend's way from a method and a path to the operation."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def answer(self, data: bytes) -> bytes | None:
        """The whole answer to what a connection has received, or None for the long way."""
        plain = _PLAIN.fullmatch(data) if len(data) <= LONGEST else None
        if plain is None:
            return None
        path = plain["path"].decode("ascii")
        if clean_path(path) != path:
            return None
        observation = Observation("GET")
        try:
            _, route, parameters = self._resolve("GET", path)
            body = route.instant and route.instant(parameters, Query((plain["query"] or b"").decode("ascii")))
        except EngineError:
            return None
        if body is None:
            return None
        with observation:
            observation.route, observation.code = route.template, 200
        log_request(path, observation)
        return b"%s%d\r\nDate: %s\r\n\r\n%s" % (_head(route), len(body), _date(int(time.time())), body)


@cache
def _head(route: Route) -> bytes:
    headers = {"Content-Type": route.produces, **route.headers, **HEADERS}
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "Content-Length: "]
    return "\r\n".join(lines).encode()


@lru_cache(1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
