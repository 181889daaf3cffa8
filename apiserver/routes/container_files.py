"""Files of containers, running or not: ``docker cp``, ``export`` and ``diff``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.rendering import json_response
from apiserver.routes import lookup
from apiserver.streams import expect_download
from apiserver.wire.container_files import ChangeItem, path_stat_header
from controllers.archive.compression import open_uncompressed
from controllers.archive.helper import PathStat
from controllers.archive.pipes import READ_SIZE
from controllers.containers import users
from store.errors import EngineError, ForbiddenError, InvalidParameterError, NotFoundError
from store.objects import Container, Event

PATH_STAT = "X-Docker-Container-Path-Stat"
TAR = "application/x-tar"
PATH_PARAMETER = Parameter("path", summary="The path in the container.", required=True)
INIT_LAYER = "init"
# The files that every container gets from the engine: name in its directory, place in its tree.
ENGINE_FILES = (("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts"))


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "HEAD",
            "/containers/{id}/archive",
            partial(describe, engine),
            "ContainerArchiveInfo",
            summary="Describe a path in a container, in a header.",
            parameters=(PATH_PARAMETER,),
        ),
        Route(
            "GET",
            "/containers/{id}/archive",
            partial(read, engine),
            "ContainerArchive",
            summary="A path in a container with all that is under it, as a tar.",
            produces=TAR,
            parameters=(PATH_PARAMETER,),
        ),
        Route(
            "PUT",
            "/containers/{id}/archive",
            partial(write, engine),
            "PutContainerArchive",
            summary="Unpack a tar, also a compressed one, into a directory of a container.",
            parameters=(
                PATH_PARAMETER,
                Parameter(
                    "noOverwriteDirNonDir", "boolean", "Never replace a directory by something else, or a reverse."
                ),
                Parameter("copyUIDGID", "boolean", "Give all files to the container's user."),
            ),
        ),
        Route(
            "GET",
            "/containers/{id}/changes",
            partial(changes, engine),
            "ContainerChanges",
            summary="What a container changed in its image's files.",
            response=list[ChangeItem] | None,
        ),
        Route(
            "GET",
            "/containers/{id}/export",
            partial(export, engine),
            "ContainerExport",
            summary="A container's whole file system, without its volumes, as a tar.",
            produces="application/octet-stream",
        ),
    ]


@dataclass(frozen=True)
class Tree:
    """A container's files as its processes see them: the root, and what lies over it."""

    root: Path
    mounts: Sequence[tuple[Path, str]]


@asynccontextmanager
async def opened(engine: Engine, container: Container) -> AsyncIterator[Tree]:
    """The container's tree, kept mounted meanwhile."""
    directory = engine.layout.container(container.names_from)
    async with (
        engine.containers.mounted_root(container.uid) as root,
        engine.volumes.laid_out(container) as mounts,
    ):
        taken = {place for _, place in mounts}
        own = [(directory / name, place) for name, place in ENGINE_FILES if place not in taken]
        present = await asyncio.to_thread(lambda: [(path, place) for path, place in own if path.exists()])
        yield Tree(root, [*mounts, *present])


def asked_path(call: Call) -> str:
    """The query's path. Raises InvalidParameterError, in dockerd's words, without one."""
    path = call.query.text("path")
    if not path:
        raise InvalidParameterError("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidParameterError("bad parameter: path contains a null character")
    return path


async def look(engine: Engine, tree: Tree, call: Call, path: str) -> PathStat:
    """Describe a path. Raises NotFoundError in dockerd's words."""
    try:
        return await engine.archiver.stat(tree.root, path, mounts=tree.mounts)
    except NotFoundError:
        raise not_found(call) from None


def not_found(call: Call) -> NotFoundError:
    """What dockerd says of a path that does not exist."""
    return NotFoundError(f"Could not find the file {call.query.text('path')} in container {call.path['id']}")


async def tell(engine: Engine, container: Container, action: str) -> None:
    """Emit the event that an operation on files is."""
    labels = container.spec.config.labels or {}
    attributes = {**labels, "image": container.spec.config.image, "name": container.name}
    event = Event(type="container", action=action, actor=container.uid, attributes=attributes)
    await engine.store.commit(lambda tx: tx.emit(event), durable=False)


async def describe(engine: Engine, call: Call) -> web.StreamResponse:
    """``HEAD /containers/{id}/archive``: 400 without a path, 404 when it does not exist."""
    container = lookup.container(engine.store, call.path["id"])
    path = asked_path(call)
    async with opened(engine, container) as tree:
        found = await look(engine, tree, call, path)
    return web.Response(headers={PATH_STAT: path_stat_header(found)})


async def read(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/archive``: 400 without a path, 404 when it does not exist."""
    container = lookup.container(engine.store, call.path["id"])
    path = asked_path(call)
    async with opened(engine, container) as tree:
        found = await look(engine, tree, call, path)
        await tell(engine, container, "archive-path")
        chunks = engine.archiver.pack_chunks(tree.root, path, mounts=tree.mounts)
        return await send(call, chunks, {"Content-Type": TAR, PATH_STAT: path_stat_header(found)})


async def export(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/export``."""
    container = lookup.container(engine.store, call.path["id"])
    async with engine.containers.mounted_root(container.uid) as root:
        await tell(engine, container, "export")
        chunks = engine.archiver.pack_chunks(root, "/", content_only=True)
        return await send(call, chunks, {"Content-Type": "application/octet-stream"})


async def send(call: Call, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> web.StreamResponse:
    """Answer with a stream; what fails before its first bytes is still an HTTP error."""
    first = await anext(chunks, b"")
    response = web.StreamResponse(headers=headers)
    await response.prepare(call.request)
    expect_download(call)
    await response.write(first)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def write(engine: Engine, call: Call) -> web.StreamResponse:
    """``PUT /containers/{id}/archive``: 403 where it is read-only, 400 for a broken or hostile tar, 404 for no path."""
    container = lookup.container(engine.store, call.path["id"])
    path = asked_path(call)
    async with opened(engine, container) as tree:
        try:
            found = await look(engine, tree, call, path.rstrip("/") + "/.")
        except InvalidParameterError:
            raise InvalidParameterError("extraction point is not a directory") from None
        check_writable(container, found.path)
        owner = None
        if call.query.flag("copyUIDGID") and container.spec.config.user:
            user = await asyncio.to_thread(users.resolve, tree.root, container.spec.config.user)
            owner = (user.uid, user.gid)
        try:
            await engine.archiver.unpack_from(
                tree.root,
                open_uncompressed(call.request.content.iter_chunked(READ_SIZE)),
                path=found.path,
                digest=False,
                no_overwrite_dir_non_dir=call.query.flag("noOverwriteDirNonDir"),
                owner=owner,
                mounts=tree.mounts,
            )
        except EngineError as error:
            raise type(error)(f"Error processing tar file(exit status 1): {error.message}") from None
    await tell(engine, container, "extract-to-dir")
    return web.Response()


def check_writable(container: Container, path: str) -> None:
    """Raises ForbiddenError where a client must not write: in read-only mounts, and in a read-only root."""
    place = PurePosixPath(path)
    for point in sorted(container.spec.mounts, key=lambda point: len(point.destination), reverse=True):
        if point.type != "tmpfs" and place.is_relative_to(point.destination):
            if not point.read_write:
                raise ForbiddenError("mounted volume is marked read-only")
            return
    if container.spec.host.readonly_rootfs:
        raise ForbiddenError("container rootfs is marked read-only")


async def changes(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/changes``: null when there are none."""
    container = lookup.container(engine.store, call.path["id"])
    upper = engine.layout.upper(container.uid)
    if not await asyncio.to_thread(upper.exists):
        # Never mounted, so nothing was written.
        return json_response(None)
    image = engine.store.images.get(container.spec.image_id)
    # The lowest layer is the engine's own: what mounts need to be mounted upon is no change of the container's.
    lowers = [*(engine.images.lowers(image) if image is not None else []), engine.layout.data_root / INIT_LAYER]
    found = await engine.archiver.changes(upper, lowers)
    items = [ChangeItem(path=change.path, kind=change.kind) for change in found]
    return json_response(items or None)
