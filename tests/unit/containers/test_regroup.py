"""What a runtime's own state says of a container's cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from controllers.containers import cgroups, regroup


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


def test_a_process_has_strayed_from_where_it_is_not() -> None:
    own = cgroups.own_cgroup("pids") or Path("/sys/fs/cgroup")
    assert regroup.strayed([own, own / "elsewhere"], os.getpid()) == [own / "elsewhere"]
    assert regroup.strayed([own], 2**22 + 1) == []
