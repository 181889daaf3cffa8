"""``docker export`` and ``docker diff``."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.host


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_an_export_is_the_whole_root_without_volumes(daemon: Daemon, state: str) -> None:
    script = "echo changed >/tmp/new; echo in the volume >/data/f; rm /etc/group; touch /tmp/done; sleep 1000"
    container = daemon.docker("run", "-d", "-v", "/data", "busybox", "sh", "-c", script).out.strip()
    daemon.docker("exec", container, "sh", "-c", "until [ -e /tmp/done ]; do sleep 0.1; done")
    if state == "stopped":
        daemon.docker("kill", container)
    answer = daemon.request("GET", f"/containers/{container}/export")
    assert answer.headers["content-type"] == "application/octet-stream"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        names = set(archive.getnames())
        new = archive.extractfile("tmp/new")
        assert new is not None
        assert new.read() == b"changed\n"
    assert {"bin/busybox", "etc/passwd", "data", "proc", "sys", "dev"} <= names
    assert not names & {"data/f", "etc/group", "proc/1", ".", "/"}


def test_an_export_can_be_imported(daemon: Daemon, tmp_path: Path) -> None:
    container = daemon.docker("create", "busybox", "true").out.strip()
    daemon.docker("export", "--output", str(tmp_path / "x.tar"), container)
    image = daemon.docker("import", str(tmp_path / "x.tar")).out.strip()
    assert daemon.docker("run", "--rm", image, "echo", "hello").out == "hello\n"
    daemon.docker("rmi", "-f", image)


def test_what_a_container_changed(daemon: Daemon) -> None:
    script = (
        "rm /etc/group; echo x >>/etc/passwd; mkdir -p /a/b; touch /a/b/c; chmod 711 /home; mv /var /var2;"
        " ln -s x /tmp/link"
    )
    container = daemon.docker("create", "busybox", "sh", "-c", script).out.strip()
    assert daemon.request("GET", f"/containers/{container}/changes").body == b"null\n"
    daemon.docker("start", "-a", container)
    assert sorted(daemon.docker("diff", container).out.split("\n")) == sorted(
        [
            "",
            "A /a",
            "A /a/b",
            "A /a/b/c",
            "A /tmp/link",
            "A /var2",
            "C /etc",
            "C /etc/passwd",
            "C /home",
            "C /tmp",
            "D /etc/group",
            "D /var",
        ]
    )


def test_a_directory_made_anew_tells_what_is_gone(daemon: Daemon) -> None:
    script = "rm -rf /etc/x /home; mkdir /home; touch /home/new"
    container = daemon.docker("create", "busybox", "sh", "-c", script).out.strip()
    daemon.docker("start", "-a", container)
    assert daemon.docker("diff", container).out == "C /home\nA /home/new\n"
