"""Where our answers differ from dockerd's on purpose: each with its reason, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """A difference: what matches ``pattern`` is replaced by ``by`` in both outputs of the commands it is about."""

    command: str
    pattern: str
    reason: str
    by: str = "<accepted>"

    def apply(self, command: str, text: str) -> str:
        """The text without the difference."""
        return re.sub(self.pattern, self.by, text, flags=re.MULTILINE) if re.search(self.command, command) else text


DIFFERENCES: tuple[Accepted, ...] = ()


def without_accepted(command: str, text: str) -> str:
    """The text with all accepted differences taken out."""
    for difference in DIFFERENCES:
        text = difference.apply(command, text)
    return text
