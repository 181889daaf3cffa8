"""An image's configuration document (OCI image-spec config.md, Docker image spec v1.2), untrusted. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from controllers.images.layers import chain_ids
from controllers.images.references import SHA256
from store.errors import InvalidParameterError
from store.objects import ContainerConfig, Image, ImageSpec, Meta
from store.objects.images import History, ImageStatus


class _RootFs(msgspec.Struct):
    type: str = "layers"
    diff_ids: list[str] | None = None


class _Step(msgspec.Struct):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _Document(msgspec.Struct):
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    docker_version: str | None = None
    container: str | None = None
    config: dict[str, Any] | None = None
    rootfs: _RootFs | None = None
    history: list[_Step] | None = None


def digest_of(data: bytes) -> str:
    """The digest of some bytes, as ``sha256:…``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse(raw: bytes, sizes: dict[str, int] | None = None) -> Image:
    """The image that a configuration describes; ``sizes`` are its layers' bytes by chain id.

    InvalidParameterError when it is no such document.
    """
    try:
        document = msgspec.json.decode(raw, type=_Document)
        fields = {name: value for name, value in (document.config or {}).items() if value is not None}
        for name in ("Cmd", "Entrypoint", "Shell"):
            # Old builders wrote a single word as a string.
            if isinstance(fields.get(name), str):
                fields[name] = [fields[name]]
        config = msgspec.convert(fields, ContainerConfig)
        text = raw.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameterError(f"invalid image configuration: {error}") from None
    diff_ids = tuple(document.rootfs.diff_ids or () if document.rootfs else ())
    if document.rootfs is None or any(not SHA256.fullmatch(diff_id) for diff_id in diff_ids):
        raise InvalidParameterError("invalid image JSON, no RootFS key")
    chains = chain_ids(diff_ids)
    uid = digest_of(raw)
    return Image(
        meta=Meta(uid=uid, name=uid),
        spec=ImageSpec(
            raw_config=text,
            config=config,
            architecture=document.architecture or "",
            os=document.os or "linux",
            variant=document.variant or "",
            created=document.created or "",
            author=document.author or "",
            comment=document.comment or "",
            docker_version=document.docker_version or "",
            container=document.container or "",
            diff_ids=diff_ids,
            chain_ids=chains,
            history=tuple(
                History(
                    created=step.created or "",
                    created_by=step.created_by or "",
                    author=step.author or "",
                    comment=step.comment or "",
                    empty_layer=bool(step.empty_layer),
                )
                for step in document.history or ()
            ),
            size=sum((sizes or {}).get(chain, 0) for chain in chains),
        ),
        status=ImageStatus(),
    )
