"""A client's connection and a process's streams, joined: for attach and exec alike."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Protocol

from apiserver.detach import Escape
from apiserver.streams import frame

log = logging.getLogger(__name__)

STDOUT, STDERR = 1, 2


class Client(Protocol):
    """The client's side: bytes both ways."""

    async def read(self) -> bytes:
        """What the client sent; empty when it sends no more."""

    async def write(self, data: bytes) -> None:
        """Send; ConnectionResetError when the client is gone."""

    async def wait_lost(self) -> None:
        """Returns when the client is gone."""

    def unsent(self) -> int:
        """How many bytes wait for the client to take them."""

    def cut(self) -> None:
        """End the connection at once, whatever waits."""


class Process(Protocol):
    """The process's side."""

    async def read(self) -> list[tuple[int, bytes]]:
        """Output as (stream, data); empty at the end."""

    async def write(self, data: bytes) -> None:
        """Input; ConnectionError when the process takes no more."""

    def close_input(self) -> None:
        """No more input comes."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """How the two are joined.

    ``once``: the end of what the client sends is the end of the process's input; else it is the end of the attachment.
    ``keys`` are the detach keys, looked for on terminals. A client that takes nothing for ``patience`` seconds (0: for
    ever), while the process is held up by what waits for it, is cut.
    """

    terminal: bool
    multiplexed: bool
    stdin: bool
    stdout: bool
    stderr: bool
    once: bool
    keys: bytes
    patience: float = 0.0


async def join(client: Client, process: Process, how: Join) -> bool:
    """Copy both ways until the process's output ends, the client is gone or lets go; true for the latter.

    The caller closes both.
    """
    copies = {asyncio.create_task(_output(client, process, how)): False}
    leaving = asyncio.create_task(client.wait_lost())
    copies[leaving] = False
    typing: asyncio.Task[bool] | None = None
    if how.stdin:
        typing = asyncio.create_task(_input(client, process, how))
    waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*copies, *([typing] if typing else [])}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if typing in done and typing is not None:
                if typing.result():
                    return True
                waiting.discard(typing)
                if how.once and not how.terminal:
                    process.close_input()
                else:
                    return False
                done.discard(typing)
            if done:
                return False
    finally:
        for task in (*copies, *([typing] if typing else [])):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task


async def _output(client: Client, process: Process, how: Join) -> None:
    with contextlib.suppress(ConnectionError):
        while (data := _joined(await process.read(), how)) is not None:
            if data:
                await _deliver(client, data, how.patience)


def _joined(pieces: list[tuple[int, bytes]], how: Join) -> bytes | None:
    """What the client gets of some pieces; None at the end. Apart, so that a client who waits holds no piece twice."""
    wanted = {STDOUT: how.stdout, STDERR: how.stderr}
    if not pieces:
        return None
    if how.multiplexed:
        return b"".join(frame(stream, piece) for stream, piece in pieces if wanted[stream])
    return b"".join(piece for stream, piece in pieces if wanted[stream])


async def _deliver(client: Client, data: bytes, patience: float) -> None:
    """Send; ConnectionResetError when the client is gone, or had to be cut."""
    writing = asyncio.ensure_future(client.write(data))
    left = client.unsent()
    try:
        while not (await asyncio.wait({writing}, timeout=patience or None))[0]:
            if client.unsent() >= left:
                log.info("an attached client read nothing for %.0f s and held a process up: it is cut", patience)
                client.cut()
                raise ConnectionResetError("the client does not read")
            left = client.unsent()
    finally:
        writing.cancel()
    await writing


async def _input(client: Client, process: Process, how: Join) -> bool:
    """Copy what is typed; true when the detach keys were pressed."""
    escape = Escape(how.keys) if how.terminal else None
    while data := await client.read():
        pressed = False
        if escape is not None:
            data, pressed = escape.feed(data)
        if data:
            try:
                await process.write(data)
            except ConnectionError:
                # The process takes no more; its output still decides when we are done.
                await client.wait_lost()
                return False
        if pressed:
            return True
    return False
