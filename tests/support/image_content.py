"""Images made in memory, as registries hold them: blobs, manifests, indexes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DOCKER = "application/vnd.docker."
OCI = "application/vnd.oci.image."


def digest_of(data: bytes) -> str:
    """The sha256 digest of some bytes, as ``sha256:…``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar with some files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def compressed(data: bytes) -> bytes:
    """gzip without a time in it: equal layers have equal digests."""
    return gzip.compress(data, mtime=0)


@dataclass(frozen=True)
class Content:
    """A manifest or an index with all that belongs to it."""

    manifest: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    children: tuple[Content, ...] = ()
    configuration: bytes = b""
    platform: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)

    @property
    def image_id(self) -> str:
        """The id of the image that it becomes."""
        return digest_of(self.configuration)


def image(
    layers: Sequence[bytes],
    *,
    compress: Callable[[bytes], bytes] = compressed,
    layer_suffix: str = "gzip",
    oci: bool = False,
    system: str = "linux",
    architecture: str = "amd64",
    variant: str = "",
    diff_ids: Sequence[str] | None = None,
    **config: Any,
) -> Content:
    """An image of some uncompressed tars; ``diff_ids`` to lie about them."""
    platform = {"os": system, "architecture": architecture, **({"variant": variant} if variant else {})}
    document: dict[str, Any] = {
        **platform,
        "config": {"Cmd": ["/bin/sh"], **config},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or map(digest_of, layers))},
        "history": [{"created_by": "a test"} for _ in layers],
    }
    configuration = json.dumps(document).encode()
    blobs = [compress(data) for data in layers]
    kind = (OCI + "config.v1+json", f"{OCI}layer.v1.tar+{layer_suffix}", OCI + "manifest.v1+json")
    if not oci:
        kind = (
            DOCKER + "container.image.v1+json",
            f"{DOCKER}image.rootfs.diff.tar.{layer_suffix}",
            DOCKER + "distribution.manifest.v2+json",
        )
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind[2],
        "config": descriptor(configuration, kind[0]),
        "layers": [descriptor(blob, kind[1]) for blob in blobs],
    }
    return Content(json.dumps(manifest).encode(), kind[2], (configuration, *blobs), (), configuration, platform)


def index(*images: Content, oci: bool = False) -> Content:
    """A manifest list (or OCI index) of some images."""
    media_type = OCI + "index.v1+json" if oci else DOCKER + "distribution.manifest.list.v2+json"
    entries: list[dict[str, Any]] = [
        {**descriptor(one.manifest, one.media_type), "platform": dict(one.platform)} for one in images
    ]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    return Content(manifest, media_type, (), images)


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    """What refers to a blob."""
    return {"mediaType": media_type, "size": len(data), "digest": digest_of(data)}
