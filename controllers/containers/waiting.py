"""Waiting for descriptors and for threads on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def settle(future: asyncio.Future[None]) -> None:
    """Complete a future that may have been completed or cancelled before."""
    if not future.done():
        future.set_result(None)


async def readable(descriptor: int) -> None:
    """Returns when a descriptor can be read (or has ended)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Returns when a descriptor can be written (or has failed)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


async def undisturbed(work: Callable[..., T], *arguments: Any) -> T:
    """Work in a thread; who is cancelled waits for its end all the same, for it holds what would be let go next."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    finally:
        if not working.done():
            await asyncio.wait({working})
