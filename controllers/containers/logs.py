"""Reading a container's log: conmon's k8s-file format, with rotation, from either end.

A line is ``TIME STREAM TAG CONTENT``: the time in RFC 3339 with nine decimals and a zone, the stream ``stdout`` or
``stderr``, the tag ``F`` for a whole line and ``P`` for a part of one that goes on or has no newline. Docker shows
parts without a newline between them. Rotated files are ``log.1`` (the newest) and so on; conmon opens the new one when
told.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from controllers.containers.log_lines import Batch, Renderer

_CHUNK = 1024 * 1024
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


@dataclass(frozen=True)
class _Part:
    """One file of a log, open, and how much of it there was then (whole lines only)."""

    descriptor: int
    size: int

    def is_at(self, path: Path) -> bool:
        """Whether this is the file that a path leads to."""
        try:
            return os.path.samestat(os.stat(path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False


def files(path: Path) -> list[Path]:
    """The log's files that exist, the oldest first."""
    found, number = [path] if path.exists() else [], 1
    while (rotated := path.with_name(f"{path.name}.{number}")).exists():
        found.append(rotated)
        number += 1
    return found[::-1]


def read(path: Path, query: LogQuery) -> Iterator[bytes]:
    """The log as it is, in pieces ready to send. Blocking: run the iteration in a thread.

    Multiplexed pieces hold one frame a line, as clients that take frames for lines expect.
    """
    parts = _open_parts(path)
    try:
        render = query.renderer()
        yield from _render_parts(parts, query, render)
        if rest := render.rest():
            yield rest
    finally:
        for part in parts:
            os.close(part.descriptor)


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
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def follow(path: Path, query: LogQuery, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log as it is, then what is added, until ``ended()`` says that nothing more comes (and all was read).

    Survives rotation: the renamed file is read to its end before the new one.
    """
    render = query.renderer()
    parts = _open_parts(path)
    current = parts.pop() if parts and parts[-1].is_at(path) else None
    follower = _Follower(path, current, render, (query.since, query.until))
    try:
        if query.tail != 0:
            async for piece in in_thread(_render_parts([*parts, current] if current else parts, query, render)):
                yield piece
        async for piece in follower.run(ended):
            yield piece
        if rest := render.rest():
            yield rest
    finally:
        follower.close()
        for part in parts:
            os.close(part.descriptor)


def _open_parts(path: Path) -> list[_Part]:
    parts: dict[int, _Part] = {}
    for place in files(path):
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        info = os.fstat(descriptor)
        # A rotation between the listing and here shows one file under two names.
        if info.st_ino in parts:
            os.close(descriptor)
            continue
        parts[info.st_ino] = _Part(descriptor, _whole(descriptor, info.st_size))
    return list(parts.values())


def _whole(descriptor: int, size: int) -> int:
    """How much of the first ``size`` bytes is whole lines."""
    begin = size
    while begin:
        end, begin = begin, max(0, begin - _BLOCK)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
    return 0


def _render_parts(parts: list[_Part], query: LogQuery, render: Renderer) -> Iterator[bytes]:
    if query.tail >= 0:
        yield from _tail(parts, query, render)
        return
    for part in parts:
        if query.since and os.fstat(part.descriptor).st_mtime_ns < query.since:
            continue
        position, rest = 0, b""
        while position < part.size:
            chunk = os.pread(part.descriptor, min(_CHUNK, part.size - position), position)
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


def _tail(parts: list[_Part], query: LogQuery, render: Renderer) -> Iterator[bytes]:
    wanted, texts = query.tail, []
    newest = next((part for part in reversed(parts) if part.size), None)
    for part in reversed(parts):
        if wanted <= 0:
            break
        text, counted = _last_lines(part, wanted, query, render, part is newest)
        texts.append(text)
        wanted -= counted
    for text in reversed(texts):
        batch = render.lines(text, query.since, query.until)
        if batch.data:
            yield batch.data


def _last_lines(part: _Part, wanted: int, query: LogQuery, render: Renderer, newest: bool) -> tuple[bytes, int]:
    """The end of a file that holds the last ``wanted`` lines that the query selects, and how many there were.

    What the ``newest`` file ends with counts as a line even when the container never ended it.
    """
    position = part.size
    text = b""
    while position:
        size = min(max(_BLOCK, len(text)), _CHUNK, position)
        position -= size
        text = os.pread(part.descriptor, size, position) + text
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

    def __init__(self, path: Path, part: _Part | None, render: Renderer, limits: tuple[int, int]) -> None:
        self._path = path
        self._source = part.descriptor if part else None
        self._position = part.size if part else 0
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
            elif not self._rotated():
                if last:
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _POLL)

    def _more(self) -> Batch:
        if self._source is None:
            try:
                self._source = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return Batch(b"", beyond=False, more=False)
        chunk = os.pread(self._source, _CHUNK, self._position)
        if not chunk:
            return Batch(b"", beyond=False, more=False)
        self._position += len(chunk)
        chunk = self._rest + chunk
        end = chunk.rfind(b"\n") + 1
        self._rest = chunk[end:]
        return self._render.lines(chunk[:end], *self._limits)

    def _rotated(self) -> bool:
        if self._source is None:
            return False
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._source)
        if not os.path.samestat(current, ours):
            os.close(self._source)
            self._source, self._position, self._rest = None, 0, b""
            return True
        if ours.st_size < self._position:
            self._position, self._rest = ours.st_size, b""
        return False

    def close(self) -> None:
        """Let go of the file."""
        if self._source is not None:
            os.close(self._source)
            self._source = None
