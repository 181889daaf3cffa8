"""Pausing: the freezer of either cgroup version. Blocking for milliseconds: call in a thread."""

from __future__ import annotations

import time
from pathlib import Path

from controllers.containers import cgroups
from store.errors import EngineError

THAW_EVERY = 50


def freeze(path: str, timeout: float = 10) -> None:
    """Stop every process in cgroup ``path``.

    EngineError when one does not within ``timeout`` seconds; then all run on.
    """
    if not _switch(path, frozen=True, timeout=timeout):
        _switch(path, frozen=False, timeout=timeout)
        raise EngineError("unable to freeze")


def thaw(path: str, timeout: float = 10) -> None:
    """Let them run on; idempotent. EngineError when they do not."""
    if not _switch(path, frozen=False, timeout=timeout):
        raise EngineError("unable to thaw")


def _switch(path: str, *, frozen: bool, timeout: float) -> bool:
    unified = cgroups.version() == 2
    place = cgroups.directory("freezer", path)
    if place is None or not place.is_dir():
        raise EngineError("cgroup freezer is not available")
    deadline = time.monotonic() + timeout
    attempts = 0
    while True:
        attempts += 1
        if unified:
            (place / "cgroup.freeze").write_text("1" if frozen else "0")
        else:
            # A process that forks while the freezer works through the group escapes it: ask again until all are caught.
            if frozen and attempts % THAW_EVERY == 0:
                # Now and then one stays half frozen until it has run again (runc does the same).
                (place / "freezer.state").write_text("THAWED")
                time.sleep(0.01)
            (place / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
        if _is_frozen(place, unified) == frozen:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)


def _is_frozen(place: Path, unified: bool) -> bool:
    if unified:
        return "frozen 1" in (place / "cgroup.events").read_text()
    return (place / "freezer.state").read_text().strip() == "FROZEN"


def is_frozen(path: str) -> bool:
    """Whether cgroup ``path`` is frozen; no for one that is gone."""
    place = cgroups.directory("freezer", path)
    try:
        return place is not None and _is_frozen(place, cgroups.version() == 2)
    except OSError:
        return False
