"""Places where the daemon can be made to die, so that tests can kill it between any two steps."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_ARMED = os.environ.get("WHARFINGER_CRASH_AT", "")


def crashpoint(name: str) -> None:
    """Dies by SIGKILL, as a power cut would have it, if the environment variable WHARFINGER_CRASH_AT is ``name``.

    The variable may also be ``@`` and a file's path: then the file's content is the name, and may change while the
    daemon runs. Otherwise nothing happens. Names are literals of lower-case words joined by dots and underscores, so
    that a test finds them all in the source.
    """
    if _ARMED and _armed_name() == name:
        os.kill(os.getpid(), signal.SIGKILL)


def _armed_name() -> str:
    if not _ARMED.startswith("@"):
        return _ARMED
    try:
        return Path(_ARMED[1:]).read_text().strip()
    except FileNotFoundError:
        return ""
