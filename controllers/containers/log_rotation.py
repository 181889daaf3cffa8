"""Logs that may have so many bytes and no more begin new files, while the daemon runs and as soon as it is back.

A quiet log costs nothing: inotify tells of the next write, once; then the file is looked at again not before it can
have reached its size.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from controllers import inotify
from controllers.containers import attach
from controllers.containers.log_files import begin_anew, compress
from controllers.containers.waiting import settle, undisturbed
from controllers.layout import Layout
from store.objects import Container
from store.objects.log_options import Rotation, rotation
from store.store import Change, Store

_log = logging.getLogger(__name__)

FASTEST = 200e6
"""Bytes a second that a container is expected to log at most; of a faster one the files get longer by that."""
SHORTEST, LONGEST = 0.005, 0.25
UNWATCHED = 1.0
"""Seconds between two looks where inotify has no more to give."""


class LogRotator:
    """One task for each running container whose log has a size to keep."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout = layout
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._writes = _NextWrites()
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin with what runs; a log that grew while no daemon was there is seen to at once."""
        self._writes.start()
        self._unwatch = self._store.on_change(Container, self._changed)
        for container in self._store.containers:
            self._see(container)

    async def stop(self) -> None:
        """Follow no more; a step that is being done is finished."""
        self._unwatch()
        for uid in list(self._tasks):
            self._release(uid)
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._writes.stop()

    def _changed(self, change: Change[Container]) -> None:
        if change.after is None:
            self._release(change.uid)
        else:
            self._see(change.after)

    def _see(self, container: Container) -> None:
        uid = container.uid
        # Without a monitor nobody writes.
        if not container.running or not container.status.conmon_pid:
            self._release(uid)
        elif uid not in self._tasks and (limits := rotation(container.spec.host.log_config)).size:
            self._tasks[uid] = asyncio.create_task(self._keep(uid, self._layout.log(uid), limits), name=f"log {uid}")

    def _release(self, uid: str) -> None:
        task = self._tasks.pop(uid, None)
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _keep(self, uid: str, path: Path, limits: Rotation) -> None:
        try:
            if not _is_there(path):
                # A daemon died before it could tell.
                attach.reopen_log(self._layout, uid)
            while True:
                await self._full(path, limits.size)
                await undisturbed(begin_anew, path, limits)
                attach.reopen_log(self._layout, uid)
                await _there(path)
                if limits.compress:
                    await undisturbed(compress, path)
        except OSError as error:
            _log.error("the log of container %s grows on: %s", uid, error)

    async def _full(self, path: Path, limit: int) -> None:
        """Wait until the file has so many bytes."""
        while True:
            # Watched before the look, so that what is written after it is told of.
            with self._writes.next(path) as written:
                left = limit - _size(path)
                if left <= 0:
                    return
                if written is None:
                    await asyncio.sleep(UNWATCHED)
                else:
                    await written
            await asyncio.sleep(min(LONGEST, max(SHORTEST, left / FASTEST)))


class _NextWrites:
    """Tells of the next write to files, by inotify."""

    def __init__(self) -> None:
        self._inotify: inotify.Inotify | None = None
        self._waiting: dict[Path, asyncio.Future[None]] = {}

    def start(self) -> None:
        """Ask for inotify; without it nothing is told."""
        with contextlib.suppress(OSError):
            self._inotify = inotify.Inotify(self._event)

    def stop(self) -> None:
        """Tell no more."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    @contextlib.contextmanager
    def next(self, path: Path) -> Iterator[asyncio.Future[None] | None]:
        """Done at the first write from now on; None where that cannot be told, or there is no file."""
        watch = self._inotify
        try:
            if watch is not None:
                watch.add(path, inotify.MODIFY | inotify.ONCE)
        except OSError:
            watch = None
        if watch is None:
            yield None
            return
        written = self._waiting[path] = asyncio.get_running_loop().create_future()
        try:
            yield written
        finally:
            del self._waiting[path]
            watch.remove(path)

    def _event(self, path: Path, mask: int, _: str) -> None:
        if mask & inotify.OVERFLOW:
            for written in self._waiting.values():
                settle(written)
        elif path in self._waiting:
            settle(self._waiting[path])


async def _there(path: Path) -> None:
    """Wait until conmon has made its new file."""
    pause = SHORTEST
    while not _is_there(path):
        await asyncio.sleep(pause)
        pause = min(2 * pause, UNWATCHED)


def _is_there(path: Path) -> bool:
    return path.exists()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
