"""What somebody else breaks on the host is mended, counted and told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.engine import Engine
from tests.support.surroundings import ADDRESS

pytestmark = pytest.mark.host


@dataclass
class Victim:
    """An engine with a container that has a port, on the default bridge and a user-defined network."""

    engine: Engine

    def words(self, command: str) -> str:
        """The command with the names of this engine's things."""
        endpoints = self.engine.surroundings.run("ip", "-br", "link").stdout.split()
        prefix = self.engine.layout.prefix
        veth = next(name.partition("@")[0] for name in endpoints if name.startswith(f"{prefix}v"))
        return command.format(bridge=f"{prefix}b0", table=self.engine.layout.table, veth=veth)

    def answers(self) -> bool:
        """Whether the published port leads into the container."""
        probe = self.engine.surroundings.run_outside("busybox", "nc", "-w", "1", ADDRESS, "8080", check=False)
        return probe.stdout == "served\n"

    def repairs(self) -> list[Any]:
        """All repairs in ``/events``."""
        path = f"/events?since=1&until={int(time.time()) + 1}"
        lines = self.engine.request("GET", path).body.splitlines()
        return [event for event in map(json.loads, lines) if event["Action"].startswith("repair: ")]


@pytest.fixture(scope="module")
def victim(module_engine: Engine) -> Victim:
    serve = "while true; do echo served | nc -l -p 80; done"
    module_engine.run("-d", "--name", "victim", "-p", "8080:80", "busybox", "sh", "-c", serve)
    return Victim(module_engine)


def wait(condition: Any, within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("damage", "reason", "inside"),
    [
        ("ip link delete {bridge}", "bridge missing", False),
        ("ip link set {bridge} down", "bridge down", False),
        ("ip address flush dev {bridge}", "bridge address missing", False),
        ("ip route delete 172.17.0.0/16", "bridge route missing", False),
        ("nft flush ruleset", "nftables table", False),
        ("nft delete table ip {table}", "nftables table", False),
        ("nft flush chain ip {table} postrouting", "nftables rules", False),
        ("nft flush map ip {table} ports_any", "nftables ports", False),
        ("nft flush set ip {table} bridges", "nftables sets", False),
        ("sysctl -w net.ipv4.ip_forward=0", "ip_forward off", False),
        ("ip link delete {veth}", "interface missing", False),
        ("ip link set {veth} nomaster", "interface unplugged", False),
        ("ip address flush dev eth0", "address missing", True),
        ("ip route delete default", "route missing", True),
        ("ip link set eth0 down", "interface down", True),
        ("ip link delete eth0", "interface missing", True),
    ],
)
def test_damage_is_mended_without_a_restart(victim: Victim, damage: str, reason: str, inside: bool) -> None:
    assert wait(victim.answers), "did not answer before"
    pid = victim.engine.inspect("victim")["State"]["Pid"]
    before = len(victim.repairs())
    command = victim.words(damage).split()
    if inside:
        victim.engine.surroundings.run("nsenter", f"--target={pid}", "--net", *command)
    else:
        victim.engine.surroundings.run(*command)
    assert wait(lambda: len(victim.repairs()) > before), "not told"
    # Once or twice: flushing an address goes on until it is gone for good, so it can meet our repair.
    assert {event["Actor"]["Attributes"]["reason"] for event in victim.repairs()[before:]} == {reason}
    assert wait(victim.answers), "does not answer after"
    assert victim.engine.inspect("victim")["State"]["Pid"] == pid
    assert f'reason="{reason}"' in victim.engine.metrics()


def test_a_name_server_that_dies_comes_back(victim: Victim) -> None:
    victim.engine.docker("network", "create", "named")
    victim.engine.run("-d", "--name", "known", "--network", "named", "busybox", "sleep", "1000")
    uid = victim.engine.docker("network", "inspect", "-f", "{{.Id}}", "named").out.strip()
    pid_file = victim.engine.layout.names / uid / "pid"
    assert wait(pid_file.exists)
    victim.engine.surroundings.run("kill", "-9", pid_file.read_text().strip())

    def resolves() -> bool:
        return victim.engine.docker("exec", "known", "nslookup", "known", check=False).code == 0

    assert wait(lambda: any(event["Actor"]["Attributes"]["reason"] == "name server gone" for event in victim.repairs()))
    assert wait(resolves)


def test_ordinary_work_is_never_taken_for_drift(private_engine: Engine) -> None:
    quiet = Victim(private_engine)
    private_engine.docker("network", "create", "n")
    for number in range(6):
        private_engine.run("--rm", "-p", f"{9000 + number}:80", "--network", "n", "busybox", "true")
        private_engine.run("--rm", "-p", "80", "busybox", "true")
    private_engine.docker("network", "rm", "n")
    private_engine.restart()
    assert quiet.repairs() == []
    assert (
        quote(private_engine.layout.prefix)
        not in private_engine.surroundings.run(
            "sh", "-c", f"ip -br link | grep {private_engine.layout.prefix}v || true"
        ).stdout
    )
