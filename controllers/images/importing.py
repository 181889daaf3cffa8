"""``docker import``: a root file system in a tar becomes an image of one layer."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from controllers.archive.compression import open_uncompressed
from controllers.images import configuration, references
from controllers.images.changes import apply
from controllers.images.service import ImageService, image_event
from store.objects import ContainerConfig, Image, Layer


async def import_tar(
    images: ImageService,
    body: AsyncIterator[bytes],
    reference: references.Reference | None,
    *,
    architecture: str,
    changes: Sequence[str] = (),
    message: str = "Imported from -",
    shown: str = "",
) -> Image:
    """Make an image of a tar (compressed or not) and give it a name; Dockerfile lines in ``changes`` configure it.

    ``shown`` is the name as the event of the tagging has it.

    InvalidParameterError for a broken tar or a line that cannot be; then nothing is left.
    """
    config = apply(ContainerConfig(), changes)
    async with images.layers.added(open_uncompressed(body)) as layer:
        image = configuration.parse(_document(layer, config, architecture, message), {layer.uid: layer.size})
        names = [reference] if reference else []
        events = [image_event(image, "import")]
        if reference:
            events.insert(0, image_event(image, "tag", shown or reference.familiar))
        return await images.register(image, [layer], names, events, tagged=True)


def _document(layer: Layer, config: ContainerConfig, architecture: str, message: str) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    document: dict[str, Any] = {
        "architecture": architecture,
        "comment": message,
        "config": config,
        "created": now,
        "docker_version": "20.10.24",
        "history": [{"created": now, "comment": message}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    return msgspec.json.encode(document)
