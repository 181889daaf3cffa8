"""Whether containers' monitors are at their post: a killed conmon is noticed at once, its container kept.

The container runs on without log and attach, which only its conmon could give; that it ends is noticed all the same,
by its process. Where the engine is the next reaper up (prctl(2), PR_SET_CHILD_SUBREAPER), it learns the exit code too.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

from msgspec.structs import replace

from controllers.containers import process, supervision
from controllers.containers.exits import Exit
from controllers.repairs import repaired
from store.objects import Container
from store.store import Change, Store, Transaction

PR_SET_CHILD_SUBREAPER = 36
SETTLING = 0.2
"""Seconds in which a monitor that ended with its container has told so."""
LOST_EXIT = 255
_libc = ctypes.CDLL(None, use_errno=True)


class MonitorWatch:
    """Holds a pidfd for each running container's conmon; ``on_end`` hears of ends that no conmon reports."""

    def __init__(self, store: Store, on_end: Callable[[Exit], None]) -> None:
        self._store = store
        self._on_end = on_end
        self._watched: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin with what runs."""
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._unwatch = self._store.on_change(Container, self._changed)
        for container in self._store.containers:
            self._follow(container)

    def stop(self) -> None:
        """Watch no longer."""
        self._unwatch()
        for uid in list(self._watched):
            self._release(uid)
        for task in self._tasks:
            task.cancel()

    def _changed(self, change: Change[Container]) -> None:
        before, after = change.before, change.after
        if after is None or not after.running:
            self._release(change.uid)
        elif before is None or before.status.pid != after.status.pid or not before.running:
            self._follow(after)

    def _follow(self, container: Container) -> None:
        if not container.running:
            return
        self._release(container.uid)
        status = container.status
        if status.conmon_pid:
            watched = self._watch(container.uid, status.conmon_pid, self._monitor_gone)
            # Looked at while the pidfd is held: the number cannot pass to another process in between.
            if not watched or not supervision.is_monitor(status.conmon_pid, container.uid):
                self._monitor_gone(container.uid)
        elif not self._watch(container.uid, status.pid, self._container_gone):
            self._container_gone(container.uid)

    def _watch(self, uid: str, pid: int, then: Callable[[str], None]) -> bool:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return False
        self._watched[uid] = (descriptor, pid)
        asyncio.get_running_loop().add_reader(descriptor, then, uid)
        return True

    def _release(self, uid: str) -> None:
        known = self._watched.pop(uid, None)
        if known is not None:
            asyncio.get_running_loop().remove_reader(known[0])
            os.close(known[0])

    def _monitor_gone(self, uid: str) -> None:
        self._release(uid)
        task = asyncio.get_running_loop().create_task(self._take_over(uid), name=f"take over {uid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_over(self, uid: str) -> None:
        await asyncio.sleep(SETTLING)
        container = self._store.containers.get(uid)
        if container is None or not container.running or uid in self._watched:
            return
        status = container.status
        if not self._watch(uid, status.pid, self._container_gone):
            self._container_gone(uid)
            return
        if not process.same(status.pid, status.pid_start_time):
            # It may be a zombie that is ours to reap: the reader fires at once.
            return
        told = repaired("monitor gone", "container", uid, name=container.name)

        def change(tx: Transaction) -> None:
            current = tx.get(Container, uid)
            if current is not None and current.status.pid == status.pid:
                tx.update(replace(current, status=replace(current.status, conmon_pid=0)))
                tx.emit(told)

        await self._store.commit(change, durable=False)

    def _container_gone(self, uid: str) -> None:
        known = self._watched.get(uid)
        code = _reap(known[1]) if known is not None else LOST_EXIT
        self._release(uid)
        self._on_end(Exit(uid, code, time.time_ns(), False))


def _reap(pid: int) -> int:
    """The exit code of a process as a shell shows it, if it is our child; else nobody knows it."""
    try:
        _, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return LOST_EXIT
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
