"""Waiting for descriptors on the event loop."""

from __future__ import annotations

import asyncio


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
