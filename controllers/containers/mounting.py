"""What is put into a container beside its root: the network files, bind mounts, volumes, shared memory."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from controllers.layout import Layout
from store.errors import EngineError, InvalidParameterError
from store.objects.containers import Container

MNT_DETACH = 2
MS_SAFE = 0x2 | 0x4 | 0x8
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Files:
    """The files bound over those in the container's ``/etc``."""

    hosts: Path
    resolv_conf: Path
    hostname: Path


def write_files(layout: Layout, container: Container, hosts: str, resolv_conf: str) -> Files:
    """Write a container's network files anew, unless they are those of the one that it joins. Blocking."""
    directory = layout.container(container.names_from)
    files = Files(directory / "hosts", directory / "resolv.conf", directory / "hostname")
    if container.names_from != container.uid:
        return files
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    for path, text in (
        (files.hosts, hosts),
        (files.resolv_conf, resolv_conf),
        (files.hostname, container.spec.config.hostname + "\n"),
    ):
        # Written in place: the running container has the file itself mounted.
        with open(path, "w") as target:
            target.write(text)
        os.chmod(path, 0o644)
    return files


def make_bind_sources(container: Container) -> None:
    """Make the directories that ``-v`` names and that do not exist yet, as dockerd does. Blocking.

    InvalidParameterError when one cannot be made or ``--mount`` names one that is missing.
    """
    given = {mount.target.rstrip("/") for mount in container.spec.host.mounts or () if mount.type == "bind"}
    for point in container.spec.mounts:
        if point.type != "bind" or os.path.lexists(point.source):
            continue
        if point.destination in given:
            raise InvalidParameterError(
                f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
            )
        try:
            os.makedirs(point.source, mode=0o755, exist_ok=True)
        except OSError as error:
            raise InvalidParameterError(
                f"error while creating mount source path '{point.source}': mkdir {point.source}: "
                f"{(error.strerror or '').lower()}"
            ) from None


def share_memory(directory: Path, size: int) -> Path:
    """Mount a tmpfs for the ``/dev/shm`` that several containers use. Blocking; idempotent; EngineError."""
    directory.mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(directory):
        options = f"mode=1777,size={size}".encode()
        if _libc.mount(b"shm", os.fsencode(directory), b"tmpfs", MS_SAFE, options):
            raise EngineError(f"mounting {directory}: {os.strerror(ctypes.get_errno())}")
    return directory


def unshare_memory(directory: Path) -> None:
    """Unmount it. Blocking; idempotent."""
    if _libc.umount2(os.fsencode(directory), MNT_DETACH) and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise EngineError(f"unmounting {directory}: {os.strerror(ctypes.get_errno())}")
