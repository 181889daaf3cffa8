"""``docker save``: images in one tar, in Docker's own format (manifest.json, Docker image spec v1.2)."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec

from controllers.archive.pipes import read_chunks, wide_pipe
from controllers.images import references
from controllers.images.service import ImageService
from store.errors import EngineError, NotFoundError
from store.objects import Image, Layer

BLOCK = 512


@dataclass(frozen=True)
class Wanted:
    """An image to save, with the names to save it under."""

    image: Image
    names: tuple[references.Reference, ...]


def resolve(images: ImageService, texts: Sequence[str]) -> list[Wanted]:
    """What some names mean: a repository without a tag stands for all its tags. NotFoundError for one that is not."""
    found: dict[str, list[references.Reference]] = {}
    for text in texts:
        image = images.find(text)
        repository = _repository(images, text)
        if image is None and not repository:
            # dockerd's words differ by where it had to look.
            named = ":" in text.rpartition("/")[2] and not text.startswith("sha256:")
            raise NotFoundError("reference does not exist" if named else f"No such image: {text}")
        if repository:
            for uid, reference in repository:
                found.setdefault(uid, []).append(reference)
        elif image is not None:
            names = found.setdefault(image.uid, [])
            if (name := images.named(text)) is not None and not name.digest:
                names.append(name)
    return [Wanted(images.get(uid), tuple(dict.fromkeys(names))) for uid, names in found.items()]


def _repository(images: ImageService, text: str) -> list[tuple[str, references.Reference]]:
    if text.startswith("sha256:") or references.IDENTIFIER.fullmatch(text):
        return []
    reference = references.parse(text)
    if reference.tag or reference.digest:
        return []
    return images.tags_of(reference.name)


async def save(images: ImageService, wanted: Sequence[Wanted]) -> AsyncIterator[bytes]:
    """The tar, piece by piece. EngineError when a layer on disk is damaged."""
    manifest = []
    repositories: dict[str, dict[str, str]] = {}
    layers: dict[str, Layer] = {}
    for item in wanted:
        chain = [images.layers.find(uid) for uid in item.image.spec.chain_ids]
        present = [layer for layer in chain if layer is not None]
        if len(present) != len(chain):
            raise EngineError(f"a layer of image {item.image.uid} is missing")
        layers.update({layer.uid: layer for layer in present})
        top = present[-1].uid.removeprefix("sha256:") if present else item.image.uid.removeprefix("sha256:")
        for reference in item.names:
            repositories.setdefault(reference.familiar_name, {})[reference.tag] = top
        manifest.append(
            {
                "Config": item.image.uid.removeprefix("sha256:") + ".json",
                "RepoTags": [reference.familiar for reference in item.names] or None,
                "Layers": [_layer_path(layer) for layer in present],
            }
        )
    for item in wanted:
        yield _file(item.image.uid.removeprefix("sha256:") + ".json", item.image.spec.raw_config.encode())
    with images.layers.pinned(layers):
        for layer in layers.values():
            async for chunk in _layer(images, layer):
                yield chunk
    yield _file("manifest.json", msgspec.json.encode(manifest))
    if repositories:
        yield _file("repositories", msgspec.json.encode(repositories) + b"\n")
    yield bytes(2 * BLOCK)


def _layer_path(layer: Layer) -> str:
    return layer.uid.removeprefix("sha256:") + "/layer.tar"


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.mode = size, kind, mode
    member.uname = member.gname = "root"
    return member.tobuf(tarfile.PAX_FORMAT)


def _file(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    buffer.write(_header(name, len(data)))
    buffer.write(data)
    buffer.write(bytes(-len(data) % BLOCK))
    return buffer.getvalue()


async def _layer(images: ImageService, layer: Layer) -> AsyncIterator[bytes]:
    directory = layer.uid.removeprefix("sha256:")
    size = layer.tar_size
    yield _header(directory + "/", 0, tarfile.DIRTYPE, 0o755)
    yield _file(directory + "/VERSION", b"1.0")
    yield _header(_layer_path(layer), size)
    sent = 0
    async for chunk in tar_chunks(images, layer):
        sent += len(chunk)
        yield chunk
    yield bytes(-sent % BLOCK)


async def tar_chunks(images: ImageService, layer: Layer) -> AsyncIterator[bytes]:
    """A layer's tar as it came. EngineError when its files are damaged."""
    reader, writer = wide_pipe()

    async def write() -> None:
        try:
            await images.layers.tar(layer, writer)
        finally:
            os.close(writer)

    writing = asyncio.ensure_future(write())
    try:
        async for chunk in read_chunks(reader):
            yield chunk
        await writing
    finally:
        os.close(reader)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
