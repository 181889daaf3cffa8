"""What bad requests meet: a few things of each kind, which must be as before after every request that was refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Any

from tests.support.daemon import Answer
from tests.support.engine import Engine

WAITING = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"
CONTAINERS = ("victim", "idle")
_SEEN = (
    "/containers/json?all=1",
    *(f"/containers/{name}/json" for name in CONTAINERS),
    "/images/json?all=1",
    "/networks",
    "/networks/net",
    "/volumes",
)
# What goes on by itself, and which execs a container has had.
_VOLATILE = re.compile(rb'"(?:Status":"(?:Up|Exited) [^"]*"|ExecIDs":(?:null|\[[^]]*\]))')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Snapshot = dict[str, bytes]


class Stage:
    """A running and a created container, a network, a volume, a second tag, in an engine that runs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._connection: socket.socket | None = None
        self.before: Snapshot = {}
        self.restore()

    def snapshot(self) -> Snapshot:
        """All that the engine has, as it says itself."""
        try:
            answers = self._ask_all(_SEEN)
        except OSError:
            # The daemon was started anew.
            self._connection = None
            answers = self._ask_all(_SEEN)
        return {path: _VOLATILE.sub(b"", answer) for path, answer in zip(_SEEN, answers, strict=True)}

    def accept(self) -> None:
        """Take what there is now for what has to stay."""
        self.before = self.snapshot()

    def restore(self, *harmed: str) -> None:
        """Have everything again as it was at first, whatever has become of it; ``harmed`` containers are made anew."""
        self._restore_containers(harmed)
        self._restore_networks()
        for volume in self._asked("GET", "/volumes").json()["Volumes"] or ():
            if volume["Name"] != "kept":
                self._asked("DELETE", f"/volumes/{volume['Name']}?force=1")
        self._restore_images()
        self.before = self.snapshot()

    def exec_id(self) -> str:
        """An exec in the running container that has not been started."""
        answer = self._asked("POST", "/containers/victim/exec", {"Cmd": ["true"]})
        return str(answer.json()["Id"])

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """A well-meant request, whatever the answer."""
        return self.engine.request(method, path, body)

    def _asked(self, method: str, path: str, body: Any = None) -> Answer:
        answer = self.ask(method, path, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer

    def _ask_all(self, paths: Sequence[str]) -> list[bytes]:
        """The answers' bodies, asked for in one go: this is done after every single bad request."""
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(60)
            self._connection.connect(str(self.engine.socket_path))
        self._connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: docker\r\n\r\n" % path.encode() for path in paths))
        received = b""
        bodies: list[bytes] = []
        while len(bodies) < len(paths):
            head, end, rest = received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head) if end else None
            if length is None or len(rest) < int(length[1]):
                data = self._connection.recv(1 << 18)
                if not data:
                    raise ConnectionResetError("the daemon closed the connection")
                received += data
                continue
            bodies.append(rest[: int(length[1])])
            received = rest[int(length[1]) :]
        return bodies

    def _restore_containers(self, harmed: Sequence[str]) -> None:
        self._asked("POST", "/volumes/create", {"Name": "kept"})
        before, now = self.before, self.snapshot()
        whole = {
            name for name in CONTAINERS if before and name not in harmed and now[_place(name)] == before[_place(name)]
        }
        for container in self._asked("GET", "/containers/json?all=1").json():
            if not whole & {name.removeprefix("/") for name in container["Names"]}:
                self._asked("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for name in CONTAINERS:
            if name not in whole:
                config = {"Image": "busybox", "Cmd": ["sh", "-c", WAITING], "HostConfig": {"Binds": ["kept:/kept"]}}
                self._asked("POST", f"/containers/create?name={name}", config)
        if "victim" not in whole:
            self._asked("POST", "/containers/victim/start")

    def _restore_networks(self) -> None:
        missing = True
        for network in self._asked("GET", "/networks").json():
            if network["Name"] == "net":
                missing = False
            elif network["Name"] not in ("bridge", "host", "none"):
                self._asked("DELETE", f"/networks/{network['Id']}")
        if missing:
            self._asked("POST", "/networks/create", {"Name": "net", "IPAM": {"Config": [{"Subnet": "10.99.0.0/16"}]}})

    def _restore_images(self) -> None:
        images = self._asked("GET", "/images/json?all=1").json()
        tags = {image["Id"] if tag == "<none>:<none>" else tag for image in images for tag in image["RepoTags"]}
        if "busybox:latest" not in tags:
            self.engine.load_sample_image()
        self._asked("POST", "/images/busybox/tag?repo=spare&tag=1")
        for tag in sorted(tags - {"busybox:latest", "spare:1"}):
            self._asked("DELETE", f"/images/{tag}?force=1")


def _place(name: str) -> str:
    return f"/containers/{name}/json"
