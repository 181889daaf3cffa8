"""Images: list, look at, name, remove."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.queries import Filters
from apiserver.rendering import json_response, no_content
from apiserver.timestamps import parse_moment
from apiserver.wire import images as wire
from apiserver.wire import versions
from controllers.images import references
from controllers.images.removal import Removed
from store.errors import InvalidParameterError, NotFoundError
from store.objects import Event, Image

LIST_FILTERS = frozenset({"dangling", "label", "before", "since", "reference"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})
NAME = "{name:.*[^/]}"


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "GET",
            "/images/json",
            partial(list_images, engine),
            "ImageList",
            summary="The images, newest first.",
            response=list[wire.ImageSummary],
            parameters=(Parameter("all", "boolean"), Parameter("filters"), Parameter("digests", "boolean")),
        ),
        Route(
            "GET",
            f"/images/{NAME}/json",
            partial(inspect, engine),
            "ImageInspect",
            summary="Everything there is to know about one image.",
            response=wire.ImageInspect,
        ),
        Route(
            "GET",
            f"/images/{NAME}/history",
            partial(history, engine),
            "ImageHistory",
            summary="The steps by which an image came to be, newest first.",
            response=list[wire.HistoryStep],
        ),
        Route(
            "POST",
            f"/images/{NAME}/tag",
            partial(tag, engine),
            "ImageTag",
            summary="Give an image one more name.",
            status=201,
            parameters=(Parameter("repo"), Parameter("tag")),
        ),
        Route(
            "DELETE",
            "/images/{name:.*}",
            partial(remove, engine),
            "ImageDelete",
            summary="Take a name from an image; with its last one goes the image.",
            response=list[wire.DeleteItem],
            parameters=(Parameter("force", "boolean"), Parameter("noprune", "boolean")),
        ),
        Route(
            "POST",
            "/images/prune",
            partial(prune, engine),
            "ImagePrune",
            summary="Remove images that nobody needs.",
            response=wire.PruneReport,
            parameters=(Parameter("filters"),),
        ),
    ]


async def list_images(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /images/json``; 400 for a filter that does not exist."""
    filters = call.query.filters(LIST_FILTERS)
    matchers = _matchers(engine, filters)
    patterns = list(filters.values("reference"))
    if not versions.has(call.version, "image-list.filter-gone") and (pattern := call.query.text("filter")):
        patterns.append(pattern)
    found = []
    for image in engine.images.all():
        tags, digests = engine.images.names(image.uid)
        if patterns:
            tags = [name for name in tags if any(references.matches(pattern, name) for pattern in patterns)]
            digests = [name for name in digests if any(references.matches(pattern, name) for pattern in patterns)]
            if not tags and not digests:
                continue
        if all(match(image) for match in matchers):
            found.append(wire.summary(image, tags, digests))
    found.sort(key=lambda item: item.created, reverse=True)
    return json_response(found)


def _matchers(engine: Engine, filters: Filters) -> list[Callable[[Image], bool]]:
    matchers: list[Callable[[Image], bool]] = []
    if "dangling" in filters:
        wanted = filters.flag("dangling")
        matchers.append(lambda image: wanted == (not any(engine.images.names(image.uid))))
    if filters.values("label"):
        matchers.append(lambda image: filters.labels("label", image.spec.config.labels or {}))
    for name in ("before", "since"):
        for text in filters.values(name):
            moment = wire.seconds(engine.images.get(text).spec.created)
            if name == "before":
                matchers.append(lambda image, moment=moment: wire.seconds(image.spec.created) < moment)  # type: ignore[misc]
            else:
                matchers.append(lambda image, moment=moment: wire.seconds(image.spec.created) > moment)  # type: ignore[misc]
    return matchers


async def inspect(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /images/{name}/json``."""
    text = call.path["name"]
    try:
        image = engine.images.get(text)
    except (InvalidParameterError, NotFoundError) as error:
        raise type(error)(f"no such image: {text}: {error}") from None
    directories = [str(path) for path in engine.images.lowers(image)]
    return json_response(wire.inspect(image, *engine.images.names(image.uid), directories))


async def history(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /images/{name}/history``."""
    image = engine.images.get(call.path["name"])
    layers = [engine.store.layers.get(chain) for chain in image.spec.chain_ids]
    sizes = [layer.size if layer else 0 for layer in layers]
    return json_response(wire.history(image, engine.images.names(image.uid)[0], sizes))


async def tag(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /images/{name}/tag``: 201; 400 for a name that cannot be, 404 without the image."""
    image = engine.images.get(call.path["name"])
    reference = references.join(call.query.text("repo"), call.query.text("tag"))
    if reference.digest:
        raise InvalidParameterError("refusing to create a tag with a digest reference")
    shown = references.join_shown(call.query.text("repo"), call.query.text("tag"))
    await engine.images.tag(image, reference, shown)
    return no_content(201)


def _items(removed: Removed) -> list[wire.DeleteItem]:
    items = [wire.DeleteItem(untagged=name) for name in removed.untagged]
    return items + [wire.DeleteItem(deleted=uid) for uid in removed.deleted]


async def remove(engine: Engine, call: Call) -> web.StreamResponse:
    """``DELETE /images/{name}``: what was taken; 404, or 409 when somebody needs it."""
    text = call.path["name"]
    if not text.strip():
        raise InvalidParameterError("image name cannot be blank")
    return json_response(_items(await engine.remover.remove(text, force=call.query.flag("force"))))


async def prune(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /images/prune``: dangling images, or with ``dangling=false`` all that no container uses."""
    filters = call.query.filters(PRUNE_FILTERS)
    dangling = filters.flag("dangling", True)
    until = [parse_moment(text) for text in filters.values("until")]

    def wanted(image: Image) -> bool:
        if dangling and any(engine.images.names(image.uid)):
            return False
        if any(wire.seconds(image.spec.created) * 1_000_000_000 > moment for moment in until):
            return False
        labels = image.spec.config.labels or {}
        if filters.values("label") and not filters.labels("label", labels):
            return False
        return not (filters.values("label!") and filters.labels("label!", labels))

    removed = await engine.remover.prune(wanted)
    event = Event(type="image", action="prune", actor="", attributes={"reclaimed": str(removed.freed)})
    await engine.store.commit(lambda tx: tx.emit(event), durable=False)
    return json_response(wire.PruneReport(images_deleted=_items(removed) or None, space_reclaimed=removed.freed))
