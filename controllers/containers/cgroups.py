"""Control groups: which version this host has, where a container's are, and the few writes that are ours to do."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from controllers.layout import Layout
from store.objects.containers import Container

MOUNT = Path("/sys/fs/cgroup")
UNIFIED = "unified"
"""The name under which a hybrid host's version 2 hierarchy is listed: it manages nothing, but the runtime uses it."""


@functools.cache
def version() -> int:
    """2 where the unified hierarchy is mounted alone, else 1 (hybrid hosts manage their controllers by version 1)."""
    return 2 if (MOUNT / "cgroup.controllers").exists() else 1


@functools.cache
def hierarchies() -> dict[str, Path]:
    """The mount point of each version 1 hierarchy by controller name; on version 2 the one under the empty name."""
    if version() == 2:
        return {"": MOUNT}
    found: dict[str, Path] = {}
    with open("/proc/self/mountinfo") as source:
        for line in source:
            head, _, tail = line.partition(" - ")
            kind, _, options = tail.split()[:3]
            place = Path(head.split()[4])
            if kind == "cgroup2":
                found.setdefault(UNIFIED, place)
            if kind != "cgroup":
                continue
            for option in options.split(","):
                named = option.startswith("name=") or "=" not in option
                if named and option not in ("rw", "ro", "xattr", "clone_children", "noprefix"):
                    found.setdefault(option, place)
    return found


def path_of(container: Container, layout: Layout) -> str:
    """A container's cgroup, absolute below each hierarchy's root."""
    parent = container.spec.host.cgroup_parent or layout.cgroup
    return f"/{parent.strip('/')}/{container.uid}"


def directory(controller: str, path: str) -> Path | None:
    """The directory of cgroup ``path`` in a controller's hierarchy; None where the host lacks the controller."""
    place = hierarchies().get("" if version() == 2 else controller)
    return place / path.lstrip("/") if place else None


def directories(path: str) -> Iterator[Path]:
    """The directories of cgroup ``path`` in all hierarchies, each once."""
    for place in dict.fromkeys(hierarchies().values()):
        yield place / path.lstrip("/")


def processes(path: str) -> list[int]:
    """The processes in a cgroup and those below it; empty when it is gone."""
    top = next((found for name in ("", "pids", "freezer") if (found := directory(name, path))), None)
    numbers: list[int] = []
    for place, _, _ in os.walk(top) if top else ():
        try:
            numbers += [int(line) for line in Path(place, "cgroup.procs").read_text().split()]
        except OSError:
            continue
    return sorted(set(numbers))


def make(place: Path) -> None:
    """Make a cgroup's directory, and those above it, ready for processes; nothing happens when it is there. OSError."""
    if place.is_dir():
        return
    make(place.parent)
    if version() == 2:
        for controller in (place.parent / "cgroup.controllers").read_text().split():
            # A controller that cannot be had here is none that the runtime could have given.
            with contextlib.suppress(OSError):
                (place.parent / "cgroup.subtree_control").write_text(f"+{controller}")
    place.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        # On version 1 a group without them takes no process.
        if version() == 1 and (place / name).exists() and not (place / name).read_text().strip():
            (place / name).write_text((place.parent / name).read_text())


def remove(path: str) -> bool:
    """Remove an empty cgroup from all hierarchies; False where something keeps it (processes, nested groups)."""
    for place in directories(path):
        try:
            os.rmdir(place)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def prime() -> None:
    """Make the next move of a process into a cgroup quick. Blocks for some milliseconds: call it in a thread.

    The first write to any ``cgroup.procs`` after a pause waits for an RCU grace period; the ones after it, for a
    while, do not. Writing our own number where we are already moves nothing and takes that wait, while the runtime is
    still starting. On version 2 with its one write it does not pay.
    """
    if version() == 2:
        return
    own = own_cgroup("pids")
    if own is None:
        return
    try:
        descriptor = os.open(own / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(descriptor, b"0")
    except OSError:
        return
    finally:
        os.close(descriptor)


@functools.cache
def own_cgroup(controller: str) -> Path | None:
    """The directory of the cgroup that the engine itself is in."""
    with open("/proc/self/cgroup") as source:
        for line in source:
            _, names, path = line.rstrip("\n").split(":", 2)
            if controller in names.split(","):
                return directory(controller, path)
    return None


def oom_kills(path: str) -> int:
    """How many processes the kernel has killed in a cgroup for want of memory; 0 when unknown."""
    place = directory("memory", path)
    names = ("memory.events",) if version() == 2 else ("memory.oom_control",)
    for name in names:
        try:
            text = (place / name).read_text() if place else ""
        except OSError:
            return 0
        for line in text.splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0
