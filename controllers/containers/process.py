"""Processes named beyond doubt: a number alone may have been given to another process since."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import signal

from controllers.containers.waiting import readable


@functools.cache
def boot_id() -> str:
    """This boot's random id."""
    with open("/proc/sys/kernel/random/boot_id") as source:
        return source.read().strip()


def of_this_boot(noted: str) -> bool:
    """Whether what was noted with a boot's id (empty: none known) can still be so."""
    return not noted or noted == boot_id()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (field 22 of ``/proc/PID/stat``); 0 when it is gone or dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as source:
            fields = source.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def ending(pid: int) -> bool:
    """Whether a process is gone or on its way out (the kernel's PF_EXITING, field 9 of ``/proc/PID/stat``)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as source:
            return bool(int(source.read().rpartition(b")")[2].split()[6]) & 4)
    except OSError:
        return True


def same(pid: int, started: int) -> bool:
    """Whether ``pid`` is alive and the process that started at ``started``."""
    return pid > 0 and started > 0 and start_time(pid) == started


def open_namespace(pid: int, started: int, kind: str) -> int:
    """A descriptor of exactly that process' namespace (``mnt``, ``net`` …), to be closed. OSError when it is gone."""
    descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    if not same(pid, started):
        os.close(descriptor)
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(pid))
    return descriptor


def send(pid: int, started: int, number: int) -> bool:
    """Send a signal to exactly that process; False when it is gone. Safe against the number being reused meanwhile."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not same(pid, started):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


async def wait_gone(pid: int, started: int, timeout: float | None) -> bool:
    """Wait until exactly that process has ended; False when ``timeout`` seconds (None: for ever) were not enough."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    if not same(pid, started):
        os.close(descriptor)
        return True
    try:
        async with asyncio.timeout(timeout):
            await readable(descriptor)
        return True
    except TimeoutError:
        return False
    finally:
        os.close(descriptor)
