"""What a running container needs on the host beside its process, and what is put back when somebody takes it away:
its root as seen from here (copying, executing and diffs go through it), its shared memory, its cgroups.

The container runs on meanwhile. Mounts come back from its own mount namespace, where they are still whole: a second
overlay over the same directories would not be the same file system.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from controllers import inotify
from controllers.containers import cgroups, device_filter, freezer, process, regroup
from controllers.containers.parts import Parts
from controllers.mounts import entries
from controllers.repairs import repaired
from store.crashpoints import crashpoint
from store.objects import Container, Event
from store.store import Change, Transaction

ROOT, MEMORY, CGROUP, PARENT = "root unmounted", "shared memory unmounted", "cgroup missing", "parent cgroup missing"
_log = logging.getLogger(__name__)
TOGETHER = 0.05
"""Seconds in which deletions of a cgroup from several hierarchies are one."""


class Upkeep:
    """Looks, and mends; ``wake`` has the container's loop do so, which alone may call ``mend``."""

    def __init__(self, parts: Parts, wake: Callable[[str], None]) -> None:
        self._parts = parts
        self._wake = wake

    def look_at_mounts(self, gone: frozenset[str]) -> None:
        """Mounts have gone from the host: wake the loop for the containers that miss one."""
        for uid in entries(self._parts.layout.containers, gone):
            container = self._parts.store.containers.get(uid)
            if container is not None and container.running and self._missing_mounts(container):
                self._wake(uid)

    async def mend(self, container: Container) -> None:
        """Put back what a running container misses. OSError or EngineError when the host refuses."""
        mounts = self._missing_mounts(container)
        groups = self._missing_groups(container)
        if not mounts and not groups:
            return
        for _, path, target in mounts:
            await self._lay(container, path, target)
            crashpoint("repair.mount.laid")
        if groups:
            await self._regroup(container, groups)
        reasons = [reason for reason, _, _ in mounts] + [CGROUP] * bool(groups)
        await _tell(
            self._parts, [repaired(reason, "container", container.uid, name=container.name) for reason in reasons]
        )

    def _missing_mounts(self, container: Container) -> list[tuple[str, str, Path]]:
        """Each with its reason, its path inside the container and its place on the host."""
        parts, uid = self._parts, container.uid
        found = []
        if not parts.roots.mounted(uid):
            found.append((ROOT, "/", parts.layout.merged(uid)))
        memory = parts.layout.container(uid) / "shm"
        if container.spec.host.ipc_mode == "shareable" and not os.path.ismount(memory):
            found.append((MEMORY, "/dev/shm", memory))
        return found

    def _missing_groups(self, container: Container) -> list[Path]:
        state = self._parts.layout.runtime_state / container.uid / "state.json"
        cgroup = cgroups.path_of(container, self._parts.layout)
        places = regroup.strayed(regroup.directories(state, cgroup), container.status.pid)
        # A process that is ending shows no cgroup any more.
        return [] if process.ending(container.status.pid) else places

    async def _lay(self, container: Container, path: str, target: Path) -> None:
        namespace = process.open_namespace(container.status.pid, container.status.pid_start_time, "mnt")
        try:
            await self._parts.archiver.mount_again(namespace, path, target)
        finally:
            os.close(namespace)

    async def _regroup(self, container: Container, groups: list[Path]) -> None:
        cgroup = cgroups.path_of(container, self._parts.layout)
        rules = device_filter.rules_of(self._parts.layout.bundle(container.uid) / "config.json")

        def make() -> None:
            for place in groups:
                cgroups.make(place)
            device_filter.apply(groups, rules)

        await asyncio.to_thread(make)
        crashpoint("repair.cgroup.made")
        # Before anybody is in.
        await self._parts.runtime.update(container)
        crashpoint("repair.cgroup.limited")
        private = container.spec.host.pid_mode in ("", "private")
        await asyncio.to_thread(regroup.enter, groups, container.status.pid, cgroup, own_pids=private)
        if container.status.phase == "paused":
            await asyncio.to_thread(freezer.freeze, cgroup)


class GroupWatch:
    """Hears of deleted cgroups: has the container's loop look in some seconds (``wake``), and makes the engine's own
    parent again."""

    def __init__(self, parts: Parts, wake: Callable[[str, float], None]) -> None:
        self._parts = parts
        self._wake = wake
        self._inotify: inotify.Inotify | None = None
        self._parents: set[Path] = set()
        self._unwatch: Callable[[], None] = lambda: None
        self._lost: set[Path] = set()
        self._remaking: asyncio.Task[None] | None = None

    @property
    def _own(self) -> list[Path]:
        return list(cgroups.directories(f"/{self._parts.layout.cgroup}"))

    def start(self) -> None:
        """Have the parent cgroup, and begin; where the host lets us do neither, that is logged."""
        try:
            self._inotify = inotify.Inotify(self._event)
            for place in self._own:
                cgroups.make(place)
        except OSError as error:
            # Whether containers can run like that is for the runtime to say.
            _log.warning("cgroups are not watched: %s", error)
        self._follow(f"/{self._parts.layout.cgroup}")
        self._unwatch = self._parts.store.on_change(Container, self._changed)
        for container in self._parts.store.containers:
            if container.running:
                self._follow(os.path.dirname(cgroups.path_of(container, self._parts.layout)))

    def stop(self) -> None:
        """End."""
        self._unwatch()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        if self._remaking is not None:
            self._remaking.cancel()

    def _changed(self, change: Change[Container]) -> None:
        before, after = change.before, change.after
        if after is not None and after.running and (before is None or not before.running):
            self._follow(os.path.dirname(cgroups.path_of(after, self._parts.layout)))

    def _follow(self, parent: str) -> None:
        for place in cgroups.directories(parent):
            if place in self._parents or self._inotify is None or not place.is_dir():
                continue
            self._parents.add(place)
            try:
                self._inotify.add(place, inotify.DELETE | inotify.ONLY_DIRECTORY)
                # A cgroup's directory does not tell of its own deletion.
                self._inotify.add(place.parent, inotify.DELETE | inotify.ONLY_DIRECTORY)
            except OSError as error:
                _log.warning("cgroup %s is not watched: %s", place, error)

    def _event(self, place: Path, mask: int, name: str) -> None:
        if mask & inotify.OVERFLOW:
            for container in self._parts.store.containers:
                self._wake(container.uid, 0)
        elif place / name in self._parents:
            self._lose(place / name)
        else:
            found = self._parts.store.containers.get(name)
            if found is not None and found.running:
                self._wake(name, TOGETHER)

    def _lose(self, place: Path) -> None:
        self._parents.discard(place)
        if self._inotify is not None:
            self._inotify.remove(place)
        if place in self._own:
            self._lost.add(place)
            if self._remaking is None or self._remaking.done():
                self._remaking = asyncio.create_task(self._remake(), name="parent cgroup")

    async def _remake(self) -> None:
        await asyncio.sleep(TOGETHER)
        places, self._lost = self._lost, set()
        try:
            for place in places:
                cgroups.make(place)
        except OSError as error:
            _log.error("the parent cgroup is gone and cannot be made: %s", error)
            return
        self._follow(f"/{self._parts.layout.cgroup}")
        await _tell(self._parts, [repaired(PARENT, "daemon")])


async def _tell(parts: Parts, events: list[Event]) -> None:
    def emit(transaction: Transaction) -> None:
        for event in events:
            transaction.emit(event)

    await parts.store.commit(emit, durable=False)
