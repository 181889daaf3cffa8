"""Listing containers: from the cache, with answers kept per query, and serialised pieces per object and version."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from aiohttp import web

from apiserver.composition import Engine, KeptList
from apiserver.dispatch import Call, Route
from apiserver.queries import Filters, Query, parse_int
from apiserver.rendering import json_response
from apiserver.routes import links, lookup
from apiserver.routes.containers import sizes_of
from apiserver.wire import container_views as views
from apiserver.wire.containers import ContainerSummary
from store.errors import InvalidParameterError, NotFoundError
from store.objects import Container

FILTERS = frozenset(
    "ancestor before exited expose health id isolation is-task label name network publish since status volume".split()
)
PHASES = frozenset(("created", "dead", "exited", "paused", "removing", "restarting", "running"))
HEALTH = frozenset(("starting", "healthy", "unhealthy", "none"))
# A status text says how long ago something was, so it alone is made anew for each answer.
STATUS_MARK = "\0status\0"
ANSWERS_KEPT = 16
QUERY_KEPT = 1024
_encoder = msgspec.json.Encoder()
_MARK_BYTES = _encoder.encode(STATUS_MARK)

Matcher = Callable[[Container], bool]


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/containers/json",
            partial(list_containers, engine),
            "ContainerList",
            summary="The containers, newest first; only the running ones unless all are asked for.",
            response=list[ContainerSummary],
            instant=partial(_kept, engine),
        )
    ]


async def list_containers(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/json``; 400 for a filter that does not exist."""
    kept = _kept(engine, call.path, call.query)
    if kept is not None:
        return json_response(kept)
    chosen, now = _chosen(engine, call), time.time()
    if call.query.flag("size"):
        # What is on the disk changes without the store.
        return json_response(await _with_sizes(engine, chosen, now))
    body = b"[" + b",".join(_piece(engine, container, now) for container in chosen) + b"]\n"
    until = min((views.status_text_until(container, now) for container in chosen), default=math.inf)
    if len(engine.list_answers) >= ANSWERS_KEPT:
        engine.list_answers.clear()
    if len(call.query.raw) <= QUERY_KEPT:
        engine.list_answers[call.query.raw] = KeptList(_revisions(engine), now, until, body)
    return json_response(body)


def _kept(engine: Engine, path: Mapping[str, str], query: Query) -> bytes | None:
    del path
    kept = engine.list_answers.get(query.raw)
    if kept is None or kept.revisions != _revisions(engine) or not kept.made <= time.time() < kept.until:
        return None
    return kept.body


def _revisions(engine: Engine) -> object:
    store = engine.store
    return store.containers.revision, store.images.revision, store.references.revision


def _chosen(engine: Engine, call: Call) -> list[Container]:
    limit = call.query.integer("limit", 0)
    filters = call.query.filters(FILTERS)
    matchers = _matchers(engine, filters)
    everything = call.query.flag("all") or limit > 0 or any(filters.values(name) for name in ("status", "exited"))
    everything = everything or bool(filters.values("before") or filters.values("since"))
    chosen = [
        container
        for container in reversed(list(engine.store.containers))
        if (everything or container.running or container.status.phase == "restarting")
        and container.name
        and all(match(container) for match in matchers)
    ]
    return chosen[:limit] if limit > 0 else chosen


async def _with_sizes(engine: Engine, chosen: list[Container], now: float) -> list[ContainerSummary]:
    return [
        views.summary(
            container,
            shown_image(engine, container),
            views.status_text(container, now),
            await sizes_of(engine, container),
            links.names_of(engine.store, container),
        )
        for container in chosen
    ]


def shown_image(engine: Engine, container: Container) -> str:
    """The image as the client named it, or its id once that name means another image."""
    name = container.spec.config.image
    try:
        found = engine.images.find(name)
    except InvalidParameterError:
        found = None
    return name if found is not None and found.uid == container.spec.image_id else container.spec.image_id


def _piece(engine: Engine, container: Container, now: float) -> bytes:
    image = shown_image(engine, container)
    linked_as = links.names_of(engine.store, container)
    key = (container.meta.resource_version, image, linked_as)
    cached = engine.list_cache.get(container.uid)
    if cached is None or cached[0] != key:
        whole = _encoder.encode(views.summary(container, image, STATUS_MARK, linked_as=linked_as))
        head, _, tail = whole.partition(_MARK_BYTES)
        cached = engine.list_cache[container.uid] = (key, head, tail)
    return cached[1] + _encoder.encode(views.status_text(container, now)) + cached[2]


def _matchers(engine: Engine, filters: Filters) -> list[Matcher]:
    matchers: list[Matcher] = []
    for status in filters.values("status"):
        if status not in PHASES:
            raise InvalidParameterError(f"Invalid filter 'status={status}'")
    for health in filters.values("health"):
        if health not in HEALTH:
            raise InvalidParameterError(f"Unrecognised filter value for health: {health}")
    for task in filters.values("is-task"):
        if task not in ("true", "false", "1", "0"):
            raise InvalidParameterError(f"Invalid filter 'is-task=[{task}]'")
    exits = {parse_int(code) for code in filters.values("exited")}
    if exits:
        matchers.append(lambda c: c.status.exit_code in exits and c.status.finished_at != 0 and not c.running)
    if statuses := set(filters.values("status")):
        matchers.append(lambda c: c.status.phase in statuses)
    if healths := set(filters.values("health")):
        matchers.append(lambda c: (c.status.health.status if c.status.health else "none") in healths)
    if tasks := filters.values("is-task"):
        # No container of ours belongs to a swarm's task.
        wanted = tasks[0] in ("false", "0")
        matchers.append(lambda c: wanted)
    if ids := filters.values("id"):
        matchers.append(lambda c: any(c.uid.startswith(text) or filters.pattern(text, c.uid) for text in ids))
    if names := filters.values("name"):
        matchers.append(lambda c: any(filters.pattern(text, "/" + c.name) or text == c.name for text in names))
    if filters.values("label"):
        matchers.append(lambda c: filters.labels("label", c.spec.config.labels or {}))
    if volumes := set(filters.values("volume")):
        matchers.append(lambda c: any(m.name in volumes or m.destination in volumes for m in c.spec.mounts))
    matchers += _image_and_network(engine, filters)
    matchers += _order(engine, filters)
    for name in ("expose", "publish"):
        if wanted_ports := [port for text in filters.values(name) for port in _port_range(name, text)]:
            matchers.append(partial(_has_port, name, frozenset(wanted_ports)))
    return matchers


def _image_and_network(engine: Engine, filters: Filters) -> list[Matcher]:
    matchers: list[Matcher] = []
    if filters.values("ancestor"):
        ancestors: set[str] = set()
        for text in filters.values("ancestor"):
            try:
                image = engine.images.find(text)
            except InvalidParameterError:
                image = None
            if image is not None:
                ancestors.add(image.uid)
        matchers.append(lambda c: c.spec.image_id in ancestors or c.spec.config.image in filters.values("ancestor"))
    if networks := set(filters.values("network")):

        def connected(container: Container) -> bool:
            ids = {endpoint.network for endpoint in container.status.endpoints.values()}
            ids |= {endpoint.network for endpoint in container.spec.endpoints.values()}
            names = set(container.spec.endpoints) | set(container.status.endpoints)
            return any(
                text in names or any(uid.startswith(text) for uid in ids if len(text) >= 12) for text in networks
            )

        matchers.append(connected)
    return matchers


def _order(engine: Engine, filters: Filters) -> list[Matcher]:
    matchers: list[Matcher] = []
    for name in ("before", "since"):
        for text in filters.values(name):
            try:
                other = lookup.container(engine.store, text)
            except NotFoundError:
                raise NotFoundError(f"no such container {text}") from None
            created = other.meta.created_at
            if name == "before":
                matchers.append(lambda c, created=created: c.meta.created_at < created)  # type: ignore[misc]
            else:
                matchers.append(lambda c, created=created: c.meta.created_at > created)  # type: ignore[misc]
    return matchers


def _port_range(name: str, text: str) -> list[str]:
    number, _, protocol = text.partition("/")
    first, _, last = number.partition("-")
    for part in (first, last or first):
        if not re.fullmatch(r"[0-9]{1,9}", part):
            raise InvalidParameterError(
                f'error while looking up for {name} {text}: strconv.ParseUint: parsing "{part}": invalid syntax'
            )
        if int(part) > 65535:
            raise InvalidParameterError(
                f'error while looking up for {name} {text}: strconv.ParseUint: parsing "{part}": value out of range'
            )
    if int(first) > int(last or first):
        raise InvalidParameterError(f"error while looking up for {name} {text}: invalid range")
    return [f"{port}/{protocol or 'tcp'}" for port in range(int(first), int(last or first) + 1)]


def _has_port(name: str, wanted: frozenset[str], container: Container) -> bool:
    if name == "expose":
        return any(
            (port if "/" in port else port + "/tcp") in wanted for port in container.spec.config.exposed_ports or {}
        )
    return any(f"{port.host_port}/{port.protocol}" in wanted for port in container.status.ports)
