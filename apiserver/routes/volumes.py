"""Volumes (API: Volume)."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import Filters
from apiserver.rendering import json_response, no_content
from apiserver.wire.volumes import VolumeCreateBody, VolumeList, VolumePruneReport, VolumeView, view
from store.errors import InvalidParameterError
from store.objects import Volume

LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS = frozenset({"label", "label!"})
FILTERS_PARAMETER = Parameter("filters", summary="JSON object of filter names with lists of values.")


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/volumes",
            partial(list_volumes, engine),
            "VolumeList",
            summary="The volumes that the filters choose.",
            response=VolumeList,
            parameters=(FILTERS_PARAMETER,),
        ),
        Route(
            "POST",
            "/volumes/create",
            partial(create, engine),
            "VolumeCreate",
            summary="Create a volume; one that exists already is given back as it is.",
            request=VolumeCreateBody,
            response=VolumeView,
            status=201,
        ),
        Route(
            "POST",
            "/volumes/prune",
            partial(prune, engine),
            "VolumePrune",
            since="1.25",
            summary="Remove the volumes that no container refers to.",
            response=VolumePruneReport,
            parameters=(FILTERS_PARAMETER,),
        ),
        Route(
            "GET",
            "/volumes/{name:.*}",
            partial(inspect, engine),
            "VolumeInspect",
            summary="One volume.",
            response=VolumeView,
        ),
        Route(
            "DELETE",
            "/volumes/{name:.*}",
            partial(remove, engine),
            "VolumeDelete",
            summary="Remove a volume with all its data.",
            status=204,
            parameters=(Parameter("force", "boolean", "No error when there is no such volume."),),
        ),
    ]


def shown(engine: Engine, volume: Volume) -> VolumeView:
    """The volume as clients see it."""
    return view(volume, str(engine.volumes.directory(volume.name)))


async def list_volumes(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /volumes``; 400 for a filter that does not exist or is not well formed."""
    try:
        filters = call.query.filters()
    except InvalidParameterError as error:
        raise InvalidParameterError(f"error reading volume filters: {error}") from None
    filters.only(LIST_FILTERS)
    dangling = filters.flag("dangling") if "dangling" in filters else None
    chosen = [
        shown(engine, volume)
        for volume in engine.store.volumes
        if (dangling is None or dangling != bool(engine.volumes.users(volume.name)))
        and filters.exact("driver", volume.spec.driver)
        and filters.match("name", volume.name)
        and filters.labels("label", volume.meta.labels)
    ]
    return json_response(VolumeList(volumes=chosen))


async def create(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /volumes/create``: 201 also for a volume that exists; 400 for bad names and options, 404 for drivers."""
    body = await call.body(VolumeCreateBody)
    volume = await engine.volumes.ensure(
        body.name, driver=body.driver, options=body.driver_opts, labels=body.labels, anonymous=not body.name
    )
    return json_response(shown(engine, volume), status=201)


async def inspect(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /volumes/{name}``: 404 without it."""
    return json_response(shown(engine, engine.volumes.get(call.path["name"])))


async def remove(engine: Engine, call: Call) -> web.StreamResponse:
    """``DELETE /volumes/{name}``: 404 without it (204 with force), 409 when a container refers to it."""
    await engine.volumes.remove(call.path["name"], force=call.query.flag("force"))
    return no_content()


async def prune(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /volumes/prune``: the names of what was removed, and the bytes that this freed."""
    filters = call.query.filters(PRUNE_FILTERS)
    names, freed = await engine.volumes.prune(partial(prunable, filters))
    return json_response(VolumePruneReport(volumes_deleted=names, space_reclaimed=freed))


def prunable(filters: Filters, volume: Volume) -> bool:
    """Whether all ``label`` and none of the ``label!`` hold."""
    labels = volume.meta.labels
    unwanted = any(
        key in labels and (not equals or labels[key] == value)
        for key, equals, value in (text.partition("=") for text in filters.values("label!"))
    )
    return filters.labels("label", labels) and not unwanted
