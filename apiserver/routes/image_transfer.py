"""Images in and out: pull, import, load, save."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from aiohttp import web

from apiserver.composition import Engine
from apiserver.dispatch import Call, Parameter, Route
from apiserver.release import VERSION
from apiserver.streams import ProgressWriter, expect_download, stream
from controllers.archive.pipes import READ_SIZE
from controllers.images import references
from controllers.images.downloading import download, web_address
from controllers.images.importing import import_tar
from controllers.images.loading import load
from controllers.images.registry import platforms
from controllers.images.registry.authentication import Credentials
from controllers.images.saving import resolve, save
from controllers.images.service import image_event
from store.errors import EngineError, InvalidParameterError

NAME = "{name:.*[^/]}"


def routes(engine: Engine) -> list[Route]:
    """The operations of this module."""
    return [
        Route(
            "POST",
            "/images/create",
            partial(create, engine),
            "ImageCreate",
            summary="Pull an image from a registry, or import one from a tar.",
            parameters=tuple(
                Parameter(name) for name in ("fromImage", "fromSrc", "repo", "tag", "message", "changes", "platform")
            ),
        ),
        Route(
            "POST",
            "/images/load",
            partial(load_images, engine),
            "ImageLoad",
            summary="Load the images of a tar that a save wrote.",
            parameters=(Parameter("quiet", "boolean"),),
        ),
        Route(
            "GET",
            f"/images/{NAME}/get",
            partial(save_one, engine),
            "ImageGet",
            summary="One image with all its layers as a tar.",
            produces="application/x-tar",
        ),
        Route(
            "GET",
            "/images/get",
            partial(save_many, engine),
            "ImageGetAll",
            summary="Several images in one tar.",
            produces="application/x-tar",
            parameters=(Parameter("names", "array"),),
        ),
    ]


def _credentials(call: Call) -> Credentials | None:
    given = call.registry_auth()
    if given is None:
        return None
    return Credentials(
        username=given.username,
        password=given.password,
        identity_token=given.identity_token,
        registry_token=given.registry_token,
    )


async def _body(call: Call) -> AsyncGenerator[bytes]:
    async for chunk in call.request.content.iter_chunked(READ_SIZE):
        yield chunk


async def create(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /images/create``: progress lines; an error after the first line is a line too."""
    query = call.query
    if image := query.text("fromImage"):
        reference = references.join(image, query.text("tag"))
        everything = not query.text("tag") and not references.parse(image).suffix
        progress = ProgressWriter(call)
        try:
            await engine.puller.pull(
                reference,
                progress,
                all_tags=everything,
                platform=query.text("platform"),
                credentials=_credentials(call),
            )
        except EngineError as error:
            await progress.fail(error)
        return await progress.finish()
    source = query.text("fromSrc")
    if source != "-":
        source = web_address(source)
    target = references.join(query.text("repo"), query.text("tag")) if query.text("repo") else None
    if target is not None and target.digest:
        raise InvalidParameterError("cannot import digest reference")
    wanted = query.text("platform")
    if wanted and platforms.parse(wanted).os != "linux":
        raise InvalidParameterError("operating system is not supported")
    progress = ProgressWriter(call)
    body = _body(call) if source == "-" else download(source, progress, f"wharfinger/{VERSION}")
    try:
        async with aclosing(body):
            made = await import_tar(
                engine.images,
                body,
                target,
                architecture=platforms.local().architecture,
                changes=query.many("changes"),
                message=query.text("message") or f"Imported from {source}",
                shown=references.join_shown(query.text("repo"), query.text("tag")) if target else "",
            )
        await progress.line({"status": made.uid})
    except EngineError as error:
        await progress.fail(error)
    return await progress.finish()


async def load_images(engine: Engine, call: Call) -> web.StreamResponse:
    """``POST /images/load``: a line for each image that is there now."""
    quiet = call.query.flag("quiet")
    progress = ProgressWriter(call)

    async def on_layer(diff_id: str, current: int, total: int) -> None:
        if not quiet:
            await progress.status("Loading layer", diff_id.removeprefix("sha256:")[:12], current, total)

    try:
        for loaded in await load(engine.images, engine.archiver, _body(call), on_layer):
            for name, uid in loaded.replaced:
                text = f"The image {name.familiar} already exists, renaming the old one with ID {uid} to empty string\n"
                await progress.line({"stream": text})
            for name in loaded.names:
                await progress.line({"stream": f"Loaded image: {name.familiar}\n"})
            if not loaded.names:
                await progress.line({"stream": f"Loaded image ID: {loaded.image.uid}\n"})
    except EngineError as error:
        await progress.fail(error)
    return await progress.finish()


async def save_one(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /images/{name}/get``."""
    return await _save(engine, call, [call.path["name"]])


async def save_many(engine: Engine, call: Call) -> web.StreamResponse:
    """``GET /images/get``."""
    return await _save(engine, call, call.query.many("names"))


async def _save(engine: Engine, call: Call, names: list[str]) -> web.StreamResponse:
    wanted = resolve(engine.images, names)
    response = await stream(call, "application/x-tar")
    expect_download(call)
    async for chunk in save(engine.images, wanted):
        await response.write(chunk)
    for item in wanted:
        event = image_event(item.image, "save")
        await asyncio.shield(engine.store.commit(lambda tx, event=event: tx.emit(event), durable=False))  # type: ignore[misc]
    await response.write_eof()
    return response
