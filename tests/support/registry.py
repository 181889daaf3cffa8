"""Debian's docker-registry in an engine's surroundings, filled by skopeo."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.surroundings import Surroundings
from tests.support.tools import environment, program


class Registry:
    """``docker-registry`` on one address; ``address`` is what stands before the slash in an image's name.

    ``certificate`` and ``key`` make it speak TLS, ``auth`` is the configuration's section of that name.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        address: str = "localhost:5000",
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self._surroundings = surroundings
        self._directory = surroundings.directory / ("registry-" + address.replace(":", "-"))
        self._directory.mkdir()
        http: dict[str, Any] = {"addr": address}
        if certificate and key:
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
        configuration = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self._directory / "data")}},
            "http": http,
            **({"auth": dict(auth)} if auth else {}),
        }
        file = self._directory / "config.yml"
        # JSON is YAML.
        file.write_text(json.dumps(configuration))
        self._log = self._directory / "log"
        self._process = surroundings.spawn(
            program("docker-registry"), "serve", str(file), log=self._log, environment=environment()
        )
        self._wait_ready()

    def _wait_ready(self) -> None:
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with self._surroundings.socket() as connection:
                if connection.connect_ex((host.replace("localhost", "127.0.0.1"), int(port))) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"docker-registry did not start:\n{self._log.read_text()[-4000:]}")

    def close(self) -> None:
        """Stop; what it holds goes with the surroundings."""
        self._process.kill()
        self._process.wait()

    def fill(self, source: str, name: str, *options: str, credentials: str = "") -> str:
        """Copy an image as skopeo names it (``docker-archive:…``, ``dir:…``) to ``name``; its full reference."""
        reference = f"{self.address}/{name}"
        access = ["--dest-tls-verify=false", *([f"--dest-creds={credentials}"] if credentials else [])]
        self._surroundings.run(
            program("skopeo"), "--insecure-policy", "copy", *access, *options, source, f"docker://{reference}"
        )
        return reference


def statuses(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The progress lines of a pull as ``id: status``, without the moving bars."""
    found = []
    for line in lines:
        if line.get("progressDetail"):
            continue
        prefix = f"{line['id']}: " if "id" in line else ""
        found.append(prefix + str(line.get("status", line.get("error"))))
    return found
