"""Volumes in containers: data that stays, copy-up, options, anonymous ones."""

from __future__ import annotations

import json
import os
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon
from tests.support.engine import Engine

pytestmark = pytest.mark.host


def volume_events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """What happened to a volume."""
    filters = quote(json.dumps({"volume": [name]}))
    answer = daemon.request("GET", f"/events?since=1&until={time.time():.9f}&filters={filters}")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_data_outlives_containers(daemon: Daemon) -> None:
    daemon.run("--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept >/d/f")
    assert daemon.run("--rm", "-v", "data:/other", "busybox", "cat", "/other/f") == "kept"
    assert daemon.docker("run", "--rm", "-v", "data:/d:ro", "busybox", "touch", "/d/g", check=False).code == 1


def test_an_empty_volume_gets_what_the_image_has(daemon: Daemon) -> None:
    assert "passwd" in daemon.run("--rm", "-v", "etc:/etc", "busybox", "ls", "/etc").split()
    assert daemon.run("--rm", "-v", "etc2:/etc:nocopy", "busybox", "ls", "/etc").split() == [
        "hostname",
        "hosts",
        "resolv.conf",
    ]
    mode = daemon.run("--rm", "-v", "tmp:/tmp", "busybox", "stat", "-c", "%a", "/tmp")
    assert mode == "1777"


def test_an_anonymous_volume_goes_with_its_container_when_asked(daemon: Daemon) -> None:
    def volumes() -> set[str]:
        return {volume["Name"] for volume in daemon.request("GET", "/volumes").json()["Volumes"]}

    before = volumes()
    daemon.run("--rm", "-v", "/data", "busybox", "true")
    assert volumes() == before
    container = daemon.docker("create", "-v", "/data", "-v", "named:/n", "busybox", "true").out.strip()
    assert len(volumes() - before) == 2
    daemon.docker("rm", "-v", container)
    assert volumes() - before == {"named"}


def test_options_are_mounted_while_a_container_runs(daemon: Daemon) -> None:
    daemon.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=64k,uid=1000", "ram")
    first = daemon.docker("run", "-d", "-v", "ram:/r", "busybox", "sleep", "1000").out.strip()
    assert daemon.docker("exec", first, "stat", "-c", "%u", "/r").out == "1000\n"
    daemon.docker("exec", first, "touch", "/r/f")
    assert daemon.run("--rm", "-v", "ram:/r", "busybox", "ls", "/r") == "f"
    assert daemon.docker("exec", first, "ls", "/r").out == "f\n"
    daemon.docker("rm", "-f", first)
    assert daemon.run("--rm", "-v", "ram:/r", "busybox", "ls", "/r") == ""


def test_a_bind_volume_shows_its_device(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("there")
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}")
    daemon.docker("volume", "create", *options, "bound")
    assert daemon.run("--rm", "-v", "bound:/b", "busybox", "cat", "/b/f") == "there"
    daemon.docker("volume", "rm", "bound")
    assert (tmp_path / "f").exists()


def test_a_mount_that_fails_is_told(daemon: Daemon) -> None:
    options = ("-o", "type=none", "-o", "o=bind", "-o", "device=/does-not-exist")
    daemon.docker("volume", "create", *options, "bad")
    failed = daemon.docker("run", "--rm", "-v", "bad:/b", "busybox", "true", check=False)
    assert failed.code != 0
    place = f"{daemon.data_root}/volumes/bad/_data"
    assert (
        f"failed to mount local volume: mount /does-not-exist:{place}, flags: 0x1000: no such file or directory"
        in failed.err
    )


def test_use_is_told_in_events(daemon: Daemon) -> None:
    container = daemon.docker("create", "-v", "told:/t", "busybox", "true").out.strip()
    daemon.docker("start", "-a", container)
    daemon.docker("rm", container)
    daemon.docker("volume", "rm", "told")
    events = volume_events(daemon, "told")
    actions = [event["Action"] for event in events]
    assert (actions[0], actions[-1]) == ("create", "destroy")
    mounts = [event["Actor"]["Attributes"] for event in events if event["Action"] == "mount"]
    assert {
        "container": container,
        "destination": "/t",
        "driver": "local",
        "propagation": "",
        "read/write": "true",
    } in mounts
    unmounts = [event["Actor"]["Attributes"] for event in events if event["Action"] == "unmount"]
    assert {"container": container, "driver": "local"} in unmounts


def test_sizes_are_in_system_df(daemon: Daemon) -> None:
    daemon.run("--rm", "-v", "sized:/s", "busybox", "sh", "-c", "head -c 1000 /dev/zero >/s/f")
    (volume,) = [each for each in daemon.request("GET", "/system/df").json()["Volumes"] if each["Name"] == "sized"]
    assert volume["UsageData"] == {"RefCount": 0, "Size": 1000}


CRASHES = [
    "volume.create.committed",
    "volume.create.made",
    "volume.remove.requested",
    "volume.remove.unmounted",
    "volume.remove.emptied",
]


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_between_steps_is_made_good(stopped_engine: Engine, crash: str) -> None:
    engine = stopped_engine
    if crash.startswith("volume.remove"):
        engine.start()
        engine.request("POST", "/volumes/create", {"Name": "data"})
        engine.stop()
    engine.start(WHARFINGER_CRASH_AT=crash)
    method, path = ("DELETE", "/volumes/data") if crash.startswith("volume.remove") else ("POST", "/volumes/create")
    with pytest.raises((OSError, HTTPException)):
        engine.request(method, path, {"Name": "data"})
    engine.wait_ended()
    engine.start()
    directory = engine.data_root / "volumes/data"
    if crash.startswith("volume.create"):
        assert engine.request("GET", "/volumes/data").status == 200
        assert engine.request("POST", "/volumes/create", {"Name": "data"}).status == 201
        assert os.listdir(directory) == ["_data"]
        assert engine.request("DELETE", "/volumes/data").status == 204
    else:
        assert engine.request("DELETE", "/volumes/data?force=1").status == 204
    assert engine.request("GET", "/volumes/data").status == 404
    assert not directory.exists()
