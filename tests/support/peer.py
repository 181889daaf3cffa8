"""The real dockerd, out of Debian's package, to compare with; in the same kind of surroundings as our engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.tools import program


class Peer(Daemon):
    """``dockerd``, with the containerd that it starts for itself."""

    def __init__(self) -> None:
        super().__init__("peer")
        # dockerd reads the first and containerd fills the second, whatever the flags say.
        for directory in ("/etc/docker", "/run/docker"):
            self.surroundings.run("mkdir", "-p", directory)
            self.surroundings.run("mount", "-t", "tmpfs", "none", directory)

    def command(self) -> list[str]:
        """With all its paths inside of ``directory``."""
        return [
            program("dockerd"),
            f"--data-root={self.data_root}",
            f"--exec-root={self.exec_root}",
            f"--host={self.address}",
            f"--pidfile={self.directory / 'docker.pid'}",
            "--storage-driver=overlay2",
        ]

    def strays(self) -> Iterator[int]:
        """Containers' processes whose shim is gone: known by a cgroup named after a container of this data root."""
        known = {path.name for path in (self.data_root / "containers").glob("*")}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    text = Path(entry.path, "cgroup").read_text()
                except OSError:
                    continue
                if any(f"/docker/{container}" in text for container in known):
                    yield int(entry.name)
