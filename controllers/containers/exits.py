"""How containers end: conmon writes a file named like the container, its text the exit code, its time the moment.

Noticed by inotify while the engine runs, read from the directory when it starts: nothing that ended meanwhile is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controllers import inotify
from controllers.containers import cgroups
from controllers.layout import Layout


@dataclass(frozen=True)
class Exit:
    """One end. ``code`` as a shell shows it (128 + signal), ``at`` in nanoseconds since the epoch."""

    uid: str
    code: int
    at: int
    oom_killed: bool


class ExitWatcher:
    """Calls ``on_exit`` with a container's uid, on the event loop, soon after its exit file is complete."""

    def __init__(self, layout: Layout, on_exit: Callable[[str], None]) -> None:
        self._layout = layout
        self._on_exit = on_exit
        self._inotify: inotify.Inotify | None = None

    async def start(self) -> None:
        """Begin to watch; those that ended before are reported at once. OSError where inotify has no more to give."""
        self._layout.exits.mkdir(parents=True, exist_ok=True)
        self._inotify = inotify.Inotify(self._event)
        self._inotify.add(self._layout.exits, inotify.CLOSE_WRITE | inotify.MOVED_TO | inotify.ONLY_DIRECTORY)
        self._report_all()

    async def stop(self) -> None:
        """Watch no longer."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _report_all(self) -> None:
        for name in sorted(os.listdir(self._layout.exits)):
            self._report(name)

    def _report(self, name: str) -> None:
        # conmon writes NAME.XXXXXX first and renames it.
        if "." not in name:
            self._on_exit(name)

    def _event(self, _: Path, mask: int, name: str) -> None:
        if mask & inotify.OVERFLOW:
            self._report_all()
        elif name:
            self._report(name)

    def read(self, uid: str) -> Exit | None:
        """A container's end, or None while it has not ended (or was never ours)."""
        path = self._layout.exits / uid
        try:
            with open(path, "rb") as source:
                text, at = source.read(64).strip(), os.fstat(source.fileno()).st_mtime_ns
        except OSError:
            return None
        if not text.removeprefix(b"-").isdigit():
            return None
        return Exit(uid, int(text), at, self._out_of_memory(uid))

    def _out_of_memory(self, uid: str) -> bool:
        bundle = self._layout.bundle(uid)
        if (bundle / "oom").exists():
            return True
        # conmon may meet the end before the kernel's notice; the cgroup, which is still there, has counted.
        try:
            cgroup = json.loads((bundle / "identity").read_bytes())["cgroup"]
        except (OSError, ValueError, KeyError):
            return False
        return cgroups.oom_kills(cgroup) > 0

    def forget(self, uid: str) -> None:
        """Take a container's exit file away, before it is started anew."""
        (self._layout.exits / uid).unlink(missing_ok=True)
