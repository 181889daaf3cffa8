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


def monitor_of(pid: int, uid: str) -> int:
    """The conmon that watches a container's first process, which is its parent; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as source:
            parent = int(source.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0
    return parent if is_monitor(parent, uid) else 0
