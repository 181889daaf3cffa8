"""The wire types of containers' files (API: ContainerArchive, ContainerChanges)."""

from __future__ import annotations

import base64
from typing import Protocol

import msgspec

from apiserver.rendering import encode
from apiserver.timestamps import moment
from store.objects.containers import DockerStruct


class ChangeItem(DockerStruct, frozen=True, kw_only=True):
    """A path that a container changed: kind 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class ContainerPathStat(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What ``X-Docker-Container-Path-Stat`` carries; ``mode`` as Go's ``os.FileMode``."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


class Described(Protocol):
    """A path as the archive driver describes it; ``mtime`` in nanoseconds since the epoch."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def mtime(self) -> int: ...
    @property
    def link_target(self) -> str: ...


def path_stat_header(found: Described) -> str:
    """The header's value: JSON in base64."""
    stat = ContainerPathStat(
        name=found.name,
        size=found.size,
        mode=found.mode,
        mtime=moment(found.mtime),
        link_target=found.link_target,
    )
    return base64.b64encode(encode(stat)).decode("ascii")
