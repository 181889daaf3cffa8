"""``docker load``: images out of a tar in Docker's own format or as an OCI image layout, neither trusted.

The tar is unpacked, confined, into a directory of its own; files in it are then opened inside that directory alone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from controllers.archive.compression import open_uncompressed
from controllers.archive.helper import Archiver
from controllers.containers import inroot
from controllers.images import configuration, references
from controllers.images.layers import chain_ids
from controllers.images.registry import platforms
from controllers.images.registry.manifests import MOST_LAYERS
from controllers.images.registry.platforms import Platform
from controllers.images.service import ImageService, image_event
from store.errors import InvalidParameterError
from store.objects import Image, Layer

CHUNK = 1 << 20
LARGEST_DOCUMENT = 8 << 20
MOST_MANIFESTS = 1000
REF_NAME = "io.containerd.image.name"
OCI_REF_NAME = "org.opencontainers.image.ref.name"

OnLayer = Callable[[str, int, int], Awaitable[None]]


@dataclass(frozen=True)
class Entry:
    """One image in an archive: paths in the archive, and names."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """An image that is there now, with the names it came with."""

    image: Image
    names: tuple[references.Reference, ...]
    replaced: tuple[tuple[references.Reference, str], ...] = ()
    """Names that another image had till now, with that image's id."""


class _ManifestEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Document(msgspec.Struct, rename="camel"):
    manifests: list[_Descriptor] | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None


async def load(images: ImageService, archiver: Archiver, body: AsyncIterator[bytes], on_layer: OnLayer) -> list[Loaded]:
    """Load all images of a tar; ``on_layer`` hears the diff id of each layer that is new, with bytes done and to do.

    InvalidParameterError for an archive that holds no image, or a broken one; images before the broken one stay.
    """
    directory = images.layout.layers / f".new-load-{secrets.token_hex(8)}"
    await asyncio.to_thread(os.makedirs, directory, 0o700)
    try:
        await archiver.unpack_from(directory, open_uncompressed(body), digest=False)
        entries = await asyncio.to_thread(read_entries, directory)
        return [await _load_one(images, directory, entry, on_layer) for entry in entries]
    finally:
        await asyncio.shield(archiver.remove(directory))


def read_entries(directory: Path) -> list[Entry]:
    """What an unpacked archive holds. Blocking. InvalidParameterError when that is nothing."""
    try:
        manifest = _document(directory, "manifest.json", list[_ManifestEntry])
    except FileNotFoundError:
        return _oci_entries(directory)
    return [Entry(item.config, tuple(item.layers or ()), tuple(item.repo_tags or ())) for item in manifest]


def _oci_entries(directory: Path) -> list[Entry]:
    try:
        index = _document(directory, "index.json", _Document)
    except FileNotFoundError:
        raise InvalidParameterError(
            "invalid archive: does not contain a manifest.json (is it an image that docker save wrote?)"
        ) from None
    entries: list[Entry] = []
    pending = [(descriptor, _names(descriptor)) for descriptor in _suited(index.manifests or [])]
    # An index may name itself: nothing in an archive has been verified yet.
    for _ in range(MOST_MANIFESTS):
        if not pending:
            break
        descriptor, names = pending.pop(0)
        try:
            manifest = _document(directory, _blob(descriptor.digest), _Document)
        except FileNotFoundError:
            raise InvalidParameterError(f"invalid archive: {descriptor.digest} is not in it") from None
        if manifest.manifests:
            pending += [(inner, names or _names(inner)) for inner in _suited(manifest.manifests)]
        elif manifest.config:
            layers = tuple(_blob(layer.digest) for layer in manifest.layers or ())
            entries.append(Entry(_blob(manifest.config.digest), layers, names))
    return entries


def _suited(descriptors: list[_Descriptor]) -> list[_Descriptor]:
    """Those for this machine's platform, and those that say nothing of one."""
    here = platforms.local()
    offered = [(each, each.platform) for each in descriptors]
    suited = [
        each
        for each, platform in offered
        if platform is None
        or here.suited_by(Platform.normalised(platform.os, platform.architecture, platform.variant or "")) is not None
    ]
    # One alone is what somebody chose to save.
    return descriptors if len(descriptors) == 1 else suited


def _names(descriptor: _Descriptor) -> tuple[str, ...]:
    notes = descriptor.annotations or {}
    name = notes.get(REF_NAME) or notes.get(OCI_REF_NAME, "")
    return (name,) if ":" in name or "/" in name else ()


def _blob(digest: str) -> str:
    if not references.SHA256.fullmatch(digest):
        raise InvalidParameterError(f"invalid digest in archive: {digest[:80]}")
    return "blobs/" + digest.replace(":", "/")


def _open(directory: Path, name: str) -> int:
    descriptor = inroot.open_in_root(directory, name, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return descriptor


@contextmanager
def _opened(directory: Path, name: str) -> Iterator[int]:
    descriptor = _open(directory, name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(directory: Path, name: str) -> bytes:
    with _opened(directory, name) as descriptor, open(descriptor, "rb", closefd=False) as source:
        data = source.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise InvalidParameterError(f"{name} in the archive is too large")
    return data


def _document(directory: Path, name: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(_read(directory, name), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidParameterError(f"invalid {name} in the archive: {error}") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidParameterError(f"invalid {name} in the archive: {error.strerror}") from None


async def _load_one(images: ImageService, directory: Path, entry: Entry, on_layer: OnLayer) -> Loaded:
    names = tuple(references.parse(name).tagged() for name in entry.names)
    try:
        raw = await asyncio.to_thread(_read, directory, entry.config)
    except OSError as error:
        raise InvalidParameterError(f"invalid archive: {entry.config}: {error.strerror}") from None
    image = configuration.parse(raw)
    if len(entry.layers) != len(image.spec.diff_ids):
        raise InvalidParameterError(
            f"invalid manifest, layers length mismatch: expected {len(image.spec.diff_ids)}, got {len(entry.layers)}"
        )
    if len(entry.layers) > MOST_LAYERS:
        raise InvalidParameterError("max depth exceeded")
    chains = chain_ids(image.spec.diff_ids)
    layers: list[Layer] = []
    try:
        with images.layers.pinned(chains):
            for path, diff_id, chain in zip(entry.layers, image.spec.diff_ids, chains, strict=True):
                layer = images.layers.find(chain)
                if layer is None:
                    parent = layers[-1].uid if layers else ""
                    chunks = _chunks(directory, path, partial(on_layer, diff_id))
                    layer = await images.layers.add(open_uncompressed(chunks), parent, diff_id)
                layers.append(layer)
            image = configuration.parse(raw, {layer.uid: layer.size for layer in layers})
            replaced = tuple((name, uid) for name in names if (uid := images.holder(name)) not in ("", image.uid))
            image = await images.register(image, layers, names, [image_event(image, "load")])
            return Loaded(image, names, replaced)
    except BaseException:
        # Also when the client has gone. Those that have a row by now, or that another load wants, stay.
        await asyncio.shield(images.layers.remove(layers))
        raise


async def _chunks(directory: Path, name: str, told: Callable[[int, int], Awaitable[None]]) -> AsyncIterator[bytes]:
    try:
        descriptor = await asyncio.to_thread(_open, directory, name)
    except OSError as error:
        raise InvalidParameterError(f"invalid archive: {name}: {error.strerror}") from None
    try:
        total, done = os.fstat(descriptor).st_size, 0
        while data := await asyncio.to_thread(os.read, descriptor, CHUNK):
            done += len(data)
            await told(done, total)
            yield data
    finally:
        os.close(descriptor)
