"""Detach keys, by which a client lets go of a terminal and the process runs on (moby: term.EscapeProxy)."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {chr(ord("a") + number): number + 1 for number in range(26)} | {
    "@": 0,
    "[": 27,
    "\\": 28,
    "]": 29,
    "^": 30,
    "_": 31,
}


def parse_keys(text: str) -> bytes | None:
    """The bytes of ``a,ctrl-b``; the default for an empty text, None for one that names no keys."""
    keys = bytearray()
    for word in (text or DEFAULT).split(","):
        name = word.removeprefix("ctrl-")
        if word != name and name.lower() in _CONTROL:
            keys.append(_CONTROL[name.lower()])
        elif len(word) == 1 and ord(word) < 256:
            keys.append(ord(word))
        else:
            return None
    return bytes(keys)


class Escape:
    """Looks for the keys in what is typed, also across pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the keys were pressed. The beginning of the keys is held until it is refuted."""
        out = bytearray()
        for byte in data:
            if self._matched < len(self._keys) and byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(out), True
                continue
            out += self._keys[: self._matched]
            self._matched = 0
            if self._keys and byte == self._keys[0]:
                self._matched = 1
                if len(self._keys) == 1:
                    return bytes(out), True
                continue
            out.append(byte)
        return bytes(out), False
