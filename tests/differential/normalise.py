"""What may differ between two engines that did the same: ids, times, addresses, paths."""

from __future__ import annotations

import re
from collections.abc import Mapping

_AGO = r"(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour|day|week|month|year)s?)"
_PATTERNS = (
    (re.compile(r"(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4} \w+"), "<time>"),
    (re.compile(rf"{_AGO} ago"), "<ago>"),
    (re.compile(rf"Up {_AGO}"), "Up <for>"),
    (re.compile(r"\b02:42(?::[0-9a-f]{2}){4}\b"), "<mac>"),
    (re.compile(r'(\b(?:Pid|ContainerPid|HostPid)"?(?:: | = ))[1-9]\d*'), r"\1<pid>"),
    (re.compile(r"(?<=[:\"])(?:3[2-9]|4\d|5\d|6[0-5])\d{3}\b"), "<port>"),
    # The command line's own race between two answers: sometimes it says so, sometimes not.
    (re.compile(r"^time=.*error waiting for container: .*\n", re.MULTILINE), ""),
    # Columns are as wide as their widest cell, and cells have lost their real texts above.
    (re.compile(r"(?<=\S) {2,}"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
)
_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")
_ADDRESS = re.compile(r"\b172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}\b|\b192\.168(?:\.\d{1,3}){2}\b")


class Normaliser:
    """Replaces by the order of first appearance, so that an id that should come back has to."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = sorted(paths.items(), key=lambda pair: -len(pair[0]))
        self._ids: dict[str, int] = {}
        self._addresses: dict[str, int] = {}

    def text(self, text: str, *, numbers: bool = False) -> str:
        """One output, made comparable."""
        for path, name in self._paths:
            text = text.replace(path, name)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        text = _ID.sub(lambda match: f"<id {_number(self._ids, match[0][:12])}>", text)
        text = _ADDRESS.sub(lambda match: f"<address {_number(self._addresses, match[0])}>", text)
        if numbers:
            text = re.sub(r"\d+(?:\.\d+)?(?:[kKMG]?i?B)?", "<n>", text)
        return text

    @staticmethod
    def matching(pattern: str, lines: list[str]) -> list[str]:
        """The lines in which the pattern is found."""
        return [line for line in lines if re.search(pattern, line)]


def _number(known: dict[str, int], value: str) -> int:
    return known.setdefault(value, len(known) + 1)
