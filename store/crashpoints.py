"""Places where the daemon can be made to die, so that tests can kill it between any two steps."""

from __future__ import annotations

import os
import signal


def crashpoint(name: str) -> None:
    """Dies by SIGKILL, as a power cut would have it, if the environment variable WHARFINGER_CRASH_AT is ``name``.

    Otherwise nothing happens. Names are literals of lower-case words joined by dots and underscores, so that a test
    finds them all in the source.
    """
    if os.environ.get("WHARFINGER_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
