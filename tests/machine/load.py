"""Clients outside of the machine that keep the daemon inside busy, and know what it promised them."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.machine.furniture import IMAGE, executed
from tests.machine.machine import Lost, Machine
from tests.support.daemon import Answer
from tests.support.image_content import digest_of, layer
from tests.support.tools import sample_archive

PRESENT, ABSENT = "present", "absent"
STEPS = {
    ABSENT: (("POST", "/containers/create?name={name}", "created"),),
    "created": (("POST", "/containers/{name}/start", "running"), ("DELETE", "/containers/{name}?v=1", ABSENT)),
    "running": (
        ("POST", "/containers/{name}/stop?t=0", "exited"),
        ("POST", "/containers/{name}/restart?t=0", "running"),
        ("DELETE", "/containers/{name}?force=1&v=1", ABSENT),
    ),
    "exited": (("POST", "/containers/{name}/start", "running"), ("DELETE", "/containers/{name}?v=1", ABSENT)),
}
"""What can be asked of a container without a restart policy, by its state: method, path, the state promised."""
FILES, FILE_SIZE = 60, 1 << 14


class Api(Protocol):
    """Where requests go; one that gets no answer raises ``Lost``."""

    def request(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
        """One request."""


@dataclass
class Promises:
    """What each thing may be found as. Between a request and its answer that is the state before or after it."""

    states: dict[str, set[str]] = field(default_factory=dict)
    answered: int = 0
    refusals: list[str] = field(default_factory=list)

    def now(self, key: str) -> str:
        """The state, of which there is only one when nothing is under way."""
        (state,) = self.states.get(key, {ABSENT})
        return state

    @contextlib.contextmanager
    def towards(self, key: str, target: str) -> Any:
        """Around the request that leads to ``target``; one that ``Lost`` ends may have led there or not."""
        before = self.states.get(key, {ABSENT})
        self.states[key] = before | {target}
        yield
        self.states[key] = {target}
        self.answered += 1

    def broken(self, found: dict[str, str]) -> list[str]:
        """The promises that what was found after the cut does not keep."""
        return [
            f"{key}: {found.get(key, ABSENT)}, promised {' or '.join(sorted(states))}"
            for key, states in sorted(self.states.items())
            if found.get(key, ABSENT) not in {"exited" if state == "running" else state for state in states}
        ]

    def take(self, found: dict[str, str]) -> None:
        """Go on from what was found."""
        self.states = {key: {found.get(key, ABSENT)} for key in self.states}


@dataclass
class Client:
    """One client; its things are named after it, so that nobody else changes them."""

    name: str
    random: random.Random
    api: Api
    promises: Promises = field(default_factory=Promises)
    number: int = 0

    def until_lost(self, stop: threading.Event) -> None:
        """Ask for one thing after the other until the machine does not answer any more."""
        with contextlib.suppress(Lost):
            while not stop.is_set():
                self.random.choice(self.choices())()

    def choices(self) -> list[Callable[[], None]]:
        """What this client does, more often what is quicker."""
        return [self.life, self.life, self.life, self.image, self.image, self.tag, self.volume, self.network]

    def _ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        answer = self.api.request(method, path, body, headers=headers)
        if answer.status >= 400 or b'"error"' in answer.body:
            self.promises.refusals.append(f"{method} {path}: {answer.status} {answer.body[-300:]!r}")

    def life(self) -> None:
        """The next step of a container."""
        name = f"{self.name}-c"
        key = f"container {name}"
        method, path, target = self.random.choice(STEPS[self.promises.now(key)])
        body = None
        if "create" in path:
            body = {
                "Image": IMAGE,
                "Cmd": ["sleep", "100000"],
                "Volumes": {"/data": {}},
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
            }
        with self.promises.towards(key, target):
            self._ask(method, path.format(name=name), body)

    def image(self) -> None:
        """Load an image of its own content, or remove one."""
        self.number += 1
        tag = f"{self.name}-image:{self.number % 4}"
        key = f"image {tag}"
        if self.promises.now(key) != ABSENT:
            with self.promises.towards(key, ABSENT):
                self._ask("DELETE", f"/images/{tag}?force=1")
            return
        archive, uid = derived(tag, self.random)
        with self.promises.towards(key, uid):
            self._ask("POST", "/images/load?quiet=1", archive, **{"Content-Type": "application/x-tar"})

    def tag(self) -> None:
        """Give the common image a name, or take it away."""
        self.number += 1
        tag = f"{self.number % 3}"
        key = f"tag {self.name}-tag:{tag}"
        if self.promises.now(key) == ABSENT:
            with self.promises.towards(key, PRESENT):
                self._ask("POST", f"/images/{IMAGE}/tag?repo={self.name}-tag&tag={tag}")
        else:
            with self.promises.towards(key, ABSENT):
                self._ask("DELETE", f"/images/{self.name}-tag:{tag}")

    def volume(self) -> None:
        """Make a volume, or remove it."""
        self._toggle("volume", "/volumes/create", f"/volumes/{self.name}-v")

    def network(self) -> None:
        """Make a network, or remove it."""
        self._toggle("network", "/networks/create", f"/networks/{self.name}-n")

    def _toggle(self, kind: str, create: str, path: str) -> None:
        key = f"{kind} {path.rpartition('/')[2]}"
        if self.promises.now(key) == ABSENT:
            with self.promises.towards(key, PRESENT):
                self._ask("POST", create, {"Name": path.rpartition("/")[2]})
        else:
            with self.promises.towards(key, ABSENT):
                self._ask("DELETE", path)


@dataclass
class Writer:
    """Writes numbers into a volume, each with a sync, through the furniture's container."""

    machine: Machine
    promises: Promises = field(default_factory=Promises)
    written: int = 0

    def until_lost(self, stop: threading.Event) -> None:
        """Write number after number until the machine does not answer any more."""
        with contextlib.suppress(Lost):
            while not stop.is_set():
                self.write()

    def write(self) -> None:
        """The next number is on the disk when this returns."""
        number = self.written + 1
        line = f"echo {number} > /data/new && sync && mv /data/new /data/x && sync"
        if executed(self.machine, "writer", "sh", "-c", line) == 0:
            self.written = number
            self.promises.answered += 1
        else:
            self.promises.refusals.append(f"writing {number} failed")


def derived(tag: str, source: random.Random) -> tuple[bytes, str]:
    """An archive as ``docker save`` writes it, of the common image and a layer of random files; the image's id.

    The layer's file ``sums`` lets a container of the image check them.
    """
    with tarfile.open(sample_archive()) as archive:
        (entry,) = json.loads(_read(archive, "manifest.json"))
        config = json.loads(_read(archive, entry["Config"]))
        base = _read(archive, entry["Layers"][0])
    files = {f"blob/{number}": source.randbytes(FILE_SIZE) for number in range(FILES)}
    sums = "".join(f"{digest_of(data).removeprefix('sha256:')}  /{name}\n" for name, data in files.items())
    own = layer({**files, "sums": sums.encode()})
    config["rootfs"]["diff_ids"].append(digest_of(own))
    config["history"].append({"created_by": tag})
    document = json.dumps(config).encode()
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["base.tar", "own.tar"]}]
    whole = {
        "config.json": document,
        "base.tar": base,
        "own.tar": own,
        "manifest.json": json.dumps(manifest).encode(),
    }
    return layer(whole), digest_of(document)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    (member,) = (each for each in archive.getmembers() if each.name.removeprefix("./") == name)
    return (archive.extractfile(member) or io.BytesIO()).read()


def found(machine: Api) -> dict[str, str]:
    """What there is, under the keys of promises."""
    things: dict[str, str] = {}
    for container in machine.request("GET", "/containers/json?all=1").json():
        things[f"container {container['Names'][0].removeprefix('/')}"] = container["State"]
    for volume in machine.request("GET", "/volumes").json()["Volumes"] or ():
        things[f"volume {volume['Name']}"] = PRESENT
    for network in machine.request("GET", "/networks").json():
        things[f"network {network['Name']}"] = PRESENT
    for image in machine.request("GET", "/images/json").json():
        for tag in image["RepoTags"] or ():
            things[f"tag {tag}"] = PRESENT
            things[f"image {tag}"] = image["Id"]
    return things
