"""An engine to break, and what a stranger with root could break of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.engine import Engine
from tests.support.surroundings import ADDRESS

NAME, VOLUME, NETWORK = "victim", "scratch", "named"
MEMORY = 64 << 20
HIERARCHIES = Path("/sys/fs/cgroup")
SERVE = "echo kept > /data/file; while true; do echo served | nc -l -p 80; done"


def eventually(condition: Callable[[], Any], what: str, within: float = 20) -> Any:
    """What ``condition`` returns, once that is true."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(0.02)
    return found


@dataclass
class Victim:
    """An engine with a container that has a port, a tmpfs volume, shared memory and a memory limit, on the default
    bridge, and a user-defined network with another one."""

    engine: Engine

    def populate(self) -> None:
        """Make all that can be broken."""
        docker = self.engine.docker
        docker("network", "create", NETWORK)
        docker("volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=1m", VOLUME)
        options = f"-d --name {NAME} -p 8080:80 -v {VOLUME}:/data -m {MEMORY} --ipc shareable busybox sh -c"
        self.engine.run(*options.split(), SERVE)
        self.engine.run("-d", "--name", "known", "--network", NETWORK, "busybox", "sleep", "1000")
        self.engine.run("-d", "--name", "alone", "--network", "none", "busybox", "sleep", "1000")
        self.engine.run("--name", "ended", "busybox", "touch", "/left")

    @property
    def uid(self) -> str:
        """The victim's id."""
        return str(self.engine.inspect(NAME)["Id"])

    @property
    def pid(self) -> int:
        """The victim's first process."""
        return int(self.engine.inspect(NAME)["State"]["Pid"])

    def words(self, command: str) -> str:
        """A command with the names of this engine's things."""
        layout, uid = self.engine.layout, self.uid
        links = self.engine.surroundings.run("ip", "-br", "link").stdout.split()
        link = self.engine.inspect(NAME)["NetworkSettings"]["Networks"]["bridge"]["MacAddress"]
        network = self.engine.docker("network", "inspect", "-f", "{{.Id}}", NETWORK).out.strip()
        server = layout.names / network / "pid"
        return command.format(
            bridge=f"{layout.prefix}b0",
            table=layout.table,
            veth=self._veth(links, link),
            root=layout.merged(uid),
            volume=layout.volume_data(VOLUME),
            namespace=layout.namespaces / uid,
            alone=layout.namespaces / self.engine.inspect("alone")["Id"],
            memory=layout.container(uid) / "shm",
            cgroup=f"{layout.cgroup}/{uid}",
            conmon=parent_of(self.pid),
            server=server.read_text().strip() if server.exists() else "",
        )

    def _veth(self, links: list[str], inner: str) -> str:
        ours = [name.partition("@")[0] for name in links if name.startswith(f"{self.engine.layout.prefix}v")]
        bridge = f"{self.engine.layout.prefix}b0"
        shown = self.engine.surroundings.run("bridge", "-j", "fdb", "show", "br", bridge).stdout
        ports = {entry["ifname"] for entry in json.loads(shown or "[]") if entry["mac"] == inner}
        return next(name for name in ours if not ports or name in ports)

    def damage(self, command: str, inside: bool) -> int:
        """Run a shell command on the engine's host, or in the network of the victim; when, in ns since the epoch."""
        into = [f"--target={self.pid}", "--net"] if inside else [f"--target={self.engine.surroundings.holder}"]
        into += [] if inside else ["--net", "--mount"]
        script = f"date +%s%N; {self.words(command)}"
        return int(self.engine.surroundings.run("nsenter", *into, "sh", "-ec", script).stdout.split()[0])

    def answers(self) -> bool:
        """Whether the published port leads into the container."""
        probe = self.engine.surroundings.run_outside("busybox", "nc", "-w", "1", ADDRESS, "8080", check=False)
        return probe.stdout == "served\n"

    def works(self) -> bool:
        """Whether the container can be entered and copied from, and its volume has what it had, here and there."""
        entered = self.engine.docker("exec", NAME, "cat", "/data/file", check=False)
        copied = self.engine.docker("cp", f"{NAME}:/bin/busybox", "-", check=False)
        seen = self.engine.surroundings.run("cat", str(self.engine.layout.volume_data(VOLUME) / "file"), check=False)
        return entered.out == seen.stdout == "kept\n" and copied.code == 0

    def limited(self) -> bool:
        """Whether all its processes are in its cgroups, and these have their limits."""
        cgroup = f"{self.engine.layout.cgroup}/{self.uid}"
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        if any(line.split(":", 2)[2] != f"/{cgroup}" for line in lines):
            return False
        limits = [HIERARCHIES / "memory" / cgroup / "memory.limit_in_bytes", HIERARCHIES / cgroup / "memory.max"]
        rules = HIERARCHIES / "devices" / cgroup / "devices.list"
        free = rules.exists() and "a *:* rwm" in rules.read_text()
        return not free and [int(place.read_text()) for place in limits if place.exists()] == [MEMORY]

    def resolves(self) -> bool:
        """Whether names resolve on the user-defined network."""
        return self.engine.docker("exec", "known", "nslookup", "known", check=False).code == 0

    def repairs(self) -> list[Any]:
        """All repairs in ``/events``."""
        path = f"/events?since=1&until={int(time.time()) + 1}"
        lines = self.engine.request("GET", path).body.splitlines()
        return [event for event in map(json.loads, lines) if event["Action"].startswith("repair: ")]

    def counted(self, kind: str, reason: str) -> float:
        """What the metric says."""
        wanted = f'wharfinger_drift_repairs_total{{kind="{kind}",reason="{reason}"}} '
        return sum(float(line.removeprefix(wanted)) for line in self.engine.metrics().splitlines() if wanted in line)


def parent_of(pid: int) -> int:
    """A process' parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
