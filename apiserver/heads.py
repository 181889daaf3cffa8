"""Following where a request's head ends, and what it says of the bytes behind it.

aiohttp takes only WebSockets for upgrades: the bytes that follow a ``Upgrade: tcp`` request would be read as HTTP, or
dropped. So they are told apart before it sees them.
"""

from __future__ import annotations

import re

_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*tcp[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)


class HeadFollower:
    """Fed with what a connection receives, from the first byte of a request on."""

    __slots__ = ("_head", "body_length", "complete", "upgrade")

    def __init__(self) -> None:
        self._head = bytearray()
        self.complete = False
        self.upgrade = False
        """Whether the client wants a raw stream behind the request."""
        self.body_length = 0
        """The bytes of the request's body, where they are announced."""

    @property
    def size(self) -> int:
        """The bytes of the head so far."""
        return len(self._head)

    def feed(self, data: bytes) -> int:
        """Takes bytes; how many of them belong to the head. More than that means that it is complete."""
        before = len(self._head)
        self._head += data
        end = self._head.find(_END, max(0, before - 3))
        if end < 0:
            return len(data)
        end += len(_END)
        self.complete = True
        head = bytes(self._head[: end - 2])
        self._head.clear()
        # Where a chunked body ends only HTTP's parser can tell; no client sends one with an upgrade.
        if _UPGRADE.search(head) is not None and _CHUNKED.search(head) is None:
            self.upgrade = True
            length = _LENGTH.search(head)
            self.body_length = int(length[1]) if length else 0
        return end - before
