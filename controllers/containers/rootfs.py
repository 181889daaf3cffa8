"""Root file systems: an overlay of the image's layers and what the container writes (overlayfs, kernel documentation).

Layer directories have long names and mount(2) takes 4,096 bytes of options, so the mounting thread first goes where the
layers are and names them from there; its working directory is its own (unshare(2), CLONE_FS).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from controllers.layout import Layout
from controllers.placement import spread
from store.errors import EngineError

CLONE_FS = 0x200
MNT_DETACH = 2
OPTIONS_LIMIT = 4000
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)

# What a container's own mounts need to be mounted upon; lowest of all layers, so that an image's own files hide it.
INIT_DIRECTORIES = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")
INIT_FILES = (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf")


class RootFilesystems:
    """Mounts and unmounts the roots of containers; knows who else than a run needs one mounted."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._threads = ThreadPoolExecutor(2, "overlay", initializer=_own_directory)
        self._holds: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def prepare_host(self) -> None:
        """Make the lowest layer; have each container's files begin in a place of their own. Blocking; idempotent."""
        spread(self._layout.containers)
        root = self._init_layer
        for name in INIT_DIRECTORIES:
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        for name in INIT_FILES:
            (root / name).touch(mode=0o755)
        if not (root / "etc/mtab").is_symlink():
            (root / "etc/mtab").symlink_to("/proc/mounts")

    @property
    def _init_layer(self) -> Path:
        return self._layout.data_root / "init"

    def close(self) -> None:
        """Let the mounting threads end."""
        self._threads.shutdown(wait=False)

    async def mount(self, uid: str, lowers: Sequence[Path]) -> Path:
        """Mount a container's root, topmost layer first in ``lowers``; the mount point. Idempotent.

        EngineError when the kernel refuses.
        """
        async with self._lock(uid):
            return await self._in_thread(self._mount, uid, lowers)

    async def unmount(self, uid: str) -> None:
        """Unmount a container's root unless a reader still needs it. Idempotent."""
        async with self._lock(uid):
            if not self._holds.get(uid):
                await self._in_thread(self._unmount, uid)

    async def discard(self, uid: str) -> None:
        """Unmount whoever may still read, for a container that goes."""
        async with self._lock(uid):
            await self._in_thread(self._unmount, uid)
        self._locks.pop(uid, None)

    def left_mounted(self, uid: str) -> bool:
        """Whether a container's root is mounted without a reader: then it is a run's."""
        return not self._holds.get(uid) and self.mounted(uid)

    @asynccontextmanager
    async def held(self, uid: str, lowers: Sequence[Path]) -> AsyncIterator[Path]:
        """The root, kept mounted meanwhile. Afterwards the loop decides whether it stays so: have it look."""
        async with self._lock(uid):
            root = await self._in_thread(self._mount, uid, lowers)
            self._holds[uid] = self._holds.get(uid, 0) + 1
        try:
            yield root
        finally:
            self._holds[uid] -= 1
            if not self._holds[uid]:
                del self._holds[uid]

    def mounted(self, uid: str) -> bool:
        """Whether a container's root is mounted."""
        target = self._layout.merged(uid)
        try:
            return os.stat(target).st_dev != os.stat(target.parent).st_dev
        except OSError:
            return False

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _mount(self, uid: str, lowers: Sequence[Path]) -> Path:
        target, upper, work = self._layout.merged(uid), self._layout.upper(uid), self._layout.work(uid)
        if self.mounted(uid):
            return target
        below = [*lowers, self._init_layer]
        for directory in (work, target):
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        if not upper.exists():
            _make_like(below[0], upper)
        os.chdir(self._layout.layers.parent)
        names = [os.path.relpath(path, self._layout.layers.parent) for path in below]
        options = f"lowerdir={':'.join(names)},upperdir={upper},workdir={work}"
        if len(options) > OPTIONS_LIMIT:
            raise EngineError(f"an image of {len(lowers)} layers is more than overlayfs can take")
        arguments = (b"overlay", os.fsencode(target), b"overlay", 0, options.encode())
        if _libc.mount(*arguments):
            number = ctypes.get_errno()
            raise EngineError(f"error creating overlay mount to {target}: {os.strerror(number)}")
        return target

    def _unmount(self, uid: str) -> None:
        target = os.fsencode(self._layout.merged(uid))
        while _libc.umount2(target, MNT_DETACH) == 0:
            pass
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise EngineError(f"unmounting {target.decode()}: {os.strerror(number)}")


def _make_like(model: Path, directory: Path) -> None:
    """The root's owner and mode are those of the image, though the container may change them."""
    info = model.stat()
    new = directory.with_name("upper.new")
    new.mkdir(exist_ok=True, parents=True)
    os.chown(new, info.st_uid, info.st_gid)
    os.chmod(new, info.st_mode & 0o7777)
    new.rename(directory)


def _own_directory() -> None:
    if _libc.unshare(CLONE_FS):
        raise OSError(ctypes.get_errno(), "unshare")
