"""The wire types of the volumes group (API: Volume)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from apiserver.timestamps import SECOND, rfc3339
from store.objects import Volume
from store.objects.containers import DockerStruct


class VolumeCreateBody(DockerStruct, frozen=True, kw_only=True):
    """The body of ``POST /volumes/create``; an empty name asks for a random one."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class VolumeUsageData(DockerStruct, frozen=True, kw_only=True):
    """What a volume takes: bytes, and the number of containers that refer to it; -1 for unknown."""

    ref_count: int
    size: int


class VolumeView(DockerStruct, frozen=True, kw_only=True):
    """A volume as clients see it."""

    created_at: str
    driver: str
    labels: dict[str, str] | None
    mountpoint: str
    name: str
    options: dict[str, str] | None
    scope: str = "local"
    usage_data: VolumeUsageData | UnsetType = UNSET


class VolumeList(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``GET /volumes``."""

    volumes: list[VolumeView]
    warnings: list[str] | None = None


class VolumePruneReport(DockerStruct, frozen=True, kw_only=True):
    """The answer of ``POST /volumes/prune``; space in bytes."""

    volumes_deleted: list[str] = msgspec.field(name="VolumesDeleted")
    space_reclaimed: int = msgspec.field(name="SpaceReclaimed")


def view(volume: Volume, mountpoint: str, usage: VolumeUsageData | UnsetType = UNSET) -> VolumeView:
    """A volume for clients; ``mountpoint`` is its data directory."""
    return VolumeView(
        created_at=rfc3339(volume.meta.created_at // SECOND * SECOND),
        driver=volume.spec.driver,
        labels=volume.spec.labels,
        mountpoint=mountpoint,
        name=volume.name,
        options=volume.spec.options,
        usage_data=usage,
    )
