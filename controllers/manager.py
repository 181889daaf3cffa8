"""The manager: wires controllers to the store's feed, starts and stops them, and looks at everything now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from controllers.controller import Controller
from store.objects.meta import Object
from store.store import Change, Store

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=Object)

RESYNC = 300.0


class Manager:
    """Runs controllers. ``resync`` is how often, in seconds, each key is looked at without any reason."""

    def __init__(self, store: Store, *, resync: float = RESYNC) -> None:
        self._store = store
        self._resync = resync
        self._controllers: list[Controller] = []
        self._unwatch: list[Callable[[], None]] = []
        self._resyncing: asyncio.Task[None] | None = None

    def add(self, controller: Controller) -> None:
        """Has the controller started and stopped with the others, in the order of adding."""
        self._controllers.append(controller)

    def watch(
        self,
        kind: type[T],
        controller: Controller,
        keys: Callable[[Change[T]], Iterable[str]] = lambda change: (change.uid,),
    ) -> None:
        """Enqueues, for each change of the kind from now on, what ``keys`` says: by default the object's uid."""

        def enqueue(change: Change[T]) -> None:
            for key in keys(change):
                controller.enqueue(key)

        self._unwatch.append(self._store.on_change(kind, enqueue))

    async def start(self) -> None:
        """Starts the controllers; each begins with all its keys."""
        for controller in self._controllers:
            controller.start()
        self._resyncing = asyncio.create_task(self._resync_for_ever(), name="resync")

    async def stop(self, grace: float = 10.0) -> None:
        """Stops all controllers at once; what they are doing may take ``grace`` seconds more."""
        for unwatch in self._unwatch:
            unwatch()
        self._unwatch.clear()
        if self._resyncing is not None:
            self._resyncing.cancel()
            await asyncio.gather(self._resyncing, return_exceptions=True)
        await asyncio.gather(*(controller.stop(grace) for controller in self._controllers))

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._resync)
            for controller in self._controllers:
                try:
                    # Spread out, so that a thousand healthy objects are not a burst of work.
                    controller.resync(spread=self._resync / 10)
                except Exception:
                    _log.exception("the resync of %s failed", controller.name)
