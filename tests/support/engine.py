"""Our engine as a user would start it: the installed command, in surroundings of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from controllers.layout import Layout
from tests.support.daemon import Daemon

METRICS_ADDRESS = "127.0.0.1:9323"


class Engine(Daemon):
    """``wharfinger serve``."""

    def __init__(self) -> None:
        super().__init__("wh")

    def command(self) -> list[str]:
        """The installed command of the environment that runs the tests."""
        return [
            str(Path(sys.executable).parent / "wharfinger"),
            "serve",
            f"--data-root={self.data_root}",
            f"--exec-root={self.exec_root}",
            f"--socket-path={self.socket_path}",
            f"--pidfile={self.directory / 'wharfinger.pid'}",
            f"--metrics-address={METRICS_ADDRESS}",
        ]

    @property
    def layout(self) -> Layout:
        """Where its things are."""
        return Layout(self.data_root, self.exec_root)

    def metrics(self) -> str:
        """The live ``/metrics``."""
        return self.surroundings.run("busybox", "wget", "-q", "-O", "-", f"http://{METRICS_ADDRESS}/metrics").stdout

    def strays(self) -> Iterator[int]:
        """What is in its cgroups: a container whose monitor was killed is nobody's child."""
        for top in self.cgroups():
            for file in (top / "cgroup.procs", *top.rglob("cgroup.procs")):
                with contextlib.suppress(OSError):
                    yield from map(int, file.read_text().split())

    def close(self) -> None:
        """As for any daemon, and the cgroups are removed."""
        super().close()
        self.remove_cgroups()

    def remove_cgroups(self) -> None:
        """Remove its cgroups, which nothing is in any more."""
        for top in self.cgroups():
            below = (path for path in top.rglob("*") if path.is_dir())
            for directory in (*sorted(below, reverse=True), top):
                with contextlib.suppress(OSError):
                    directory.rmdir()

    def cgroups(self) -> Iterator[Path]:
        """The parents of its containers' cgroups, one in each hierarchy."""
        for top in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
            if (mine := top / self.layout.cgroup).is_dir():
                yield mine
