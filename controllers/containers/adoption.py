"""Taking stock at the daemon's start, before anything else happens and before anybody is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from controllers.containers import boots, mounting
from controllers.containers.desired import Step, desired
from controllers.containers.ending import REMOVED, delete_run
from controllers.containers.exec_process import PREFIX
from controllers.containers.parts import Parts
from controllers.containers.reconcile import ContainerReconciler
from controllers.containers.restart import revives, settled_by_boot
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import EngineError
from store.objects import Container
from store.store import Transaction

_log = logging.getLogger(__name__)

AT_ONCE = 16
PATIENCE = 5.0


async def adopt(parts: Parts, reconciler: ContainerReconciler) -> None:
    """Believe what runs, record what ended meanwhile, remove what belongs to nobody, revive what policies revive."""
    await _clear_orphans(parts)
    crashpoint("adoption.cleared")
    await asyncio.to_thread(_clear_execs, parts.layout, [each.uid for each in parts.store.containers])
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(container: Container) -> None:
        async with gate:
            await _catch_up(container.uid, parts, reconciler)

    await asyncio.gather(*(one(container) for container in parts.store.containers))
    crashpoint("adoption.recorded")
    new_boot = await asyncio.to_thread(boots.is_new, parts.layout)
    await parts.store.commit(partial(_revive, new_boot))
    crashpoint("adoption.revived")
    await asyncio.to_thread(boots.note, parts.layout)


async def _catch_up(uid: str, parts: Parts, reconciler: ContainerReconciler) -> None:
    """Bring one container's status up to what the host shows; everything else is the loop's."""
    deadline = time.monotonic() + PATIENCE
    while (container := parts.store.containers.get(uid)) is not None:
        decision = desired(container, reconciler.look(container), time.time_ns())
        if decision.step not in (Step.ADOPT, Step.RECORD_EXIT) or time.monotonic() > deadline:
            return
        try:
            if not await reconciler.carry_out(decision, container):
                await asyncio.sleep(0.01)
        except (EngineError, OSError) as error:
            _log.error("container %s is left to the loop: %s", uid, error)
            return


def _revive(new_boot: bool, tx: Transaction) -> None:
    for container in list(tx.all(Container)):
        if new_boot and (settled := settled_by_boot(container, time.time_ns())) is not container:
            container = tx.update(settled)
        if revives(container):
            spec = replace(
                container.spec,
                wanted="running",
                starts=container.spec.starts + 1,
                paused=False,
                manually_stopped=False,
                stop=None,
            )
            tx.update(container.edited(spec=spec))


async def _clear_orphans(parts: Parts) -> None:
    """Remove what is on the host with our mark and in no row: it was never acknowledged, or its removal was."""
    layout, known = parts.layout, parts.store.containers
    places = (layout.containers, layout.bundles, layout.runtime_state, layout.exits)
    names = await asyncio.to_thread(lambda: {name for place in places for name in _names(place)})
    for name in sorted(names):
        if name in known:
            continue
        try:
            await delete_run(parts, name)
            crashpoint("adoption.orphan.ended")
            await parts.roots.discard(name)
            await asyncio.to_thread(mounting.unshare_memory, layout.container(name) / "shm")
            await parts.archiver.remove(layout.container(name))
        except (EngineError, OSError) as error:
            _log.error("the remains of container %s stay: %s", name, error)
        else:
            _log.warning("removed what was left of container %s", name)
    for name in await asyncio.to_thread(_names, layout.data_root / REMOVED):
        await parts.archiver.remove(layout.data_root / REMOVED / name)


def _clear_execs(layout: Layout, uids: list[str]) -> None:
    """The runtime has long read what an exec was to be; the process runs on, and nobody can ask for it any more."""
    for uid in uids:
        for file in layout.bundle(uid).glob(f"{PREFIX}*"):
            file.unlink(missing_ok=True)


def _names(place: Path) -> set[str]:
    try:
        # A file that conmon was still writing has the container's name and a suffix.
        return {entry.name.partition(".")[0] for entry in place.iterdir()}
    except FileNotFoundError:
        return set()
