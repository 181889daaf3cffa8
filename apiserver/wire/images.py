"""The wire types of the images group (API: Image), and how the store's images look in them."""

from __future__ import annotations

import calendar
import time
from typing import Any

import msgspec

from apiserver.timestamps import rfc3339
from apiserver.wire.containers import GraphDriver, without_empty
from store.objects import Image
from store.objects.containers import ContainerConfig, DockerStruct


class ImageSummary(DockerStruct, frozen=True, kw_only=True):
    """One line of ``GET /images/json``; sizes in bytes, ``created`` in seconds."""

    containers: int
    created: int
    id: str
    labels: dict[str, str] | None
    parent_id: str
    repo_digests: list[str] | None
    repo_tags: list[str] | None
    shared_size: int
    size: int
    virtual_size: int


class RootFS(DockerStruct, frozen=True, kw_only=True):
    """The layers, by the digest of their tars, from the lowest up."""

    type: str = "layers"
    layers: list[str] | None = None


class ImageMetadata(DockerStruct, frozen=True, kw_only=True):
    """What only this engine knows of an image."""

    last_tag_time: str


class ImageInspect(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``GET /images/{name}/json``."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str
    comment: str
    created: str
    container: str
    container_config: dict[str, Any]
    docker_version: str
    author: str
    config: dict[str, Any]
    architecture: str
    variant: str | msgspec.UnsetType = msgspec.UNSET
    os: str
    size: int
    virtual_size: int
    graph_driver: GraphDriver
    root_fs: RootFS = msgspec.field(name="RootFS")
    metadata: ImageMetadata


class HistoryStep(DockerStruct, frozen=True, kw_only=True):
    """One line of ``docker history``; ``created`` in seconds, ``size`` in bytes."""

    comment: str
    created: int
    created_by: str
    id: str
    size: int
    tags: list[str] | None


class DeleteItem(DockerStruct, frozen=True, kw_only=True):
    """One thing that a removal took: a name, or an image or layer."""

    untagged: str | msgspec.UnsetType = msgspec.UNSET
    deleted: str | msgspec.UnsetType = msgspec.UNSET


class PruneReport(DockerStruct, frozen=True, kw_only=True):
    """What a prune took, and the bytes that it freed."""

    images_deleted: list[DeleteItem] | None
    space_reclaimed: int


def seconds(created: str) -> int:
    """An image's RFC 3339 time in seconds since the epoch; 0001-01-01 when it has none, as Go counts."""
    try:
        return calendar.timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return -62135596800


def summary(
    image: Image, tags: list[str], digests: list[str], *, containers: int = -1, shared: int = -1
) -> ImageSummary:
    """One line of a list."""
    dangling = not tags and not digests
    return ImageSummary(
        containers=containers,
        created=seconds(image.spec.created),
        id=image.uid,
        labels=image.spec.config.labels,
        parent_id=image.spec.parent,
        repo_digests=["<none>@<none>"] if dangling else (digests or None),
        repo_tags=["<none>:<none>"] if dangling else (tags or None),
        shared_size=shared,
        size=image.spec.size,
        virtual_size=image.spec.size,
    )


class _Built(msgspec.Struct):
    container_config: dict[str, Any] | None = None


def _build_config(raw: str) -> ContainerConfig:
    """The configuration of the container that an image was built from, which nothing but this answer needs."""
    try:
        given = msgspec.json.decode(raw, type=_Built).container_config or {}
        return msgspec.convert({name: value for name, value in given.items() if value is not None}, ContainerConfig)
    except (msgspec.MsgspecError, RecursionError):
        return ContainerConfig()


def inspect(image: Image, tags: list[str], digests: list[str], directories: list[str]) -> ImageInspect:
    """All of an image; ``directories`` are its layers' on disk, topmost first."""
    spec = image.spec
    data: dict[str, str] = {}
    if directories:
        top = directories[0].removesuffix("/diff")
        data = {"MergedDir": f"{top}/merged", "UpperDir": directories[0], "WorkDir": f"{top}/work"}
    if len(directories) > 1:
        data = {"LowerDir": ":".join(directories[1:]), **data}
    return ImageInspect(
        id=image.uid,
        repo_tags=tags,
        repo_digests=digests,
        parent=spec.parent,
        comment=spec.comment,
        created=spec.created,
        container=spec.container,
        container_config=without_empty(_build_config(spec.raw_config)),
        docker_version=spec.docker_version,
        author=spec.author,
        config=without_empty(spec.config),
        architecture=spec.architecture,
        variant=spec.variant or msgspec.UNSET,
        os=spec.os,
        size=spec.size,
        virtual_size=spec.size,
        graph_driver=GraphDriver(data=data),
        root_fs=RootFS(layers=list(spec.diff_ids) or None),
        metadata=ImageMetadata(last_tag_time=rfc3339(image.status.last_tagged_at)),
    )


def history(image: Image, tags: list[str], sizes: list[int]) -> list[HistoryStep]:
    """How the image came to be, newest first; ``sizes`` are its layers' bytes from the lowest up."""
    remaining = list(sizes)
    steps = []
    for step in image.spec.history:
        size = 0 if step.empty_layer or not remaining else remaining.pop(0)
        steps.append(
            HistoryStep(
                comment=step.comment,
                created=seconds(step.created),
                created_by=step.created_by,
                id="<missing>",
                size=size,
                tags=None,
            )
        )
    steps.reverse()
    if steps:
        steps[0] = msgspec.structs.replace(steps[0], id=image.uid, tags=tags or None)
    return steps
