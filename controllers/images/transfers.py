"""Layers on their way in. Whoever wants one that is already coming joins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from controllers.images.board import MOVING, Board
from controllers.images.registry.blobs import Announce
from store.errors import EngineError
from store.objects import Layer


class Transfer:
    """One layer that is being fetched, with the boards that show it."""

    def __init__(self, identity: str, work: Callable[[Announce], Awaitable[Layer]]) -> None:
        self._identity = identity
        self._boards: list[Board] = []
        self._last: tuple[str, int, int] | None = None
        self._percent = -1
        self.task = asyncio.ensure_future(work(self._announce))

    @property
    def watched(self) -> bool:
        """Whether anybody still wants the layer."""
        return bool(self._boards)

    def join(self, board: Board) -> None:
        """Show it there too, from its present state on."""
        self._boards.append(board)
        if self._last is not None:
            board.post(self._identity, *self._last)

    def leave(self, board: Board) -> None:
        """Show it there no more."""
        self._boards.remove(board)

    def _announce(self, status: str, current: int, total: int) -> None:
        self._last = (status, current, total)
        # A bar is for watching: nobody sees more than one step in a hundred.
        if status in MOVING and current < total and current * 100 // total == self._percent:
            return
        self._percent = current * 100 // total if total else -1
        for board in self._boards:
            board.post(self._identity, status, current, total)


class Transfers:
    """The layers that are being fetched, by chain id."""

    def __init__(self) -> None:
        self._running: dict[str, Transfer] = {}

    async def layer(
        self, chain: str, identity: str, board: Board, work: Callable[[Announce], Awaitable[Layer]]
    ) -> Layer:
        """The layer that ``work`` makes, or that somebody else's work is making already.

        The work ends with its last watcher. Raises what it raises; but a failure of somebody else's (whose client may
        have gone, and with it the connection) is followed by our own try.
        """
        other = self._running.get(chain)
        if other is not None and not other.task.done():
            with suppress(EngineError):
                return await self._watch(chain, other, board)
        transfer = self._running[chain] = Transfer(identity, work)
        return await self._watch(chain, transfer, board)

    async def _watch(self, chain: str, transfer: Transfer, board: Board) -> Layer:
        transfer.join(board)
        try:
            return await asyncio.shield(transfer.task)
        finally:
            transfer.leave(board)
            if not transfer.watched:
                transfer.task.cancel()
                if self._running.get(chain) is transfer:
                    del self._running[chain]
                await asyncio.wait({transfer.task})
