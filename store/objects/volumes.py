"""The volume kind."""

from __future__ import annotations

import msgspec

from store.objects.meta import Object


class VolumeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: the driver (``local``) and its options (``type``, ``device``, ``o`` as mount(8) has them)."""

    driver: str = "local"
    options: dict[str, str] | None = None
    anonymous: bool = False
    labels: dict[str, str] | None = None


class VolumeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is: ``ready`` once the directory exists; ``populated`` once copy-up was done or found needless."""

    observed_generation: int = 0
    ready: bool = False
    populated: bool = False
    error: str = ""


class Volume(Object, frozen=True, kw_only=True):
    """A volume; uid equals its name."""

    spec: VolumeSpec
    status: VolumeStatus = VolumeStatus()
