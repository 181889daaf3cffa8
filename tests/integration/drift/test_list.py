"""What somebody else breaks on the host is noticed, mended, counted and told; no container is restarted for it.

The table of all that is broken, with the times that it took, stands at the end of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.crash.test_points import points
from tests.integration.drift.victim import NAME, Victim, eventually
from tests.support.audit import Auditor
from tests.support.engine import Engine

pytestmark = pytest.mark.host

TABLE = "table: drift, noticed by, seconds until mended, event, kind and reason in the metric"
EMPTY = (
    'for group in {places}; do [ -d "$group/{cgroup}" ] || continue; '
    'for pid in $(cat "$group/{cgroup}/cgroup.procs"); do echo $pid > "$group/cgroup.procs"; done; '
    'rmdir "$group/{cgroup}"; done'
)
"""Moves a container's processes out of its cgroup, in some hierarchies, and removes it."""


def empty(*names: str) -> str:
    """The command for these hierarchies of version 1; on version 2 there is but one."""
    places = " ".join(f"/sys/fs/cgroup/{name}" for name in names)
    return EMPTY.replace("{places}", f"{places} $(test -e /sys/fs/cgroup/cgroup.procs && echo /sys/fs/cgroup)")


@dataclass(frozen=True)
class Drift:
    """One thing to break: by which shell command, how the engine is to notice, and what it says of it."""

    damage: str
    noticed: str
    reason: str
    kind: str
    inside: bool = False
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.damage.partition("/{")[0]


NETLINK, NFT, MOUNTS, GROUPS, PIDFD = "netlink", "nft monitor", "mountinfo", "inotify", "pidfd"
LIST = [
    Drift("ip link delete {bridge}", NETLINK, "bridge missing", "network"),
    Drift("ip link set {bridge} down", NETLINK, "bridge down", "network"),
    Drift("ip address flush dev {bridge}", NETLINK, "bridge address missing", "network"),
    Drift("ip route delete 172.17.0.0/16", NETLINK, "bridge route missing", "network"),
    Drift("nft flush ruleset", NFT, "nftables table", "daemon"),
    Drift("nft delete table ip {table}", NFT, "nftables table", "daemon"),
    Drift("nft flush table ip {table}", NFT, "nftables rules", "daemon"),
    Drift("nft flush chain ip {table} postrouting", NFT, "nftables rules", "daemon"),
    Drift("nft flush map ip {table} ports_any", NFT, "nftables ports", "daemon"),
    Drift("nft flush set ip {table} bridges", NFT, "nftables sets", "daemon"),
    Drift("sysctl -w net.ipv4.ip_forward=0", NETLINK, "ip_forward off", "daemon"),
    Drift("ip link delete {veth}", NETLINK, "interface missing", "container"),
    Drift("ip link set {veth} nomaster", NETLINK, "interface unplugged", "container"),
    Drift("ip address flush dev eth0", NETLINK, "address missing", "container", inside=True),
    Drift("ip route delete default", NETLINK, "route missing", "container", inside=True),
    Drift("ip link set eth0 down", NETLINK, "interface down", "container", inside=True),
    Drift("ip link delete eth0", NETLINK, "interface missing", "container", inside=True),
    Drift("umount {namespace}", MOUNTS, "namespace unmounted", "container", name="umount its network namespace"),
    Drift("umount {alone}", MOUNTS, "namespace unmounted", "container", name="umount that of one without network"),
    Drift("umount {root}", MOUNTS, "root unmounted", "container", name="umount its root"),
    Drift("umount {memory}", MOUNTS, "shared memory unmounted", "container", name="umount its shared memory"),
    Drift("umount {volume}", MOUNTS, "mount missing", "volume", name="umount its volume"),
    Drift("kill -9 {server}", PIDFD, "name server gone", "network", name="kill a name server"),
    Drift(empty("pids"), GROUPS, "cgroup missing", "container", name="delete its pids cgroup"),
    Drift(empty("memory", "devices"), GROUPS, "cgroup missing", "container", name="delete its memory, devices cgroups"),
    Drift(empty("*"), GROUPS, "cgroup missing", "container", name="delete all its cgroups"),
    # Last, since a container without its monitor stays so.
    Drift("kill -9 {conmon}", PIDFD, "monitor gone", "container", name="kill its conmon"),
]


@pytest.fixture(scope="module")
def victim(module_engine: Engine) -> Victim:
    victim = Victim(module_engine)
    victim.populate()
    return victim


@pytest.mark.parametrize("drift", LIST, ids=str)
def test_damage_is_mended_without_a_restart(
    victim: Victim, drift: Drift, record_property: Callable[[str, object], None]
) -> None:
    eventually(victim.answers, "the port answers before")
    pid, count, before = victim.pid, victim.counted(drift.kind, drift.reason), len(victim.repairs())
    begun = victim.damage(drift.damage, drift.inside)
    eventually(lambda: len(victim.repairs()) > before, "told")
    eventually(victim.answers, "the port answers after")
    eventually(victim.works, "exec, cp and the volume")
    eventually(victim.limited, "limits")
    eventually(victim.resolves, "names")
    events = victim.repairs()[before:]
    # Once or twice: flushing an address goes on until it is gone for good, so it can meet our repair.
    assert {event["Actor"]["Attributes"]["reason"] for event in events} == {drift.reason}
    assert {event["Type"] for event in events} == {drift.kind}
    assert victim.counted(drift.kind, drift.reason) - count == len(events)
    assert victim.pid == pid
    seconds = (events[0]["timeNano"] - begun) / 1e9
    row = (str(drift), drift.noticed, f"{seconds:.3f}", events[0]["Action"], f"{drift.kind}, {drift.reason}")
    record_property(TABLE, "  ".join(text.ljust(width) for text, width in zip(row, (40, 11, 6, 31, 0), strict=True)))


def test_a_stopped_container_has_nothing_mounted_that_could_be_taken_away(victim: Victim) -> None:
    uid = victim.engine.inspect("ended")["Id"]
    mounts = victim.engine.surroundings.run("cat", "/proc/self/mountinfo").stdout
    assert uid not in mounts
    assert victim.engine.docker("cp", "ended:/left", "-").out


def test_a_frozen_container_is_frozen_again(victim: Victim) -> None:
    victim.engine.docker("pause", "known")
    uid = victim.engine.inspect("known")["Id"]
    before = len(victim.repairs())
    place = f"{victim.engine.layout.cgroup}/{uid}"
    victim.damage(empty("freezer").replace("{cgroup}", place), inside=False)
    eventually(lambda: len(victim.repairs()) > before, "told")
    with pytest.raises(AssertionError):
        victim.engine.docker("exec", "known", "true")
    victim.engine.docker("unpause", "known")
    victim.engine.docker("exec", "known", "true")


def test_ended_name_servers_are_not_left_as_zombies(victim: Victim) -> None:
    for _ in range(3):
        victim.engine.docker("network", "create", "short")
        victim.engine.docker("network", "rm", "short")
    listed = victim.engine.surroundings.run("ps", "-eo", "ppid,stat,comm").stdout.splitlines()
    dead = [line for line in listed if line.split()[0] == str(victim.engine.pid) and line.split()[1].startswith("Z")]
    assert dead == []


def test_the_parent_cgroup_comes_back(private_engine: Engine) -> None:
    quiet = Victim(private_engine)
    command = f"find /sys/fs/cgroup -maxdepth 2 -name {private_engine.layout.cgroup} -exec rmdir {{}} +"
    private_engine.surroundings.run("sh", "-c", command)
    eventually(lambda: quiet.repairs() != [], "told")
    assert {event["Actor"]["Attributes"]["reason"] for event in quiet.repairs()} == {"parent cgroup missing"}
    assert quiet.counted("daemon", "parent cgroup missing") >= 1
    assert private_engine.run("--rm", "busybox", "echo", "well") == "well"


def test_damage_done_while_the_daemon_was_dead_is_mended_at_its_start(private_engine: Engine) -> None:
    victim = Victim(private_engine)
    victim.populate()
    eventually(victim.answers, "the port answers before")
    pid = victim.pid
    commands = [
        "umount {root} {volume} {memory} {namespace}",
        "nft delete table ip {table}",
        "ip link delete {veth}",
        "ip link delete {bridge}",
        empty("*"),
    ]
    damage = "; ".join(victim.words(command) for command in commands)
    private_engine.kill9()
    private_engine.surroundings.run("sh", "-ec", damage)
    private_engine.start()
    eventually(victim.answers, "the port answers after")
    eventually(victim.works, "exec, cp and the volume")
    eventually(victim.limited, "limits")
    assert victim.pid == pid


def test_cgroups_come_back_on_version_2_with_their_device_rules(stopped_engine: Engine) -> None:
    engine = stopped_engine
    # Over whatever the machine has, for the engine alone. Its controllers may be version 1's, devices never are.
    engine.surroundings.run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    engine.start()
    engine.load_sample_image()
    assert engine.request("GET", "/info").json()["CgroupVersion"] == "2"
    engine.run("-d", "--name", NAME, "busybox", "sleep", "1000")
    place = f"{engine.layout.cgroup}/{engine.inspect(NAME)['Id']}"
    engine.surroundings.run("sh", "-ec", empty().replace("{cgroup}", place))
    victim = Victim(engine)
    eventually(lambda: victim.repairs() != [], "told")
    script = "mknod /disk b 254 0; head -c1 /disk; echo read > /dev/null"
    found = engine.docker("exec", NAME, "sh", "-c", script)
    assert "Operation not permitted" in found.err
    # Seen from here: the container's own cgroup namespace begins at the one that is gone.
    assert f"0::/{place}" in Path(f"/proc/{victim.pid}/cgroup").read_text().splitlines()
    engine.docker("pause", NAME)
    engine.docker("unpause", NAME)


@pytest.mark.parametrize("point", [point for point in points() if point.startswith("repair.")])
def test_a_repair_that_a_crash_cut_short_is_finished(private_engine: Engine, point: str) -> None:
    victim = Victim(private_engine)
    victim.populate()
    private_engine.restart(WHARFINGER_CRASH_AT=point)
    eventually(victim.answers, "the port answers before")
    with contextlib.suppress(OSError, AssertionError):
        victim.damage("umount {root} {memory}" if ".mount." in point else empty("*"), inside=False)
    private_engine.wait_ended()
    private_engine.start()
    eventually(victim.answers, "the port answers after")
    eventually(victim.works, "exec, cp and the volume")
    eventually(victim.limited, "limits")
    auditor = Auditor(
        private_engine.layout, private_engine.pid, lambda path: private_engine.request("GET", path).json()
    )
    assert auditor.settled() == []


def test_ordinary_work_is_never_taken_for_drift(private_engine: Engine) -> None:
    quiet = Victim(private_engine)
    private_engine.docker("network", "create", "n")
    private_engine.docker("volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "scratch")
    for number in range(6):
        private_engine.run("--rm", "-p", f"{9000 + number}:80", "--network", "n", "busybox", "true")
        private_engine.run("--rm", "-v", "scratch:/v", "--ipc", "shareable", "busybox", "true")
        private_engine.run("--rm", "-p", "80", "busybox", "true")
    private_engine.run(
        "-d", "--name", NAME, "-v", "scratch:/v", "--restart", "always", "busybox", "sh", "-c", "sleep 0.3"
    )
    eventually(lambda: private_engine.inspect(NAME)["RestartCount"] > 2, "restarted")
    private_engine.docker("rm", "-f", NAME)
    private_engine.docker("network", "rm", "n")
    private_engine.restart()
    assert quiet.repairs() == []
    links = private_engine.surroundings.run("ip", "-br", "link").stdout
    assert f"{private_engine.layout.prefix}v" not in links
