"""What a runtime's own state says of a container's cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from controllers.containers import cgroups, regroup

RULES = [
    {"type": ord("a"), "major": -1, "minor": -1, "permissions": "rwm", "allow": False},
    {"type": ord("c"), "major": 1, "minor": 3, "permissions": "rwm", "allow": True},
    {"type": ord("b"), "major": -1, "minor": -1, "permissions": "m", "allow": True},
]


def state(directory: Path, **content: object) -> Path:
    """A runtime's state with this content."""
    file = directory / "state.json"
    file.write_bytes(msgspec.json.encode(content))
    return file


def test_the_directories_are_those_that_the_runtime_names(tmp_path: Path) -> None:
    file = state(tmp_path, cgroup_paths={"cpu": "/a/x", "cpuacct": "/a/x", "pids": "/b/x"}, more=1)
    assert regroup.directories(file, "/x") == [Path("/a/x"), Path("/b/x")]


def test_a_container_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert regroup.directories(tmp_path / "gone" / "state.json", "/x") == []


def test_where_the_runtime_is_silent_it_is_the_one_of_version_2(tmp_path: Path) -> None:
    wanted = [Path("/sys/fs/cgroup/x")] if cgroups.version() == 2 else []
    assert regroup.directories(tmp_path / "state.json", "/x") == wanted
    (tmp_path / "state.json").write_text("{half")
    assert regroup.directories(tmp_path / "state.json", "/x") == wanted


def test_device_rules_read_as_the_kernel_takes_them(tmp_path: Path) -> None:
    file = state(tmp_path, config={"cgroups": {"devices": RULES, "memory": 0}})
    assert regroup.device_rules(file) == [
        "devices.deny a *:* rwm",
        "devices.allow c 1:3 rwm",
        "devices.allow b *:* m",
    ]
    assert regroup.device_rules(state(tmp_path, config={"cgroups": {"devices": None}})) == []


def test_new_groups_of_the_devices_controller_alone_get_rules(tmp_path: Path) -> None:
    devices, other = tmp_path / "devices", tmp_path / "other"
    for place in (devices, other):
        place.mkdir()
    (devices / "devices.deny").touch()
    regroup.restrict_devices([devices, other], ["devices.deny a *:* rwm", "devices.allow c 1:3 rwm"])
    assert (devices / "devices.deny").read_text() == "a"
    assert (devices / "devices.allow").read_text() == "c 1:3 rwm"
    assert list(other.iterdir()) == []


def test_a_process_has_strayed_from_where_it_is_not() -> None:
    own = cgroups.own_cgroup("pids") or Path("/sys/fs/cgroup")
    assert regroup.strayed([own, own / "elsewhere"], os.getpid()) == [own / "elsewhere"]
    assert regroup.strayed([own], 2**22 + 1) == []
