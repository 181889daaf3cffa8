"""Manifests and indexes, untrusted (Docker manifest v2 schema 2, OCI image-spec). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from controllers.images.references import SHA256
from controllers.images.registry.platforms import Platform
from store.errors import EngineError, InvalidParameterError

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPTED = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)
IMAGE_CONFIGURATIONS = frozenset(
    {
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.config.v1+json",
        # What old builders of images wrote instead.
        "application/octet-stream",
        "application/json",
        "text/html",
        "",
    }
)
MOST_LAYERS = 512


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A blob: its digest and its size in bytes."""

    digest: str
    size: int
    media_type: str = ""
    platform: _Platform | None = None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None


@dataclass(frozen=True)
class Manifest:
    """One image: its configuration and its layers, from the lowest up."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Index:
    """Several images, of which the platform decides."""

    entries: tuple[Descriptor, ...]

    def choose(self, wanted: Platform) -> Descriptor:
        """The entry that suits a platform best. EngineError in dockerd's words when none does."""
        best: tuple[int, Descriptor] | None = None
        for entry in self.entries:
            if entry.platform is None:
                continue
            offered = Platform.normalised(entry.platform.os, entry.platform.architecture, entry.platform.variant or "")
            score = wanted.suited_by(offered)
            if score is not None and (best is None or score < best[0]):
                best = (score, entry)
        if best is None:
            raise EngineError(f"no matching manifest for {wanted} in the manifest list entries")
        return best[1]


def parse(data: bytes, claimed: str) -> Manifest | Index:
    """What a registry sent as a manifest; ``claimed`` is its content type.

    EngineError for what is none, or none that can be used.
    """
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EngineError(f"invalid manifest: {error}") from None
    kind = claimed if claimed in ACCEPTED else document.media_type
    # OCI's manifests may leave their type out.
    if document.media_type != kind and (document.media_type or kind in (DOCKER_MANIFEST, DOCKER_LIST)):
        raise EngineError(f"mediaType in manifest should be '{kind}' not '{document.media_type}'")
    if document.schema_version != 2:
        raise EngineError(f"unsupported manifest schema version {document.schema_version}")
    if kind in (DOCKER_LIST, OCI_INDEX) or (kind not in ACCEPTED and document.manifests is not None):
        return Index(tuple(_checked(entry) for entry in document.manifests or ()))
    if document.config is None:
        raise EngineError("invalid manifest: it has no configuration")
    if document.config.media_type not in IMAGE_CONFIGURATIONS:
        raise InvalidParameterError(f'Encountered remote "{document.config.media_type}"(unknown) when fetching')
    layers = document.layers or []
    if len(layers) > MOST_LAYERS:
        raise EngineError(f"invalid manifest: it has more than {MOST_LAYERS} layers")
    return Manifest(_checked(document.config), tuple(_checked(layer) for layer in layers))


def _checked(descriptor: Descriptor) -> Descriptor:
    if not SHA256.fullmatch(descriptor.digest):
        raise EngineError(f"unsupported digest in manifest: {descriptor.digest[:100]}")
    if descriptor.size < 0:
        raise EngineError(f"invalid size in manifest: {descriptor.size}")
    return descriptor
