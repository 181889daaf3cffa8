"""Does the host hold what the engine's rows say, no more and no less?

Everything is read from outside: the API for what the engine says, /proc, /sys, netlink and nftables (through ``ip`` and
``nft``) for what is. A difference is one line of text that names the thing.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.layout import Layout

Call = Callable[[str], Any]


@dataclass(frozen=True)
class Auditor:
    """Audits one engine: ``get`` answers a GET path of its API as decoded JSON, ``pid`` is the daemon's."""

    layout: Layout
    pid: int
    get: Call

    def settled(self, seconds: float = 10.0) -> list[str]:
        """The differences that are still there after waiting for clean-up to end; empty when all is well."""
        deadline = time.monotonic() + seconds
        while True:
            differences = self.differences()
            if not differences or time.monotonic() > deadline:
                return differences
            time.sleep(0.1)

    def differences(self) -> list[str]:
        """Every difference between rows and host at this moment."""
        containers = self.get("/containers/json?all=1")
        running = {c["Id"] for c in containers if c["State"] in ("running", "paused")}
        everything = {c["Id"] for c in containers}
        found: list[str] = []
        # A container that has never run may have no directory yet.
        directories = children(self.layout.containers)
        found += compare("container directory", running | (everything & directories), directories)
        found += compare("bundle", running, children(self.layout.bundle("x").parent))
        found += compare("state of the runtime", running, children(self.layout.runtime_state))
        found += compare("exit file", set(), children(self.layout.exits))
        found += self._mounts(containers, running)
        found += compare("cgroup", running, self._cgroups())
        found += compare("monitor", running, self._monitors())
        namespaced = {c["Id"] for c in containers if c["Id"] in running and own_namespace(c)}
        found += compare("network namespace", namespaced, children(self.layout.namespaces))
        found += self._volumes()
        found += self._layers()
        found += self._links(containers, running)
        found += self._ports(containers)
        found += self._names(containers, running)
        found += compare("file of an exec", set(), self._exec_files())
        found += compare("zombie", set(), self._zombies())
        found += self._processes()
        return found

    def _names(self, containers: Iterable[dict[str, Any]], running: set[str]) -> list[str]:
        """What the name servers and the containers' own hosts files say, against the rows."""
        found: list[str] = []
        promised: dict[str, set[str]] = {}
        for container in containers:
            if container["Id"] not in running:
                continue
            name = container["Names"][0].removeprefix("/")
            hosts = lines(self.layout.container(container["Id"]) / "hosts")
            for network, endpoint in container["NetworkSettings"]["Networks"].items():
                address = endpoint["IPAddress"]
                if address and not any(line.startswith(address) for line in hosts):
                    found.append(f"hosts file of {name}: {address} missing")
                if address and network != "bridge":
                    promised.setdefault(endpoint["NetworkID"], set()).add(f"{address} {name}")
        for network in children(self.layout.names):
            there = {" ".join(line.split()[:2]) for line in lines(self.layout.names / network / "hosts")}
            found += compare("name", promised.get(network, set()), there)
        return found

    def _exec_files(self) -> set[str]:
        return {str(path) for path in self.layout.bundle("x").parent.glob("*/exec-*")}

    def _zombies(self) -> set[str]:
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                head, _, tail = stat.read_text(errors="replace").rpartition(")")
            except OSError:
                continue
            state, parent, *_ = tail.split()
            if state == "Z" and int(parent) == self.pid:
                found.add(head)
        return found

    def _mounts(self, containers: Iterable[dict[str, Any]], running: set[str]) -> list[str]:
        layout = self.layout
        wanted = {str(layout.merged(uid)) for uid in running}
        for container in containers:
            if container["Id"] not in running:
                continue
            if own_namespace(container):
                wanted.add(str(layout.namespaces / container["Id"]))
            inspected = self.get(f"/containers/{container['Id']}/json")
            if inspected["HostConfig"]["IpcMode"] == "shareable":
                wanted.add(str(layout.container(container["Id"]) / "shm"))
            names = [mount["Name"] for mount in container["Mounts"] if mount["Type"] == "volume"]
            wanted |= {str(layout.volume_data(name)) for name in names if self.get(f"/volumes/{name}")["Options"]}
        places = [line.split()[4] for line in lines(Path(f"/proc/{self.pid}/mountinfo"))]
        ours = [place for place in places if place.startswith((f"{layout.data_root}/", f"{layout.exec_root}/"))]
        twice = {f"{place} (twice)" for place in ours if ours.count(place) > 1}
        return compare("mount", wanted, {*ours, *twice})

    def _processes(self) -> list[str]:
        """Helpers of a daemon that is dead, and name servers of networks that are gone."""
        servers = {network["Id"] for network in self.get("/networks") if network["Driver"] == "bridge"}
        servers -= {network["Id"] for network in self.get("/networks") if network["Name"] == "bridge"}
        found: list[str] = []
        serving: list[str] = []
        for pid in self._neighbours():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
                parent = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except OSError:
                continue
            name = os.path.basename(words[0])
            if name == "dnsmasq":
                serving += [Path(word).parent.name for word in words if word.startswith("--pid-file=")]
            elif name.startswith(("python", "runc", "crun")) and self.pid not in (pid, parent):
                found.append(f"process unexplained: {pid} {' '.join(words)[:120]}")
        found += compare("name server", servers, set(serving))
        return found + [f"name server twice: {network}" for network in set(serving) if serving.count(network) > 1]

    def _neighbours(self) -> Iterable[int]:
        """The processes in the daemon's mount namespace."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/mnt")
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/mnt") == namespace:
                    yield int(pid)
            except OSError:
                continue

    def _cgroups(self) -> set[str]:
        names: set[str] = set()
        for top in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            names |= {name for name in children(top / self.layout.cgroup) if len(name) == 64}
        return names

    def _monitors(self) -> set[str]:
        mark = os.fsencode(self.layout.exec_root)
        ids: set[str] = set()
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if (
                os.path.basename(words[0]) == b"conmon"
                and any(mark in word for word in words)
                and b"--exec" not in words
            ):
                index = next((i for i, word in enumerate(words) if word in (b"-c", b"--cid")), None)
                if index is not None and b"--exec-attach" not in words and b"-e" not in words:
                    ids.add(words[index + 1].decode())
        return ids

    def _volumes(self) -> list[str]:
        volumes = {volume["Name"] for volume in self.get("/volumes")["Volumes"] or ()}
        return compare("volume directory", volumes, children(self.layout.volumes))

    def _layers(self) -> list[str]:
        promised: set[str] = set()
        for image in self.get("/images/json?all=1"):
            data = self.get(f"/images/{image['Id']}/json")["GraphDriver"]["Data"]
            for path in [data.get("UpperDir", ""), *data.get("LowerDir", "").split(":")]:
                if path:
                    promised.add(Path(path).parent.name)
        return compare("layer directory", promised, children(self.layout.layers))

    def _links(self, containers: Iterable[dict[str, Any]], running: set[str]) -> list[str]:
        links = [link["ifname"] for link in self._netns("ip", "-j", "link")]
        ours = [name for name in links if name.startswith(self.layout.prefix)]
        bridges = {
            network["Options"].get("com.docker.network.bridge.name", "") or network["Id"]
            for network in self.get("/networks")
            if network["Driver"] == "bridge"
        }
        endpoints = sum(
            1
            for container in containers
            if container["Id"] in running
            for endpoint in container["NetworkSettings"]["Networks"].values()
            if endpoint["IPAddress"]
        )
        if len(ours) != endpoints + len(bridges):
            return [f"links: {sorted(ours)} there, {endpoints} endpoints and {len(bridges)} bridges promised"]
        return []

    def _ports(self, containers: Iterable[dict[str, Any]]) -> list[str]:
        promised = {
            (port["Type"], port["PublicPort"]) for c in containers for port in c["Ports"] if "PublicPort" in port
        }
        table = self._netns("nft", "-j", "list", "table", "ip", self.layout.table)
        there: set[tuple[str, int]] = set()
        for entry in table["nftables"]:
            if "map" not in entry:
                continue
            for element in entry["map"].get("elem", ()):
                there |= set(port_of(entry["map"]["name"], element))
        return compare("published port", {f"{p}/{n}" for p, n in promised}, {f"{p}/{n}" for p, n in there})

    def _netns(self, *command: str) -> Any:
        answer = subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command], capture_output=True, check=True, timeout=30
        )
        return json.loads(answer.stdout or b"[]")


def port_of(name: str, element: Any) -> Iterable[tuple[str, int]]:
    """The protocol and host port that a map element stands for."""
    key = element[0]
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    protocol = next((p for p in parts if p in ("tcp", "udp")), "udp" if "udp" in name else "tcp")
    yield from ((protocol, part) for part in parts if isinstance(part, int))


def own_namespace(container: dict[str, Any]) -> bool:
    """Whether a listed container has a network namespace of its own."""
    mode: str = container["HostConfig"]["NetworkMode"]
    return mode != "host" and not mode.startswith("container:")


def lines(file: Path) -> list[str]:
    """A file's lines; none when it is not there."""
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []


def children(directory: Path) -> set[str]:
    """The names in a directory; none when it is not there, or lies in what is a file."""
    try:
        return set(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def compare(what: str, promised: set[str], there: set[str]) -> list[str]:
    """One line for each thing that is missing or in excess."""
    return [f"{what} missing: {name}" for name in sorted(promised - there)] + [
        f"{what} unexplained: {name}" for name in sorted(there - promised)
    ]
