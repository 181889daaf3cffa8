"""A disk of the engine's own, whose power can be cut: what had not reached it is lost, what had is there.

A file system in a file, shut down as the file systems' own tests do it: nothing goes to the disk any more, neither data
nor journal, as if it had lost its power in that moment.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from tests.integration.crash import boot
from tests.support.engine import Engine

SIZE = "1G"
EXT4_IOC_SHUTDOWN = 0x8004587D
AT_ONCE = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH"""


def plug_in(engine: Engine) -> None:
    """Put the engine's data root, before its first start, on a new disk. AssertionError where that is not possible."""
    image = engine.directory / "disk"
    subprocess.run(["truncate", f"--size={SIZE}", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    engine.data_root.mkdir()
    _mount(engine)


def _mount(engine: Engine) -> None:
    engine.surroundings.run("mount", "-o", "loop", str(engine.directory / "disk"), str(engine.data_root))


def _freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while any(_state(task) not in "Tt" for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, "the daemon does not stop"
        time.sleep(0.001)


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def cut_power(engine: Engine) -> None:
    """Cut the power of the disk and of the machine in one moment; the next start of the engine is after a boot."""
    # It must not promise anything when nothing can be kept any more.
    _freeze(engine.pid)
    disk = os.open(f"/proc/{engine.surroundings.holder}/root{engine.data_root}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(disk, EXT4_IOC_SHUTDOWN, struct.pack("I", AT_ONCE))
    finally:
        os.close(disk)
    boot.die(engine)
    _mount(engine)
