"""A running container's cgroups made anew after somebody has moved its processes out and removed them.

Which there must be, and how the processes come back in; limits are the runtime's to give, device rules are
``device_filter``'s. What the kernel had counted in the old ones (time, memory in use) is gone with them. Blocking; run
in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from controllers.containers import cgroups

ROUNDS = 5
"""How often to look for processes that were forked while the others were moved."""


class _State(msgspec.Struct):
    cgroup_paths: dict[str, str] = {}


def directories(state: Path, cgroup: str) -> list[Path]:
    """The cgroup directories that the runtime made for a container, by its ``state.json``; where it is silent, those
    that there must be. Nothing for a container that is not there."""
    if not state.parent.is_dir():
        return []
    found = _read(state)
    if found is not None and found.cgroup_paths:
        return [Path(path) for path in dict.fromkeys(found.cgroup_paths.values())]
    place = cgroups.directory("", cgroup)
    return [place] if place is not None else []


def strayed(places: Sequence[Path], pid: int) -> list[Path]:
    """Those cgroups that a process is not in, nor below: they, or it, are gone. Nothing when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    current = set()
    for line in lines:
        _, names, path = line.split(":", 2)
        name = "" if cgroups.version() == 2 else names.partition(",")[0] or cgroups.UNIFIED
        if (place := cgroups.directory(name, path)) is not None:
            current |= {place, *place.parents}
    return [place for place in places if place not in current]


def _read(state: Path) -> _State | None:
    try:
        return msgspec.json.decode(state.read_bytes(), type=_State)
    except (OSError, msgspec.DecodeError):
        return None


def enter(places: Sequence[Path], pid: int, cgroup: str, *, own_pids: bool) -> None:
    """Move a container's processes into new cgroups. ``own_pids``: it has a pid namespace that is nobody else's."""
    for _ in range(ROUNDS):
        moved = False
        for number in _members(pid, cgroup, own_pids):
            for place in places:
                moved = _move(number, place) or moved
        if not moved:
            return


def _move(number: int, place: Path) -> bool:
    procs = place / "cgroup.procs"
    if str(number) in procs.read_text().split():
        return False
    with contextlib.suppress(ProcessLookupError):
        procs.write_text(str(number))
    return True


def _members(pid: int, cgroup: str, own_pids: bool) -> set[int]:
    """The processes of a container: what its other cgroups hold, what descends from its first process, and what is in
    its pid namespace; not what is in another container's cgroups, which may share this one's namespaces."""
    found = {pid}
    for top in cgroups.directories(cgroup):
        for place, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                found.update(map(int, Path(place, "cgroup.procs").read_text().split()))
    parents = dict(_parents())
    namespace = _namespace(pid) if own_pids else None
    if namespace is not None:
        found.update(number for number in parents if _namespace(number) == namespace)
    while more := {number for number, parent in parents.items() if parent in found} - found:
        found |= more
    return {number for number in found if not _elsewhere(number, cgroup)}


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                text = Path("/proc", name, "stat").read_text(errors="replace")
                yield int(name), int(text.rpartition(")")[2].split()[1])


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _elsewhere(pid: int, cgroup: str) -> bool:
    parent = os.path.dirname(cgroup)
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return True
    paths = [line.split(":", 2)[2] for line in lines]
    return any(path.startswith(f"{parent}/") and not path.startswith(cgroup) for path in paths)
