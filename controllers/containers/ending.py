"""Stopping a container, recording its end, clearing up after it, removing it."""

from __future__ import annotations

import asyncio
import signal
import time

from msgspec.structs import replace

from controllers import metrics
from controllers.containers import mounting
from controllers.containers.events import event
from controllers.containers.exits import Exit
from controllers.containers.parts import Parts
from controllers.containers.restart import verdict
from store.crashpoints import crashpoint
from store.errors import NotFoundError
from store.objects import Container
from store.store import Transaction

LOST_EXIT = 255
"""The exit code of a container whose end nobody saw: the machine died, or its monitor with it."""
SECOND = 1_000_000_000


class Ender:
    """Ends containers' runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def signal(self, container: Container, number: int, *, first: bool) -> None:
        """Send a stop signal; ``first`` notes when the grace began."""
        if container.status.phase == "paused":
            await self._parts.runtime.resume(container.uid)
        try:
            await self._parts.runtime.kill(container.uid, number)
        except NotFoundError:
            # It has just ended by itself; the exit file is on its way.
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

    async def record(self, container: Container) -> None:
        """Write into the status how and when it ended, and what the restart policy makes of it."""
        status = container.status
        found = self._parts.exits.read(container.uid)
        exit_ = found or Exit(container.uid, LOST_EXIT, time.time_ns(), False)
        ran_for = max(0, exit_.at - status.started_at)
        decision = verdict(container, exit_.code, ran_for)

        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            restart = decision.restart and current.spec.wanted == "running" and not current.meta.deletion_requested_at
            ended = replace(
                current.status,
                phase="restarting" if restart else "exited",
                pid=0,
                pid_start_time=0,
                conmon_pid=0,
                exit_code=exit_.code,
                oom_killed=exit_.oom_killed,
                finished_at=exit_.at,
                error="",
                stopping_since=0,
                restart_count=current.status.restart_count + (1 if restart else 0),
                restart_delay=decision.delay if restart else 0.0,
                next_restart_at=time.time_ns() + int(decision.delay * SECOND) if restart else 0,
                health=None if current.status.health is None else replace(current.status.health, status="unhealthy"),
                endpoints={},
                ports=(),
                sandbox_id="",
            )
            if current.spec.wanted == "stopped":
                ended = replace(ended, observed_generation=current.meta.generation)
            changed = replace(current, status=ended)
            if current.spec.host.auto_remove and current.meta.deletion_requested_at is None:
                spec = replace(changed.spec, remove_volumes=True)
                changed = changed.edited(spec=spec).with_meta(deletion_requested_at=time.time_ns())
            tx.update(changed)
            if exit_.oom_killed:
                tx.emit(event(current, "oom"))
            tx.emit(event(current, "die", exitCode=str(exit_.code)))

        await self._parts.store.commit(change, durable=False)
        crashpoint("container.exit.recorded")

    async def clean(self, container: Container) -> None:
        """Take away what a run leaves on the host. Idempotent."""
        parts, uid = self._parts, container.uid
        await parts.runtime.delete(uid)
        crashpoint("container.exit.deleted")
        await asyncio.gather(parts.networks.detach(container), parts.roots.unmount(uid))
        crashpoint("container.exit.unmounted")
        for point in container.spec.mounts:
            if point.type == "volume":
                await parts.volumes.unmount(point.name, uid)
        if container.spec.host.ipc_mode == "shareable":
            await asyncio.to_thread(mounting.unshare_memory, parts.layout.container(uid) / "shm")

    async def remove(self, container: Container) -> None:
        """Remove everything of a container, its row last."""
        begin = time.perf_counter()
        parts, uid = self._parts, container.uid
        if container.running:
            if parts.runtime.alive(container.status):
                if container.status.phase == "paused":
                    await parts.runtime.resume(uid)
                await self._kill(container)
            await self.record(container)
        await self.clean(container)
        await parts.roots.discard(uid)
        crashpoint("container.remove.cleaned")
        if container.spec.remove_volumes:
            await parts.volumes.remove_anonymous(container)
        crashpoint("container.remove.volumes")
        await parts.archiver.remove(parts.layout.container(uid))
        crashpoint("container.remove.directory")

        def change(tx: Transaction) -> None:
            current = tx.get(Container, uid)
            if current is not None:
                tx.delete(Container, uid)
                tx.emit(event(current, "destroy"))

        await parts.store.commit(change)
        metrics.CONTAINER_ACTIONS.labels("delete").observe(time.perf_counter() - begin)

    async def _kill(self, container: Container) -> None:
        try:
            await self._parts.runtime.kill(container.uid, signal.SIGKILL)
        except NotFoundError:
            return
        await self._parts.store.commit(
            lambda tx: tx.emit(event(container, "kill", signal=str(int(signal.SIGKILL)))), durable=False
        )
        # conmon writes the exit file a moment after the death.
        for _ in range(200):
            if self._parts.exits.read(container.uid) is not None:
                return
            await asyncio.sleep(0.005)
