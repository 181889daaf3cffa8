"""The container loop: look, decide, do one step, look again."""

from __future__ import annotations

import signal
import time

from msgspec.structs import replace

from controllers.containers.desired import Decision, Seen, Step, desired
from controllers.containers.ending import Ender
from controllers.containers.events import event
from controllers.containers.parts import Parts
from controllers.containers.starting import Starter
from controllers.containers.upkeep import Upkeep
from controllers.controller import Result
from store.crashpoints import crashpoint
from store.errors import EngineError
from store.objects import Container
from store.objects.containers import Failure
from store.store import Transaction

STEPS_AT_ONCE = 12
"""More steps than any way through the table has; beyond it something fights us, so slow down."""
LOOK_AGAIN = 0.25
STUBBORN = 1.0


class ContainerReconciler:
    """Makes one container so. ``Starter``, ``Ender`` and ``Upkeep`` know how; the decision is ``desired``'s."""

    def __init__(self, parts: Parts, starter: Starter, ender: Ender, upkeep: Upkeep) -> None:
        self._parts = parts
        self._starter = starter
        self._ender = ender
        self._upkeep = upkeep

    async def reconcile(self, uid: str) -> Result | None:
        """Do whatever steps are due; in how many seconds to look again, None for not before something happens."""
        for step in range(STEPS_AT_ONCE):
            container = self._parts.store.containers.get(uid)
            if container is None:
                return None
            decision = desired(container, self.look(container), time.time_ns())
            if decision.step is Step.NOTHING:
                # What we have just made needs no second look, and a start has no time for one.
                if container.running and step == 0:
                    await self._upkeep.mend(container)
                return None
            if decision.step is Step.WAIT:
                return Result(after=decision.after)
            if not await self.carry_out(decision, container):
                return Result(after=LOOK_AGAIN)
            if decision.step is Step.KILL:
                return Result(after=STUBBORN)
        return Result(after=LOOK_AGAIN)

    def look(self, container: Container) -> Seen:
        """What the host shows of a container: a few looks at files, no waiting."""
        uid, layout = container.uid, self._parts.layout
        if container.running:
            return Seen(alive=self._parts.runtime.alive(container.status), started=True)
        if container.meta.deletion_requested_at is not None:
            return Seen()
        bundle = layout.bundle(uid).exists()
        remains = bundle or self._parts.roots.left_mounted(uid) or self._networked(uid)
        if not bundle:
            return Seen(remains=remains)
        started = (layout.runtime_state / uid).exists() and not self._parts.runtime.created(uid)
        exit_ = self._parts.exits.read(uid)
        return Seen(
            alive=self._parts.runtime.find(uid) is not None,
            started=started,
            ended=exit_ is not None and exit_.at > container.status.finished_at,
            remains=remains,
        )

    def _networked(self, uid: str) -> bool:
        store = self._parts.store
        leased = store.address_leases.where("owner", uid) or store.port_leases.where("owner", uid)
        return bool(leased) or (self._parts.layout.namespaces / uid).exists()

    async def carry_out(self, decision: Decision, container: Container) -> bool:
        """Carry out a step; False when the host has to move first."""
        match decision.step:
            case Step.REMOVE:
                await self._ender.remove(container)
            case Step.ADOPT:
                await self._starter.adopt(container)
            case Step.RECORD_EXIT:
                return await self._ender.record(container)
            case Step.SIGNAL:
                stop = container.spec.stop
                number = stop.signal if stop is not None else int(signal.SIGTERM)
                await self._ender.signal(container, number, first=True)
            case Step.KILL:
                await self._ender.signal(container, int(signal.SIGKILL), first=False)
            case Step.PAUSE:
                return await self._pause(container)
            case Step.RESUME:
                await self._resume(container)
            case Step.CLEAN:
                await self._ender.clean(container)
            case Step.START:
                if self._starter.awaits_others(container):
                    return False
                crashpoint("container.start.decided")
                await self._starter.start(container)
            case Step.SETTLE:
                await self._settle(container)
        return True

    async def _pause(self, container: Container) -> bool:
        try:
            await self._parts.runtime.pause(container.uid)
        except (EngineError, OSError) as error:
            await self._refuse_pause(container, str(error))
            return False
        crashpoint("container.pause.frozen")
        await self._set_phase(container, "paused", "pause")
        return True

    async def _resume(self, container: Container) -> None:
        await self._parts.runtime.resume(container.uid)
        crashpoint("container.unpause.thawed")
        await self._set_phase(container, "running", "unpause")

    async def _set_phase(self, container: Container, phase: str, action: str) -> None:
        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None or not current.running:
                return
            status = replace(current.status, phase=phase, observed_generation=container.meta.generation)
            tx.update(replace(current, status=status))
            tx.emit(event(current, action))

        await self._parts.store.commit(change, durable=False)

    async def _refuse_pause(self, container: Container, reason: str) -> None:
        """The wish cannot be fulfilled: it is told and withdrawn, as dockerd does not try again."""

        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            failure = Failure(
                generation=container.meta.generation,
                kind="EngineError",
                message=f"Cannot pause container {container.uid}: {reason}",
            )
            changed = current.edited(spec=replace(current.spec, paused=False))
            status = replace(current.status, failure=failure, observed_generation=changed.meta.generation)
            tx.update(replace(changed, status=status))

        await self._parts.store.commit(change, durable=False)

    async def _settle(self, container: Container) -> None:
        def change(tx: Transaction) -> None:
            current = tx.get(Container, container.uid)
            if current is None:
                return
            status = replace(current.status, observed_generation=container.meta.generation)
            if current.running and current.spec.wanted == "running" and current.spec.stop is None:
                status = replace(status, starts=container.spec.starts)
            if status.phase == "restarting" and current.spec.wanted != "running":
                status = replace(status, phase="exited", next_restart_at=0)
                tx.emit(event(current, "stop"))
            tx.update(replace(current, status=status))

        await self._parts.store.commit(change, durable=False)
