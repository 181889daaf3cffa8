"""Stopping a container, recording its end, clearing up after it, removing it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from controllers import metrics
from controllers.containers import mounting, process, supervision
from controllers.containers.events import event
from controllers.containers.exits import Exit
from controllers.containers.parts import Parts
from controllers.containers.restart import Verdict, verdict
from store.crashpoints import crashpoint
from store.errors import EngineError, NotFoundError
from store.objects import Container
from store.objects.containers import StopRequest
from store.store import Transaction

LOST_EXIT = 255
"""The exit code of a container whose end nobody saw: the machine died, or its monitor with it."""
SECOND = 1_000_000_000
REMOVED = "removed"
"""Below the data root: the directories of containers whose rows are gone."""
DEATH_TIMEOUT = 20.0
EXIT_FILE_PAUSE = 0.003
"""conmon writes the exit file a moment after the death."""


class Ender:
    """Ends containers' runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # The last signal to each first process, so that one repeated in doubt is not told twice.
        self._sent: dict[str, tuple[int, int]] = {}
        self._orphans: dict[str, Exit] = {}

    async def signal(self, container: Container, number: int, *, first: bool) -> None:
        """Send a stop signal; ``first`` notes when the grace began."""
        if container.status.phase == "paused":
            await self._parts.runtime.resume(container.uid)
        told = self._sent.get(container.uid) == (container.status.pid_start_time, number)
        try:
            await self._parts.runtime.kill(container.uid, number)
        except NotFoundError:
            # It has just ended by itself; the exit file is on its way.
            return
        self._sent[container.uid] = (container.status.pid_start_time, number)
        if told and not first:
            return
        crashpoint("container.stop.signalled")

        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            phase = "running" if current.status.phase == "paused" else current.status.phase
            stopping = time.time_ns() if first else current.status.stopping_since
            tx.update(replace(current, status=replace(current.status, phase=phase, stopping_since=stopping)))
            tx.emit(event(current, "kill", signal=str(number)))

        await self._parts.store.commit(change, durable=False)
        crashpoint("container.stop.noted")

    async def record(self, container: Container, *, for_now: bool = False) -> bool:
        """Write into the status how and when it ended, and what the restart policy makes of it (``for_now``: nothing).

        False while its monitor, which knows the exit code, is still about to tell it.
        """
        status, uid = container.status, container.uid
        this_boot = process.of_this_boot(status.boot_id)
        watched = this_boot and supervision.is_monitor(status.conmon_pid, uid)
        # In this order: what a monitor that is gone had to tell is there.
        exit_ = self._parts.exits.read(uid)
        if exit_ is None and watched:
            return False
        exit_ = exit_ or self._orphans.pop(uid, None) or Exit(uid, LOST_EXIT, time.time_ns(), False)
        decision = verdict(container, exit_.code, max(0, exit_.at - status.started_at))
        if for_now or not this_boot:
            # No back-off and no count of restarts: the policy is asked once all is known, as at any start of ours.
            decision = Verdict(False)
        # Who waits for the end is told the code, so it has to stay; of a container that goes at once nothing does.
        durable = not container.spec.host.auto_remove
        networks = self._parts.networks
        recording = partial(_record, container, exit_, decision, networks.tell_disconnected)
        await self._parts.store.commit(recording, durable=durable)
        networks.was_told_disconnected(uid)
        self._sent.pop(uid, None)
        crashpoint("container.exit.recorded")
        return True

    def note_exit(self, exit_: Exit) -> None:
        """An end that was seen though the container's monitor was not there to write it down."""
        self._orphans[exit_.uid] = exit_

    async def clean(self, container: Container) -> None:
        """Take away what a run leaves on the host. Idempotent."""
        parts, uid = self._parts, container.uid
        await delete_run(parts, uid)
        crashpoint("container.exit.deleted")
        await asyncio.gather(parts.networks.detach(container), parts.roots.unmount(uid))
        crashpoint("container.exit.unmounted")
        for point in container.spec.mounts:
            if point.type == "volume":
                await parts.volumes.unmount(point.name, uid)
        if container.spec.host.ipc_mode == "shareable":
            await asyncio.to_thread(mounting.unshare_memory, parts.layout.container(uid) / "shm")
        crashpoint("container.exit.cleaned")

    async def remove(self, container: Container) -> None:
        """Remove everything of a container, its row last."""
        begin = time.perf_counter()
        parts, uid = self._parts, container.uid
        if container.running:
            await self._end(container)
        await self.clean(container)
        await parts.roots.discard(uid)
        crashpoint("container.remove.cleaned")
        if container.spec.remove_volumes:
            await parts.volumes.remove_anonymous(container)
        crashpoint("container.remove.volumes")
        removed = await asyncio.to_thread(self._put_away, uid)
        crashpoint("container.remove.directory")

        def change(tx: Transaction) -> None:
            current = tx.get(Container, uid)
            if current is not None:
                tx.delete(Container, uid)
                tx.emit(event(current, "destroy"))

        # Not durable: the wish to remove it is, and says the same.
        await parts.store.commit(change, durable=False)
        parts.runtime.attachments.give_up(uid, NotFoundError(f"No such container: {uid}"))
        crashpoint("container.remove.gone")
        metrics.CONTAINER_ACTIONS.labels("delete").observe(time.perf_counter() - begin)
        # Nobody has to wait for this; what a crash leaves is removed at the next start.
        await parts.archiver.remove(removed)

    def _put_away(self, uid: str) -> Path:
        layout = self._parts.layout
        target = layout.data_root / REMOVED / uid
        target.parent.mkdir(exist_ok=True, mode=0o700)
        if not target.exists():
            with contextlib.suppress(FileNotFoundError):
                layout.container(uid).rename(target)
        return target

    async def rest(self, container: Container, stop: StopRequest) -> None:
        """End a container because the machine stops: its policy, not a client, decides about it at the next boot.

        EngineError when it does not die.
        """
        if self._parts.runtime.alive(container.status):
            await self.signal(container, stop.signal, first=True)
            await process.wait_gone(container.status.pid, container.status.pid_start_time, stop.timeout)
        await self._end(container, for_now=True)

    async def _end(self, container: Container, *, for_now: bool = False) -> None:
        """Kill it and record that. EngineError when it does not die; then the loop tries again."""
        if self._parts.runtime.alive(container.status):
            await self.signal(container, signal.SIGKILL, first=False)
            if not await process.wait_gone(container.status.pid, container.status.pid_start_time, DEATH_TIMEOUT):
                raise EngineError(f"container {container.uid} does not die")
        for _ in range(int(DEATH_TIMEOUT / EXIT_FILE_PAUSE)):
            if await self.record(container, for_now=for_now):
                return
            await asyncio.sleep(EXIT_FILE_PAUSE)
        raise EngineError(f"the exit of container {container.uid} is not known yet")


async def delete_run(parts: Parts, uid: str) -> None:
    """Take away a run, whether it lives or not, and what its monitor still had to write. Idempotent."""
    found = parts.runtime.find(uid)
    monitor = supervision.monitor_of(found.pid, uid) if found else 0
    since = process.start_time(monitor) if monitor else 0
    await parts.runtime.delete(uid)
    if monitor:
        await process.wait_gone(monitor, since, DEATH_TIMEOUT)
        parts.exits.forget(uid)


def _record(
    container: Container,
    exit_: Exit,
    decision: Verdict,
    tell_disconnected: Callable[[Transaction, Container], None],
    tx: Transaction,
) -> None:
    current = tx.get(Container, container.uid)
    if current is None or not current.running:
        return
    spec, status = current.spec, current.status
    deleted = current.meta.deletion_requested_at is not None
    again = spec.wanted == "running" and spec.starts > status.starts
    restart = decision.restart and spec.wanted == "running" and not spec.manually_stopped and not deleted and not again
    ended = replace(
        status,
        phase="restarting" if restart else "exited",
        pid=0,
        pid_start_time=0,
        conmon_pid=0,
        exit_code=exit_.code,
        oom_killed=exit_.oom_killed,
        # The file system's clock is some milliseconds coarse.
        finished_at=max(exit_.at, status.started_at),
        error="",
        stopping_since=0,
        restart_count=status.restart_count + (1 if restart else 0),
        restart_delay=decision.delay if restart else 0.0,
        next_restart_at=time.time_ns() + int(decision.delay * SECOND) if restart else 0,
        health=None if status.health is None else replace(status.health, status="unhealthy"),
        endpoints={},
        joined=status.joined_last(),
        ports=(),
    )
    if spec.wanted == "stopped":
        ended = replace(ended, observed_generation=current.meta.generation)
    if spec.paused:
        # Who dies frozen is not frozen when it is started again.
        current = current.edited(spec=replace(spec, paused=False))
    changed = replace(current, status=ended)
    if spec.host.auto_remove and not deleted and not again and not restart:
        changed = changed.edited(spec=replace(changed.spec, remove_volumes=True))
        changed = changed.with_meta(deletion_requested_at=time.time_ns())
    tx.update(changed)
    if exit_.oom_killed:
        tx.emit(event(current, "oom"))
    tx.emit(event(current, "die", exitCode=str(exit_.code)))
    tell_disconnected(tx, current)
    if spec.stop is not None and (again or (spec.wanted == "stopped" and not spec.stop.is_kill)):
        tx.emit(event(current, "stop"))
