"""Who is about to use a volume, for the time in which no row says so yet. In memory: a crash lets go of all."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class Holds:
    """Knows the holders of each volume, and keeps two changes of one volume's mount apart."""

    def __init__(self) -> None:
        self._holders: dict[str, set[str]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, volume: str) -> asyncio.Lock:
        """The lock for what changes on the host for this volume."""
        return self._locks.setdefault(volume, asyncio.Lock())

    def take(self, volume: str, holder: str) -> bool:
        """The volume's mount has to stay for this holder; whether that is news."""
        holders = self._holders.setdefault(volume, set())
        if holder in holders:
            return False
        holders.add(holder)
        return True

    def drop(self, volume: str, holder: str) -> bool:
        """It no longer has to, for this holder; whether that is news."""
        holders = self._holders.get(volume, set())
        if holder not in holders:
            return False
        holders.remove(holder)
        if not holders:
            del self._holders[volume]
        return True

    def held(self, volume: str) -> bool:
        """Whether anybody holds it."""
        return volume in self._holders
