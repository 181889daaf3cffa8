"""An event loop whose time stands still while there is something to do, and jumps when there is not."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that will never happen")
        # A little more than asked, or rounding lets the loop's timers never come due.
        self.now += timeout + 1e-9 if timeout > 0 else 0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeps cost nothing; ``time`` says how long all has taken in seconds."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(main: Coroutine[Any, Any, R]) -> R:
    """What ``asyncio.run`` does, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
