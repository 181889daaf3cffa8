"""Pausing: the freezer of either cgroup version. Blocking for milliseconds: call in a thread."""

from __future__ import annotations

import time
from pathlib import Path

from controllers.containers import cgroups
from store.errors import EngineError


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
    while True:
        if unified:
            (place / "cgroup.freeze").write_text("1" if frozen else "0")
        else:
            # A process that forks while the freezer works through the group escapes it: ask again until all are caught.
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
