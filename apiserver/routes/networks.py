"""Networks (API: Network)."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from apiserver.admission import networks as admission
from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import Filters, quoted
from apiserver.rendering import json_response, no_content
from apiserver.routes import lookup
from apiserver.timestamps import parse_moment
from apiserver.wire import versions
from apiserver.wire.containers import EndpointRequest
from apiserver.wire.networks import (
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkCreateResponse,
    NetworkDisconnectRequest,
    NetworkPruneReport,
    NetworkView,
    view,
)
from store.errors import ForbiddenError, InvalidParameterError, NotFoundError
from store.objects import Container, Event, Network

LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
PRUNE_FILTERS = frozenset({"label", "label!", "until"})
FILTERS_PARAMETER = Parameter("filters", summary="JSON object of filter names with lists of values.")


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/networks",
            partial(list_networks, engine),
            "NetworkList",
            summary="The networks that the filters choose.",
            response=list[NetworkView],
            parameters=(FILTERS_PARAMETER,),
        ),
        Route(
            "POST",
            "/networks/create",
            partial(create, engine),
            "NetworkCreate",
            summary="Create a network.",
            request=NetworkCreateRequest,
            response=NetworkCreateResponse,
            status=201,
        ),
        Route(
            "POST",
            "/networks/prune",
            partial(prune, engine),
            "NetworkPrune",
            since="1.25",
            summary="Remove the networks that no running container is on.",
            response=NetworkPruneReport,
            parameters=(FILTERS_PARAMETER,),
        ),
        Route(
            "POST",
            "/networks/{id:.+}/connect",
            partial(connect, engine),
            "NetworkConnect",
            summary="Connect a container to a network.",
            request=NetworkConnectRequest,
        ),
        Route(
            "POST",
            "/networks/{id:.+}/disconnect",
            partial(disconnect, engine),
            "NetworkDisconnect",
            summary="Disconnect a container from a network.",
            request=NetworkDisconnectRequest,
        ),
        Route(
            "GET",
            "/networks/{id:.+}",
            partial(inspect, engine),
            "NetworkInspect",
            summary="One network with the running containers on it.",
            response=NetworkView,
            parameters=(
                Parameter("verbose", "boolean", "More of a swarm's network; there is no more of others."),
                Parameter("scope", summary="Only a network of this scope."),
            ),
        ),
        Route(
            "DELETE",
            "/networks/{id:.+}",
            partial(remove, engine),
            "NetworkDelete",
            summary="Remove a network that no running container is on.",
            status=204,
        ),
    ]


async def list_networks(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /networks``; 400 for a filter that does not exist or is not well formed."""
    filters = call.query.filters(LIST_FILTERS)
    dangling = _dangling(filters)
    for kind in filters.values("type"):
        if kind not in ("custom", "builtin"):
            raise InvalidParameterError(f"invalid filter: 'type'='{kind}'")
    detailed = not versions.has(call.version, "network-list.brief")
    chosen = [
        view(network, engine.store.containers.where("network", network.uid) if detailed else ())
        for network in engine.store.networks
        if network.meta.deletion_requested_at is None
        and filters.exact("driver", network.spec.driver)
        and filters.exact("scope", network.spec.scope)
        and filters.exact("type", "builtin" if network.spec.predefined else "custom")
        and filters.match("name", network.name)
        and filters.match("id", network.uid)
        and filters.labels("label", network.meta.labels)
        and (dangling is None or dangling == is_dangling(engine, network))
    ]
    return json_response(chosen)


def _dangling(filters: Filters) -> bool | None:
    values = filters.values("dangling")
    if len(values) > 1:
        raise InvalidParameterError('got more than one value for filter key "dangling"')
    if not values:
        return None
    if values[0] not in ("true", "1", "false", "0"):
        raise InvalidParameterError(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
        )
    return values[0] in ("true", "1")


def is_dangling(engine: Engine, network: Network) -> bool:
    """Whether it is a user's network that no running container is on."""
    return not network.spec.predefined and not in_use(engine, network)


def in_use(engine: Engine, network: Network) -> bool:
    """Whether a container holds an address on it."""
    return any(lease.owner for lease in engine.store.address_leases.where("network", network.uid))


async def create(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /networks/create``: 201; 400 for what makes no sense, 403 for overlaps, 404 for drivers, 409 for a name
    in use, 501 for what is not supported yet."""
    network = await engine.networks.create(admission.admit(await call.body(NetworkCreateRequest)))
    return json_response(NetworkCreateResponse(id=network.uid), status=201)


async def inspect(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /networks/{id}``: 404 without it."""
    verbose = call.query.text("verbose") or "false"
    if verbose not in admission.TRUTHS:
        raise InvalidParameterError(
            f"invalid value for verbose: {verbose}: strconv.ParseBool: parsing {quoted(verbose)}: invalid syntax"
        )
    network = engine.networks.resolve(call.path["id"])
    if call.query.text("scope") not in ("", network.spec.scope):
        raise NotFoundError(f"network {call.path['id']} not found")
    return json_response(view(network, engine.store.containers.where("network", network.uid)))


async def remove(engine: Engine, call: Call) -> web.StreamResponse:
    """``DELETE /networks/{id}``: 204; 403 for a predefined one or one that is in use, 404 without it."""
    network = engine.networks.resolve(call.path["id"])
    if network.spec.predefined:
        raise ForbiddenError(f"{network.name} is a pre-defined network and cannot be removed")
    await engine.networks.remove(network)
    return no_content()


async def connect(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /networks/{id}/connect``: 200; 400 for networks that cannot be joined, 403 when it is on it already."""
    request = await call.body(NetworkConnectRequest)
    network = engine.networks.resolve(call.path["id"])
    container = _container(engine, request.container)
    spec = admission.connection(network.name, request.endpoint_config or EndpointRequest())
    await engine.networks.connect(container, network, spec)
    return web.Response()


async def disconnect(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /networks/{id}/disconnect``: 200; 409 when the container is not on it."""
    request = await call.body(NetworkDisconnectRequest)
    network = engine.networks.resolve(call.path["id"])
    try:
        container = _container(engine, request.container)
    except NotFoundError:
        if request.force:
            raise NotFoundError(f"endpoint {request.container} not found") from None
        raise
    await engine.networks.disconnect(container, network)
    return web.Response()


def _container(engine: Engine, text: str) -> Container:
    if not text:
        raise InvalidParameterError('invalid name or ID supplied: ""')
    return lookup.container(engine.store, text)


async def prune(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /networks/prune``: the names of what was removed."""
    filters = call.query.filters(PRUNE_FILTERS)
    until = filters.values("until")
    if len(until) > 1:
        raise InvalidParameterError("more than one until filter specified")
    before = parse_moment(until[0]) if until else None
    removed = []
    for network in list(engine.store.networks):
        if network.meta.deletion_requested_at is not None or not is_dangling(engine, network):
            continue
        if not _prunable(filters, network) or (before is not None and network.meta.created_at > before):
            continue
        try:
            await engine.networks.remove(network)
        except ForbiddenError:
            # A container was started on it meanwhile.
            continue
        removed.append(network.name)
    event = Event(type="network", action="prune", actor="", attributes={"reclaimed": "0"})
    await engine.store.commit(lambda transaction: transaction.emit(event))
    return json_response(NetworkPruneReport(networks_deleted=removed or None))


def _prunable(filters: Filters, network: Network) -> bool:
    labels = network.meta.labels
    unwanted = any(
        key in labels and (not equals or labels[key] == value)
        for key, equals, value in (text.partition("=") for text in filters.values("label!"))
    )
    return filters.labels("label", labels) and not unwanted
