"""Creating and inspecting containers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Mapping
from functools import partial

from aiohttp import web
from msgspec.structs import replace

from apiserver.admission import containers as admission
from apiserver.admission import hostconfig
from apiserver.admission.mounts import mount_points
from apiserver.composition import Engine
from apiserver.dispatch import Call, Route
from apiserver.queries import Query
from apiserver.rendering import json_response
from apiserver.routes import links, lookup
from apiserver.wire import container_views as views
from apiserver.wire import versions
from apiserver.wire.containers import ContainerInspect, CreateRequest, CreateResponse
from controllers.images.registry import platforms
from controllers.images.service import present
from store.crashpoints import crashpoint
from store.errors import ConflictError, InvalidParameterError, NotFoundError
from store.objects import Container, ContainerSpec, Event, HostConfig, Image, Meta, Volume
from store.objects.containers import MountPoint
from store.store import NameTakenError, Transaction

FINALIZER = "containers"


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "POST",
            "/containers/create",
            partial(create, engine),
            "ContainerCreate",
            summary="Create a container from an image, without starting it.",
            request=CreateRequest,
            response=CreateResponse,
        ),
        Route(
            "GET",
            "/containers/{id}/json",
            partial(inspect, engine),
            "ContainerInspect",
            summary="Everything there is to know about one container.",
            response=ContainerInspect,
            instant=partial(_kept, engine),
        ),
    ]


async def create(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /containers/create``: 201 with the id, 400 for what cannot be, 404 without the image, 409 for the name."""
    name = call.query.text("name")
    if name:
        name = admission.check_name(name)
    request = await call.body(CreateRequest)
    container, volumes, warnings = await _admit(engine, call, request)
    container = await _insert(engine, container, volumes, name)
    crashpoint("container.create.committed")
    await engine.volumes.ready([volume.name for volume in volumes])
    await engine.containers.prepared(container.uid)
    return json_response(CreateResponse(id=container.uid, warnings=warnings), status=201)


async def _admit(engine: Engine, call: Call, request: CreateRequest) -> tuple[Container, list[Volume], list[str]]:
    config = admission.check_config(request.config())
    if request == CreateRequest():
        raise InvalidParameterError("Config cannot be empty in order to create a container")
    admission.check_modes(config, request.host_config or HostConfig())
    platform = call.query.text("platform") if versions.has(call.version, "create.platform") else ""
    if platform:
        platforms.parse(platform)
    image = _image(engine, config.image, platform)
    if image is None and not (config.cmd or config.entrypoint):
        raise InvalidParameterError("No command specified")
    if image is None:
        raise InvalidParameterError("No image was specified")
    config = admission.merge_image(config, image.spec.config)
    # Without a host configuration dockerd has nothing in which to put an older version's defaults.
    version = versions.CURRENT if request.host_config is None else call.version
    host, warnings = hostconfig.admit(request.host_config or HostConfig(), engine.facts, version)
    if host.network_mode.startswith("container:"):
        # By id, so that renaming the other changes nothing. That it does not exist is for the start to find.
        with contextlib.suppress(NotFoundError):
            other = lookup.container(engine.store, host.network_mode.removeprefix("container:"))
            host = replace(host, network_mode=f"container:{other.uid}")
            config = replace(config, hostname=other.spec.config.hostname, domainname=other.spec.config.domainname)
    for mode in (host.pid_mode, host.ipc_mode):
        if mode.startswith("container:"):
            _other(engine, mode.removeprefix("container:"))
    linked = links.resolve(engine.store, host)
    if linked:
        # What inspect shows of them is made of their present names.
        host = replace(host, links=None)
    uid = secrets.token_hex(32)
    if not config.hostname and not host.network_mode.startswith("container:"):
        hostname = os.uname().nodename if host.network_mode == "host" or host.uts_mode == "host" else uid[:12]
        config = replace(config, hostname=hostname)
    endpoints = admission.endpoints(host.network_mode, request.networking_config, config.mac_address)
    mounts = mount_points(
        config, host, partial(_other, engine), partial(secrets.token_hex, 32), engine.layout.data_root
    )
    await asyncio.to_thread(_check_bind_sources, request)
    mounts, volumes = _volumes(engine, mounts, request)
    path, arguments = admission.command_line(config)
    container = Container(
        meta=Meta(uid=uid, name="", labels=config.labels or {}, finalizers=(FINALIZER,)),
        spec=ContainerSpec(
            config=config,
            host=host,
            image_id=image.uid,
            path=path,
            args=arguments,
            mounts=mounts,
            endpoints=endpoints,
            links=linked,
        ),
    )
    return container, volumes, warnings


def _image(engine: Engine, reference: str, platform: str) -> Image | None:
    if not reference:
        return None
    image = engine.images.find(reference)
    if image is None:
        raise NotFoundError(f"No such image: {engine.images.display(reference)}")
    if platform:
        wanted = platform.split("/")
        actual = [image.spec.os, image.spec.architecture, image.spec.variant]
        if wanted != actual[: len(wanted)]:
            raise NotFoundError(
                f"image with reference {reference} was found but does not match the specified platform: "
                f"wanted {platform}, actual: {'/'.join(part for part in actual if part)}"
            )
    return image


def _other(engine: Engine, text: str) -> Container:
    try:
        return lookup.container(engine.store, text)
    except NotFoundError as error:
        raise InvalidParameterError(str(error)) from None


def _check_bind_sources(request: CreateRequest) -> None:
    host = request.host_config
    for mount in (host.mounts if host else None) or ():
        if mount.type == "bind" and not os.path.exists(mount.source):
            raise InvalidParameterError(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
            )


def _volumes(
    engine: Engine, mounts: tuple[MountPoint, ...], request: CreateRequest
) -> tuple[tuple[MountPoint, ...], list[Volume]]:
    options = {
        mount.source: mount.volume_options
        for mount in (request.host_config.mounts if request.host_config else None) or ()
        if mount.type == "volume" and mount.source
    }
    resolved: list[MountPoint] = []
    new: list[Volume] = []
    for point in mounts:
        if point.type == "volume":
            existing = engine.store.volumes.by_name(point.name)
            if existing is None:
                asked = options.get(point.name)
                driver = asked.driver_config if asked else None
                volume = engine.volumes.declare(
                    point.name,
                    driver=point.driver,
                    options=driver.options if driver else None,
                    labels=asked.labels if asked else None,
                    anonymous=point.anonymous,
                )
                if all(volume.name != other.name for other in new):
                    new.append(volume)
            point = replace(point, source=str(engine.volumes.directory(point.name)))
        resolved.append(point)
    return tuple(resolved), new


async def _insert(engine: Engine, container: Container, volumes: list[Volume], name: str) -> Container:
    """Commit a container with the volumes that it brings into being, under the name or a random free one."""

    def change(tx: Transaction) -> Container:
        image = tx.get(Image, container.spec.image_id)
        if image is None or not present(image):
            # Removed while we were looking: a container without its layers could never start.
            raise NotFoundError(f"No such image: {engine.images.display(container.spec.config.image)}")
        chosen = name or admission.random_name()
        while not name and tx.by_name(Container, chosen) is not None:
            chosen = admission.random_name()
        for volume in volumes:
            if tx.by_name(Volume, volume.name) is None:
                tx.insert(volume)
                tx.emit(
                    Event(type="volume", action="create", actor=volume.name, attributes={"driver": volume.spec.driver})
                )
        named = container.with_meta(name=chosen)
        tx.insert(named)
        labels = container.spec.config.labels or {}
        tx.emit(
            Event(
                type="container",
                action="create",
                actor=container.uid,
                attributes={**labels, "image": container.spec.config.image, "name": chosen},
            )
        )
        return named

    try:
        return await engine.store.commit(change)
    except NameTakenError as taken:
        raise ConflictError(
            f'Conflict. The container name "/{taken.name}" is already in use by container "{taken.holder_uid}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        ) from None


async def inspect(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/json``."""
    kept = _kept(engine, call.path, call.query)
    if kept is not None:
        return json_response(kept)
    container = lookup.container(engine.store, call.path["id"])
    sizes = await sizes_of(engine, container) if call.query.flag("size") else None
    running = (engine.execs.of(container.uid) if container.running else None) or None
    image = engine.store.images.get(container.spec.image_id)
    lowers = [str(path) for path in engine.images.lowers(image)] if image else []
    shown = views.inspect(container, engine.layout, lowers, running, sizes, links.shown(engine.store, container))
    response = json_response(shown)
    if sizes is None and isinstance(response.body, bytes):
        engine.inspect_cache[container.uid] = (_state(engine, container), response.body)
    return response


def _kept(engine: Engine, path: Mapping[str, str], query: Query) -> bytes | None:
    container = lookup.container(engine.store, path["id"])
    cached = engine.inspect_cache.get(container.uid)
    current = cached is not None and cached[0] == _state(engine, container) and not query.flag("size")
    return cached[1] if cached is not None and current else None


def _state(engine: Engine, container: Container) -> object:
    execs = tuple(engine.execs.of(container.uid))
    return container.meta.resource_version, execs, links.shown(engine.store, container)


async def sizes_of(engine: Engine, container: Container) -> tuple[int, int]:
    """The bytes that a container has written, and those of its whole root file system."""
    written = await engine.containers.written_bytes(container.uid)
    image = engine.store.images.get(container.spec.image_id)
    return written, written + (image.spec.size if image else 0)
