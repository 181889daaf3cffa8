"""Volumes over the API, as dockerd answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.host


def create(daemon: Daemon, **body: Any) -> Any:
    """``POST /volumes/create``."""
    answer = daemon.request("POST", "/volumes/create", body)
    assert answer.status == 201, answer.body
    return answer.json()


def listed(daemon: Daemon, **filters: list[str]) -> list[str]:
    """The names that ``GET /volumes`` gives."""
    answer = daemon.request("GET", f"/volumes?filters={quote(json.dumps(filters))}")
    assert answer.status == 200, answer.body
    return sorted(volume["Name"] for volume in answer.json()["Volumes"])


def test_a_volume_is_shown_as_it_was_asked_for(daemon: Daemon) -> None:
    made = create(daemon, Name="first", Labels={"a": "b"}, DriverOpts={})
    assert list(made) == ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"]
    assert (made["Driver"], made["Labels"], made["Options"], made["Scope"]) == ("local", {"a": "b"}, {}, "local")
    assert made["Mountpoint"] == f"{daemon.data_root}/volumes/first/_data"
    assert Path(made["Mountpoint"]).is_dir()
    assert daemon.request("GET", "/volumes/first").json() == made
    assert create(daemon, Name="first", Labels={"c": "d"}) == made
    plain = create(daemon, Name="second")
    assert (plain["Labels"], plain["Options"]) == (None, None)


def test_a_volume_without_a_name_gets_one(daemon: Daemon) -> None:
    assert len(create(daemon)["Name"]) == 64


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (
            {"Name": "a"},
            400,
            "create a: volume name is too short, names should be at least two alphanumeric characters",
        ),
        (
            {"Name": "a/b"},
            400,
            'create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path",
        ),
        ({"Name": "vv", "DriverOpts": {"foo": "bar"}}, 400, 'create vv: invalid option: "foo"'),
        ({"Name": "vv", "DriverOpts": {"type": "tmpfs"}}, 400, 'create vv: missing required option: "device"'),
        ({"Name": "vv", "DriverOpts": {"size": "1m"}}, 400, "create vv: quota size requested but no quota support"),
        ({"Name": 5}, 400, "json: cannot unmarshal number into Go struct field VolumeCreateBody.Name of type string"),
    ],
)
def test_what_cannot_be_is_refused_in_the_same_words(
    daemon: Daemon, body: dict[str, Any], status: int, message: str
) -> None:
    answer = daemon.request("POST", "/volumes/create", body)
    assert (answer.status, answer.json()["message"]) == (status, message)
    assert listed(daemon, name=["vv"]) == []


def test_a_driver_that_does_not_exist_is_told(engine: Daemon) -> None:
    # dockerd looks for the plugin for half a minute before it says the same.
    answer = engine.request("POST", "/volumes/create", {"Name": "vv", "Driver": "nope"})
    assert answer.status == 404
    assert answer.json()["message"] == 'create vv: error looking up volume plugin nope: plugin "nope" not found'


def test_lists_are_filtered(daemon: Daemon) -> None:
    create(daemon, Name="one", Labels={"a": "b"})
    create(daemon, Name="two", Labels={"a": "c"})
    create(daemon, Name="other")
    daemon.docker("create", "-v", "other:/data", "busybox", "true")
    assert listed(daemon, name=["one"]) == ["one"]
    assert listed(daemon, name=["^o"]) == ["one", "other"]
    assert listed(daemon, name=["one", "two"]) == ["one", "two"]
    assert listed(daemon, label=["a"]) == ["one", "two"]
    assert listed(daemon, label=["a=b"]) == ["one"]
    assert listed(daemon, label=["a=b", "a=c"]) == []
    assert listed(daemon, driver=["local"]) == ["one", "other", "two"]
    assert listed(daemon, driver=["loc"]) == []
    assert listed(daemon, dangling=["true"]) == ["one", "two"]
    assert listed(daemon, dangling=["false"]) == ["other"]
    assert listed(daemon, dangling=["1"], label=["a=c"]) == ["two"]
    for filters, message in (
        ({"dangling": ["xx"]}, "Invalid filter 'dangling=[xx]'"),
        ({"nope": ["x"]}, "Invalid filter 'nope'"),
    ):
        answer = daemon.request("GET", f"/volumes?filters={quote(json.dumps(filters))}")
        assert (answer.status, answer.json()["message"]) == (400, message)


def test_removing(daemon: Daemon) -> None:
    made = create(daemon, Name="first")
    (Path(made["Mountpoint"]) / "f").touch()
    container = daemon.docker("create", "-v", "first:/data", "busybox", "true").out.strip()
    for query in ("", "?force=1"):
        answer = daemon.request("DELETE", f"/volumes/first{query}")
        assert answer.status == 409
        assert answer.json()["message"] == f"remove first: volume is in use - [{container}]"
    daemon.docker("rm", container)
    assert daemon.request("DELETE", "/volumes/first").status == 204
    assert not Path(made["Mountpoint"]).parent.exists()
    answer = daemon.request("DELETE", "/volumes/first")
    assert (answer.status, answer.json()["message"]) == (404, "get first: no such volume")
    assert daemon.request("GET", "/volumes/first").json()["message"] == "get first: no such volume"
    assert daemon.request("DELETE", "/volumes/first?force=1").status == 204


def test_prune_takes_what_nobody_refers_to(daemon: Daemon) -> None:
    used = create(daemon, Name="used")
    free = create(daemon, Name="free")
    create(daemon, Name="kept", Labels={"keep": ""})
    create(daemon, Name="ram", DriverOpts={"type": "tmpfs", "device": "tmpfs"})
    (Path(free["Mountpoint"]) / "f").write_bytes(b"x" * 1000)
    daemon.docker("create", "-v", "used:/data", "busybox", "true")
    filters = quote(json.dumps({"label!": ["keep"]}))
    assert daemon.request("POST", f"/volumes/prune?filters={filters}").json() == {
        "VolumesDeleted": ["free"],
        "SpaceReclaimed": 1000,
    }
    assert Path(used["Mountpoint"]).exists()
    assert daemon.request("POST", f"/volumes/prune?filters={filters}").json() == {
        "VolumesDeleted": [],
        "SpaceReclaimed": 0,
    }
    answer = daemon.request("POST", f"/volumes/prune?filters={quote(json.dumps({'all': ['true']}))}")
    assert (answer.status, answer.json()["message"]) == (400, "Invalid filter 'all'")
