"""The machine's death, as far as it can be had without a machine: all that lives or is in memory is gone.

What of the disk's writes is lost with it is for ``disk``, and for a real machine: ``tests/machine``.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from pathlib import Path

from tests.support.engine import Engine

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def die(engine: Engine, *, exec_root_stays: bool = False) -> None:
    """End everything of the engine at once: processes, mounts, namespaces, links, rules, cgroups, and the exec root.

    The next daemon finds itself in another boot. ``exec_root_stays``: it was on a disk instead of a tmpfs.
    """
    engine.kill9()
    _thaw(engine)
    engine.surroundings.kill_processes(engine.strays)
    _unmount(engine)
    if not exec_root_stays:
        shutil.rmtree(engine.exec_root)
    _forget_network(engine)
    engine.remove_cgroups()
    _boot_anew(engine)


def _thaw(engine: Engine) -> None:
    for top in engine.cgroups():
        for file in (*top.rglob("freezer.state"), *top.rglob("cgroup.freeze")):
            with contextlib.suppress(OSError):
                file.write_text("THAWED" if file.name == "freezer.state" else "0")


def _unmount(engine: Engine) -> None:
    deadline = time.monotonic() + 20
    while ours := _mounted(engine):
        # The last processes of a mount namespace take a moment to let go of it.
        assert time.monotonic() < deadline, ours
        engine.surroundings.run("umount", *reversed(ours), check=False)
        time.sleep(0.02)


def _mounted(engine: Engine) -> list[str]:
    mounts = engine.surroundings.run("cat", "/proc/self/mounts").stdout.splitlines()
    places = [line.split()[1] for line in mounts]
    return [place for place in places if place.startswith(f"{engine.directory}/")]


def _forget_network(engine: Engine) -> None:
    links = engine.surroundings.run("ip", "-brief", "link").stdout.splitlines()
    for name in (line.split()[0].partition("@")[0] for line in links):
        if name.startswith(engine.layout.prefix):
            engine.surroundings.run("ip", "link", "delete", name, check=False)
    engine.surroundings.run("nft", "flush", "ruleset")


def _boot_anew(engine: Engine) -> None:
    note = Path(engine.directory / "boot_id")
    mounted = note.exists()
    note.write_text(f"{uuid.uuid4()}\n")
    if not mounted:
        engine.surroundings.run("mount", "--bind", str(note), BOOT_ID)
