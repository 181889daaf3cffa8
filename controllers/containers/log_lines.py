"""Lines of conmon's log, made into what clients read. The hot loop of ``docker logs``: about 0.3 µs a line."""

from __future__ import annotations

import calendar
import functools
import struct
import time
from dataclasses import dataclass

STREAMS = {b"stdout": 1, b"stderr": 2}
_HEADER = struct.Struct(">BxxxL")
_SPLIT = 16 * 1024
_UTC_MARKS = frozenset(b"+00:00 %s %s " % (stream, tag) for stream in STREAMS for tag in (b"F", b"P"))
_UTC_PREFIX = len("2016-10-06T00:17:09.669794202+00:00 stdout F ")


@dataclass(frozen=True)
class Batch:
    """Ready data; ``beyond`` when a line was later than asked for, ``more`` when there may be more at once."""

    data: bytes
    beyond: bool
    more: bool = True


@functools.lru_cache(maxsize=4096)
def _second(text: bytes) -> int:
    moment = time.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S")
    return calendar.timegm(moment)


def split_moment(line: bytes) -> int:
    """The time at a line's beginning in nanoseconds since the epoch; 0 when it has none."""
    try:
        ns = _second(line[:19]) * 1_000_000_000 + int(line[20:29])
        zone = line[29 : line.index(b" ")]
        if zone not in (b"Z", b"+00:00"):
            offset = (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60) * 1_000_000_000
            ns -= offset if zone[:1] == b"+" else -offset
        return ns
    except ValueError:
        return 0


def utc_text(line: bytes) -> bytes:
    """The time at a line's beginning as Docker prints it: UTC, nine decimals, ``Z``."""
    if line[29:35] == b"+00:00":
        return line[:29] + b"Z"
    seconds, fraction = divmod(split_moment(line), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % fraction


class _Headers(dict[int, bytes]):
    """The frame headers of one stream by length, made once each."""

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def __missing__(self, length: int) -> bytes:
        made = _HEADER.pack(self._stream, length)
        if len(self) < 4096:
            self[length] = made
        return made


@dataclass
class _Pending:
    """The beginning of a line whose end has not come: its moment's text, its content, whether a part went out."""

    first: bytes
    content: bytes
    continued: bool = False


class Renderer:
    """Selects lines and puts them into the form asked for.

    ``multiplexed``: with a frame's header before each line. ``details`` goes before each line's content. Parts of
    a line are joined to one frame, up to the size at which dockerd splits.
    """

    def __init__(self, stdout: bool, stderr: bool, timestamps: bool, details: str | None, multiplexed: bool) -> None:
        self._wanted = {name for name, asked in ((b"stdout", stdout), (b"stderr", stderr)) if asked}
        self._timestamps = timestamps
        self._details = None if details is None else details.encode()
        self._multiplexed = multiplexed
        self._headers = {name: _Headers(number) for name, number in STREAMS.items()}
        self._pending: dict[bytes, _Pending] = {}

    def selects(self, line: bytes, until: int, *, unfinished: bool = False) -> bool:
        """Whether a line ends a line of output, or, with ``unfinished``, is the last piece of one.

        Of any stream: a tail is the end of the log, of which then those that are asked for are shown.
        """
        fields = line.split(b" ", 3)
        if len(fields) < 3 or (fields[2] == b"P" and not unfinished):
            return False
        return not until or split_moment(line) <= until

    def lines(self, text: bytes, since: int = 0, until: int = 0) -> Batch:
        """The selected part of whole lines; ``since`` and ``until`` in nanoseconds, 0 for no limit."""
        if not self._timestamps and self._details is None and not since and not until and not self._pending:
            quick = self._quick(text)
            if quick is not None:
                return Batch(quick, beyond=False)
        return self._careful(text, since, until)

    def rest(self) -> bytes:
        """What is left of lines without an end."""
        left = [(stream, pending) for stream, pending in self._pending.items() if pending.content]
        self._pending = {}
        return b"".join(self._framed(stream, self._dressed(pending)) for stream, pending in left)

    def _quick(self, text: bytes) -> bytes | None:
        """The usual case, times in UTC and nothing to add or to cut; None when it is not so."""
        out: list[bytes] = []
        add, prefix = out.append, _UTC_PREFIX
        held: dict[bytes, bytes] = {}
        marks = {
            b"+00:00 %s %s " % (stream, tag): (stream, tag == b"F") for stream in self._wanted for tag in (b"F", b"P")
        }
        plain = {mark: self._headers[stream] for mark, (stream, whole) in marks.items() if whole}
        multiplexed = self._multiplexed
        for line in text.splitlines(keepends=True) if b"\r" not in text else _split(text):
            mark = line[29:45]
            headers = plain.get(mark)
            if headers is not None and not held:
                if multiplexed:
                    add(headers[len(line) - prefix])
                add(line[prefix:])
                continue
            found = marks.get(mark)
            if found is None:
                if mark in _UTC_MARKS:
                    continue
                return None
            stream, whole = found
            content = held.pop(stream, b"") + (line[prefix:] if whole else line[prefix:-1])
            if not whole:
                held[stream] = content
                if len(content) > _SPLIT:
                    return None
                continue
            if multiplexed:
                add(self._headers[stream][len(content)])
            add(content)
        self._pending = {stream: _Pending(b"", content) for stream, content in held.items()}
        return b"".join(out)

    def _careful(self, text: bytes, since: int, until: int) -> Batch:
        out: list[bytes] = []
        for line in text.split(b"\n")[:-1]:
            fields = line.split(b" ", 3)
            if len(fields) < 3 or fields[1] not in self._wanted:
                continue
            if since or until:
                moment = split_moment(line)
                if since and moment < since:
                    continue
                if until and moment > until:
                    return Batch(b"".join(out), beyond=True)
            stream = fields[1]
            pending = self._pending.pop(stream, None) or _Pending(line[:35], b"")
            pending.content += fields[3] if len(fields) > 3 else b""
            if not fields[2].startswith(b"P"):
                pending.content += b"\n"
                out.append(self._framed(stream, self._dressed(pending)))
            elif len(pending.content) < _SPLIT:
                self._pending[stream] = pending
            else:
                out.append(self._framed(stream, self._dressed(pending)))
                self._pending[stream] = _Pending(b"", b"", continued=True)
        return Batch(b"".join(out), beyond=False)

    def _dressed(self, pending: _Pending) -> bytes:
        content = pending.content
        if pending.continued:
            return content
        if self._details is not None:
            content = self._details + b" " + content
        if self._timestamps:
            content = utc_text(pending.first) + b" " + content
        return content

    def _framed(self, stream: bytes, content: bytes) -> bytes:
        return self._headers[stream][len(content)] + content if self._multiplexed else content


def _split(text: bytes) -> list[bytes]:
    return [line + b"\n" for line in text.split(b"\n")[:-1]]
