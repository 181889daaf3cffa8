"""Progress of a pull on its way to a client, who may read slowly: nobody who works ever waits for one who reads."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

SECONDS_BETWEEN = 0.1


class Progress(Protocol):
    """Where progress goes: a status with the id of what it is about, and bytes done and to do where that is known."""

    async def status(self, text: str, /, identity: str = "", current: int = 0, total: int = 0) -> None: ...


class Reporter:
    """Keeps lines until they are read; of the amounts of one kind the newest alone.

    ``run`` does the sending, in a task; it ends after ``close`` when all is sent, or with the error of ``progress``.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pending: dict[object, tuple[str, str, int, int]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def say(self, text: str, identity: str = "") -> None:
        """Tell a status."""
        self._pending[object()] = (text, identity, 0, 0)
        self._wake.set()

    def amount(self, text: str, identity: str, current: int, total: int) -> None:
        """Tell how far something is, in bytes; too many of these in a short time are thinned out."""
        key = (text, identity)
        now = time.monotonic()
        if current < total and now - self._told.get(key, 0) < SECONDS_BETWEEN:
            return
        self._told[key] = now
        self._pending[key] = (text, identity, current, total)
        self._wake.set()

    def close(self) -> None:
        """No more will be told."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Send until closed."""
        while self._pending or not self._closed:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
                continue
            key = next(iter(self._pending))
            await self._progress.status(*self._pending.pop(key))
