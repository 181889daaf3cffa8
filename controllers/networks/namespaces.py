"""Network namespaces: each a bind mount named like its container, made and entered by threads that end afterwards.

A thread that changed its namespace is never reused: what runs on it next would act in the wrong one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MNT_DETACH = 0x1000, 2


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


async def on_own_thread(work: Callable[[], T]) -> T:
    """Run ``work`` on a thread made for it alone. If the caller is cancelled, the work still ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as failure:
            error = failure
        # The loop may have closed meanwhile; then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name="network", daemon=True).start()
    return await future


def unshare_here(path: Path) -> None:
    """Give this thread a new network namespace and keep it as a bind mount at ``path`` (network_namespaces(7)).

    The file must be made by us; call from a thread that ends afterwards. Raises OSError.
    """
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
    source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    _checked(_libc.mount(source.encode(), os.fsencode(path), None, _MS_BIND, None), str(path))


def enter_here(path: Path) -> None:
    """Move this thread into the namespace at ``path``; call from a thread that ends afterwards. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(descriptor, _CLONE_NEWNET), str(path))
    finally:
        os.close(descriptor)


def remount(path: Path, pid: int) -> bool:
    """Mount the namespace that a process is in at ``path`` again; whether it was not there. Raises OSError."""
    if exists(path):
        return False
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.touch(0o444)
    _checked(_libc.mount(f"/proc/{pid}/ns/net".encode(), os.fsencode(path), None, _MS_BIND, None), str(path))
    return True


def drop(path: Path) -> None:
    """Remove the mount and its file; without processes in it, the kernel then removes the namespace and what is in it.
    Not there is fine."""
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOENT):
        raise OSError(code, os.strerror(code), str(path))
    path.unlink(missing_ok=True)


def exists(path: Path) -> bool:
    """Whether a namespace (not just its empty file) is at ``path``."""
    try:
        return os.stat(path).st_dev != os.stat(path.parent).st_dev
    except FileNotFoundError:
        return False
