"""Progress of a pull, gathered without waiting and shown at the client's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

MOVING = frozenset({"Downloading", "Extracting"})


class Progress(Protocol):
    """Where lines go: dockerd's JSON progress messages."""

    async def line(self, value: Any) -> None:
        """One message as it is."""

    async def status(self, status: str, identity: str = "", current: int = 0, total: int = 0) -> None:
        """A status, of a layer where ``identity`` is given, with bytes done and to do."""


class Board:
    """Messages on their way to one client. Of a bar that moves faster than the client reads, the last place is kept."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pending: dict[object, Callable[[], Awaitable[None]]] = {}
        self._arrived = asyncio.Event()
        self._closed = False

    def say(self, message: dict[str, Any]) -> None:
        """A message about the whole pull."""
        self._put(object(), lambda: self._progress.line(message))

    def post(self, identity: str, status: str, current: int = 0, total: int = 0) -> None:
        """A layer's status."""
        key: object = (identity, status) if status in MOVING else object()
        self._put(key, lambda: self._progress.status(status, identity, current, total))

    def _put(self, key: object, send: Callable[[], Awaitable[None]]) -> None:
        self._pending[key] = send
        self._arrived.set()

    def close(self) -> None:
        """Nothing follows."""
        self._closed = True
        self._arrived.set()

    async def drain(self) -> None:
        """Send what is there and what comes, until the board is closed."""
        while self._pending or not self._closed:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                key = next(iter(self._pending))
                await self._pending.pop(key)()
