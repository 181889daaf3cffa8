"""The image, layer and reference kinds.

An image's uid is the digest of its configuration with ``sha256:``; a layer's uid is its chain id; a reference is a
name by which clients know an image, unique because names are.
"""

from __future__ import annotations

import msgspec

from store.objects.containers import ContainerConfig
from store.objects.meta import Object


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One step of how an image came to be; ``created`` is RFC 3339 text, as the image's configuration has it."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is; never edited. ``raw_config`` is the configuration's JSON, byte for byte: its digest is the uid.

    ``chain_ids`` and ``diff_ids`` from the lowest layer up; ``size`` is the sum of the unpacked layers in bytes.
    """

    raw_config: str
    config: ContainerConfig
    architecture: str
    os: str
    variant: str = ""
    created: str = ""
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    container: str = ""
    parent: str = ""
    diff_ids: tuple[str, ...] = ()
    chain_ids: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    size: int = 0


class ImageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """When it was last tagged, in nanoseconds since the epoch, 0 for never."""

    last_tagged_at: int = 0


class Image(Object, frozen=True, kw_only=True):
    """An image; ``name`` equals the uid."""

    spec: ImageSpec
    status: ImageStatus = ImageStatus()


class Reference(Object, frozen=True, kw_only=True):
    """A name of an image. ``meta.name`` is the full reference (``docker.io/library/busybox:latest`` or
    ``docker.io/library/busybox@sha256:…``); ``image`` the image's uid."""

    image: str


class Layer(Object, frozen=True, kw_only=True):
    """A layer on disk. ``uid`` is the chain id, ``directory`` its folder's name, ``size`` in bytes unpacked.

    ``diff_id`` is the digest of the uncompressed tar, which a saved archive must reproduce; ``parent`` the chain id
    below, or empty; ``tar_size`` that tar's bytes.
    """

    diff_id: str
    parent: str = ""
    directory: str = ""
    size: int = 0
    tar_size: int = 0
