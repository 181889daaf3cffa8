"""What the steps of the container loop work with."""

from __future__ import annotations

from dataclasses import dataclass

from controllers.archive.helper import Archiver
from controllers.containers.exits import ExitWatcher
from controllers.containers.rootfs import RootFilesystems
from controllers.containers.runtime import Runtime
from controllers.images.service import ImageService
from controllers.layout import Layout
from controllers.networks.service import NetworkService
from controllers.volumes.service import VolumeService
from store.store import Store


@dataclass(frozen=True)
class Parts:
    """The drivers and services, one of each in a daemon."""

    layout: Layout
    store: Store
    runtime: Runtime
    roots: RootFilesystems
    exits: ExitWatcher
    images: ImageService
    networks: NetworkService
    volumes: VolumeService
    archiver: Archiver
