"""Linux capabilities: Docker's default set, ``CapAdd`` and ``CapDrop``, and what this machine can grant at all."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

KERNEL_ORDER = tuple(
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
        "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
        "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)
"""The name of each capability bit, from bit 0 up (capabilities(7))."""

DEFAULT = tuple(
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE"
    ).split()
)
"""What a container gets when nothing is said, as dockerd has it."""


def bounding_set(status: str) -> frozenset[str]:
    """The capabilities in the ``CapBnd`` line of a ``/proc/PID/status`` text."""
    found = re.search(r"^CapBnd:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return frozenset(name for bit, name in enumerate(KERNEL_ORDER) if bits >> bit & 1)


@functools.cache
def grantable() -> frozenset[str]:
    """What the engine itself may hand on: its own bounding set."""
    with open("/proc/self/status") as source:
        return bounding_set(source.read())


def _normal(name: str) -> str:
    upper = name.upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else "CAP_" + upper


def resolve(add: Sequence[str], drop: Sequence[str], *, privileged: bool, available: frozenset[str]) -> tuple[str, ...]:
    """The capabilities of a container.

    ``add`` and ``drop`` are names with or without ``CAP_``, or ``ALL``, already validated. What is not in ``available``
    is left out: the runtime would refuse the whole container for it.
    """
    everything = tuple(name for name in KERNEL_ORDER if name in available)
    if privileged:
        return everything
    added = [_normal(name) for name in add]
    dropped = {_normal(name) for name in drop}
    if "ALL" in added:
        names = [name for name in everything if name not in dropped]
    elif "ALL" in dropped:
        names = list(added)
    else:
        names = [name for name in (*DEFAULT, *added) if name not in dropped]
    return tuple(dict.fromkeys(name for name in names if name in available))
