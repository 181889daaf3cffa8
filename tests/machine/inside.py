"""What is looked at in the machine itself: ``python -m tests.machine.inside JOB`` prints what it found as JSON.

It runs with what the service has installed, so nothing is imported here that only tests have.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controllers.layout import Layout
from tests.support.audit import Auditor

SOCKET = "/run/docker-engine-api.sock"
LAYOUT = Layout(Path("/var/lib/wharfinger"), Path("/run/wharfinger"))
SETTLES_WITHIN = 240.0


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def get(path: str) -> bytes:
    """The body of a GET that has to succeed."""
    connection = _Connection("docker")
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, (path, response.status, body)
    return body


def database() -> list[str]:
    """What SQLite finds wrong with the database."""
    connection = sqlite3.connect(f"file:{LAYOUT.database}?mode=ro", uri=True)
    answers = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return [answer for answer in answers if answer != "ok"]


def host() -> list[str]:
    """What is on the host and in no row, and the reverse; processes that are not those that rows name."""
    daemon = int(subprocess.check_output(["systemctl", "show", "--value", "--property=MainPID", "wharfinger"]))
    wrong = Auditor(LAYOUT, daemon, lambda path: json.loads(get(path))).settled(SETTLES_WITHIN)
    for container in json.loads(get("/containers/json")):
        pid = json.loads(get(f"/containers/{container['Id']}/json"))["State"]["Pid"]
        try:
            cgroup = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            cgroup = ""
        if container["Id"] not in cgroup:
            wrong.append(f"process {pid} is not that of {container['Names']}")
    return wrong


def layers() -> list[str]:
    """Images that do not come out of ``save`` with the digests that they promise."""
    return [wrong for image in json.loads(get("/images/json")) for wrong in damage(image["Id"], get)]


def damage(image: str, get: Callable[[str], bytes]) -> list[str]:
    """What is wrong with an image's archive, which ``get`` fetches."""
    with tempfile.TemporaryFile() as file:
        file.write(get(f"/images/{image}/get"))
        file.seek(0)
        try:
            with tarfile.open(fileobj=file) as archive:
                (entry,) = json.loads(_member(archive, "manifest.json"))
                config = json.loads(_member(archive, entry["Config"]))
                found = [hashlib.sha256(_member(archive, name)).hexdigest() for name in entry["Layers"]]
        except (tarfile.TarError, KeyError, ValueError) as error:
            return [f"image {image}: its archive is broken: {error}"]
    promised = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
    return [] if found == promised else [f"image {image}: layers {found}, promised {promised}"]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, name
    return member.read()


def journal() -> list[str]:
    """Stack traces and errors that the daemon logged in this boot."""
    command = ["journalctl", "--boot", "--unit=wharfinger", "--output=cat", "--no-pager"]
    lines = subprocess.check_output(command, text=True).splitlines()
    return [line for line in lines if "Traceback" in line or " ERROR " in line]


def written() -> dict[str, str]:
    """What is in the file ``x`` of each volume that has one."""
    return {
        volume["Name"]: (Path(volume["Mountpoint"]) / "x").read_text()
        for volume in json.loads(get("/volumes"))["Volumes"]
        if os.path.exists(f"{volume['Mountpoint']}/x")
    }


JOBS: dict[str, Callable[[], Any]] = {job.__name__: job for job in (database, host, layers, journal, written)}

if __name__ == "__main__":
    json.dump(JOBS[sys.argv[1]](), sys.stdout)
