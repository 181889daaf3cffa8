"""What everything takes on disk (``docker system df``)."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import Any

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Route
from apiserver.rendering import json_response
from apiserver.routes import links
from apiserver.routes.container_list import shown_image
from apiserver.routes.containers import sizes_of
from apiserver.wire import container_views, images, volumes
from apiserver.wire.containers import ContainerSummary
from apiserver.wire.images import ImageSummary
from store.objects import Image
from store.objects.containers import DockerStruct


class DiskUsage(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``GET /system/df``; sizes in bytes."""

    layers_size: int
    images: list[ImageSummary]
    containers: list[ContainerSummary]
    volumes: list[volumes.VolumeView]
    build_cache: list[dict[str, Any]] | None = None
    builder_size: int = 0


def routes(engine: Engine) -> list[Route]:
    """The operation of this module."""
    return [
        Route(
            "GET",
            "/system/df",
            partial(disk_usage, engine),
            "SystemDataUsage",
            summary="What images, containers and volumes take on disk.",
            response=DiskUsage,
        )
    ]


async def disk_usage(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /system/df``."""
    store = engine.store
    uses = Counter(chain for image in store.images for chain in image.spec.chain_ids)
    now = time.time()
    containers = []
    for container in store.containers:
        sizes = await sizes_of(engine, container)
        status = container_views.status_text(container, now)
        image, linked_as = shown_image(engine, container), links.names_of(store, container)
        containers.append(container_views.summary(container, image, status, sizes, linked_as))
    answer = DiskUsage(
        layers_size=sum(layer.size for layer in store.layers),
        images=[_image(engine, image, uses) for image in engine.images.all()],
        containers=containers,
        volumes=[
            volumes.view(
                usage.volume,
                str(engine.volumes.directory(usage.volume.name)),
                volumes.VolumeUsageData(size=usage.size_bytes, ref_count=usage.references),
            )
            for usage in await engine.volumes.usage()
        ],
    )
    return json_response(answer)


def _image(engine: Engine, image: Image, uses: Counter[str]) -> ImageSummary:
    layers = [engine.store.layers.get(chain) for chain in image.spec.chain_ids]
    shared = sum(layer.size for layer in layers if layer is not None and uses[layer.uid] > 1)
    users = len(engine.store.containers.where("image", image.uid))
    return images.summary(image, *engine.images.names(image.uid), containers=users, shared=shared)
