"""Reading a container's log: conmon's k8s-file format, with rotation, from either end.

A line is ``TIME STREAM TAG CONTENT``: the time in RFC 3339 with nine decimals and a zone, the stream ``stdout`` or
``stderr``, the tag ``F`` for a whole line and ``P`` for a part of one that goes on or has no newline. Docker shows
parts without a newline between them. Which files there are, ``log_files`` says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from controllers.containers.log_files import LogFile, after, first, open_all
from controllers.containers.log_lines import Batch, Renderer
from controllers.containers.waiting import undisturbed

_CHUNK = 64 * 1024
_BLOCK = 16 * 1024
_QUICK_TAIL = 100
_POLL = 0.1
"""Seconds between two looks at a quiet file that is followed."""


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """What to read. Times in nanoseconds since the epoch, 0 for no limit; ``tail`` below 0 for all lines."""

    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    details: str | None = None
    since: int = 0
    until: int = 0
    tail: int = -1
    follow: bool = False
    multiplexed: bool = True

    def renderer(self) -> Renderer:
        """What makes lines into the form asked for."""
        return Renderer(self.stdout, self.stderr, self.timestamps, self.details, self.multiplexed)


def read(path: Path, query: LogQuery) -> Iterator[bytes]:
    """The log as it is, in pieces ready to send. Blocking: run the iteration in a thread.

    Multiplexed pieces hold one frame a line, as clients that take frames for lines expect.
    """
    files = open_all(path)
    try:
        render = query.renderer()
        yield from _render_files(files, query, render)
        if rest := render.rest():
            yield rest
    finally:
        for file in files:
            file.close()


def quick(path: Path, query: LogQuery) -> bytes | None:
    """A short tail from one look at the end of the file, cheaper than a thread's turn; None where it is not enough."""
    if query.follow or not 0 <= query.tail <= _QUICK_TAIL:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        begin = max(0, os.fstat(descriptor).st_size - _BLOCK)
        lines = os.pread(descriptor, _BLOCK, begin).split(b"\n")
    finally:
        os.close(descriptor)
    del lines[-1]
    if begin:
        del lines[0]
    render, counted = query.renderer(), 0
    for number in range(len(lines) - 1, -1, -1):
        counted += render.selects(lines[number], query.until, unfinished=number == len(lines) - 1)
        if counted > query.tail:
            text = b"".join(line + b"\n" for line in lines[number + 1 :])
            return render.lines(text, query.since, query.until).data + render.rest()
    return None


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each made in a thread when it is asked for."""
    while (piece := await undisturbed(next, pieces, None)) is not None:
        yield piece


async def follow(path: Path, query: LogQuery, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log as it is, then what is added, until ``ended()`` says that nothing more comes (and all was read).

    Survives rotation: each file is read to its end before the next one.
    """
    render = query.renderer()
    files = open_all(path)
    current = files.pop() if files else None
    follower = _Follower(path, current, render, (query.since, query.until))
    try:
        if query.tail != 0 and current is not None:
            async for piece in in_thread(_render_files([*files, current], query, render)):
                yield piece
        async for piece in follower.run(ended):
            yield piece
        if rest := render.rest():
            yield rest
    finally:
        follower.close()
        for file in files:
            file.close()


def _render_files(files: list[LogFile], query: LogQuery, render: Renderer) -> Iterator[bytes]:
    if query.tail >= 0:
        yield from _tail(files, query, render)
        return
    for file in files:
        if query.since and file.changed_at < query.since:
            continue
        position, rest, size = 0, b"", file.size
        while position < size:
            chunk = os.pread(file.descriptor, min(_CHUNK, size - position), position)
            if not chunk:
                break
            position += len(chunk)
            chunk = rest + chunk
            end = chunk.rfind(b"\n") + 1
            rest = chunk[end:]
            batch = render.lines(chunk[:end], query.since, query.until)
            if batch.data:
                yield batch.data
            if batch.beyond:
                return


def _tail(files: list[LogFile], query: LogQuery, render: Renderer) -> Iterator[bytes]:
    wanted, texts = query.tail, []
    newest = True
    for file in reversed(files):
        if wanted <= 0:
            break
        text, counted = _last_lines(file, wanted, query, render, newest)
        newest = newest and not text
        texts.append(text)
        wanted -= counted
    for text in reversed(texts):
        batch = render.lines(text, query.since, query.until)
        if batch.data:
            yield batch.data


def _last_lines(file: LogFile, wanted: int, query: LogQuery, render: Renderer, newest: bool) -> tuple[bytes, int]:
    """The end of a file that holds the last ``wanted`` lines that the query selects, and how many there were.

    What the ``newest`` file ends with counts as a line even when the container never ended it.
    """
    position = file.size
    text = b""
    while position:
        size = min(max(_BLOCK, len(text)), _CHUNK, position)
        position -= size
        text = os.pread(file.descriptor, size, position) + text
        begin = text.find(b"\n") + 1 if position else 0
        lines = text[begin:].split(b"\n")[:-1]
        if len(lines) <= wanted and position:
            continue
        unfinished = len(lines) - 1 if newest else -1
        counted = 0
        for number in range(len(lines) - 1, -1, -1):
            counted += render.selects(lines[number], query.until, unfinished=number == unfinished)
            if counted > wanted:
                return b"".join(line + b"\n" for line in lines[number + 1 :]), wanted
        if not position:
            return text, counted
    return b"", 0


class _Follower:
    """Reads what is added to a file, and to the one that takes its place."""

    def __init__(self, path: Path, file: LogFile | None, render: Renderer, limits: tuple[int, int]) -> None:
        self._path = path
        self._file = file
        self._position = file.size if file else 0
        self._next: LogFile | None = None
        self._render = render
        self._limits = limits
        self._rest = b""

    async def run(self, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The pieces as they come."""
        pause = 0.005
        while True:
            last = ended()
            batch = self._more()
            if batch.data:
                yield batch.data
            if batch.beyond:
                return
            if batch.more:
                pause = 0.005
            elif self._moved_on():
                if self._file is not None:
                    await undisturbed(self._file.unpack)
            else:
                if last:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _POLL)

    def _more(self) -> Batch:
        if self._file is None:
            return Batch(b"", beyond=False, more=False)
        chunk = os.pread(self._file.descriptor, _CHUNK, self._position)
        if not chunk:
            return Batch(b"", beyond=False, more=False)
        self._position += len(chunk)
        chunk = self._rest + chunk
        end = chunk.rfind(b"\n") + 1
        self._rest = chunk[end:]
        return self._render.lines(chunk[:end], *self._limits)

    def _moved_on(self) -> bool:
        """At the end of what there is: whether there may be more at once, in this file or the next."""
        if self._file is None:
            self._file = first(self._path)
            return self._file is not None
        if self._next is not None:
            # This one has been read once more since it was seen to be full.
            self._file.close()
            self._file, self._next, self._position, self._rest = self._next, None, 0, b""
            return True
        self._next = after(self._path, self._file)
        if self._next is None and (size := os.fstat(self._file.descriptor).st_size) < self._position:
            self._position, self._rest = size, b""
        return self._next is not None

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._file, self._next):
            if file is not None:
                file.close()
