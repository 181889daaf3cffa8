"""Whether a container's monitor is at its post."""

from __future__ import annotations


def is_monitor(pid: int, uid: str) -> bool:
    """Whether ``pid`` is alive and the conmon of this container: its command line names it."""
    if pid <= 0:
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as source:
            words = source.read().split(b"\0")
    except OSError:
        return False
    # A zombie's command line is empty.
    return b"conmon" in words[0] and uid.encode() in words
