"""Workers that keep a daemon busy and remember what it promised them."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from tests.integration.crash.operations import small_tar
from tests.support.engine import Engine

State = Literal["absent", "created", "running", "paused", "exited"]

REMOVE, FORCE = ("DELETE", "/containers/{name}?v=1"), ("DELETE", "/containers/{name}?force=1&v=1")
STEPS: dict[State, tuple[tuple[str, str, State], ...]] = {
    "absent": (("POST", "/containers/create?name={name}", "created"),),
    "created": (("POST", "/containers/{name}/start", "running"), (*REMOVE, "absent")),
    "running": (
        ("POST", "/containers/{name}/stop?t=0", "exited"),
        ("POST", "/containers/{name}/kill", "exited"),
        ("POST", "/containers/{name}/kill?signal=USR1", "running"),
        ("POST", "/containers/{name}/restart?t=0", "running"),
        ("POST", "/containers/{name}/pause", "paused"),
        ("POST", "/containers/{name}/update", "running"),
        ("POST", "/containers/{name}/exec", "running"),
        ("POST", "/networks/{aside}/connect", "running"),
        ("POST", "/networks/{aside}/disconnect", "running"),
        (*FORCE, "absent"),
    ),
    "paused": (("POST", "/containers/{name}/unpause", "running"), (*FORCE, "absent")),
    "exited": (("POST", "/containers/{name}/start", "running"), (*REMOVE, "absent")),
}
"""What can be asked of a container, by its state: method, path and the state that an answer promises."""
NETWORK, ASIDE = "between", "aside"
"""Networks to be started in, and to be connected to while running."""
ALREADY = (403, 409)
"""What a connection is answered that is there, and a disconnection of what is not."""
POLICIES = ("no", "no", "always", "unless-stopped", "on-failure")


@dataclass
class Worker:
    """One client with one container at a time.

    ``promised`` is what the daemon last acknowledged; ``asked`` the state that an unanswered request leads to;
    ``leaving`` that a removal was among those, which may still be going on where the disk is slow.
    """

    name: str
    random: random.Random
    promised: State = "absent"
    asked: State | None = None
    answered: int = 0
    policy: str = "no"
    leaving: bool = False
    refusals: list[str] = field(default_factory=list)

    def step(self, engine: Engine) -> bool:
        """One request; False when the daemon did not answer it."""
        method, path, target = self.random.choice(STEPS[self.promised])
        self.asked = target
        body: object = None
        if "create" in path:
            self.policy = self.random.choice(POLICIES)
            body = self._container()
        elif path.endswith("/update"):
            body = {"CpuShares": self.random.choice((256, 512, 1024))}
        elif path.endswith("/exec"):
            body = {"Cmd": ["true"]}
        elif path.startswith("/networks"):
            body = {"Container": self.name}
        try:
            answer = engine.request(method, path.format(name=self.name, aside=ASIDE), body, timeout=30)
            if path.endswith("/exec") and answer.status == 201:
                uid = json.loads(answer.body)["Id"]
                answer = engine.request("POST", f"/exec/{uid}/start", {"Detach": True}, timeout=30)
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 409 and self.leaving and b"removal" in answer.body:
            return self._wait_gone(engine)
        self.leaving = False
        if answer.status >= 400 and not (path.startswith("/networks") and answer.status in ALREADY):
            self.refusals.append(f"{method} {path}: {answer.status} {answer.body!r}")
        self.promised, self.asked = target, None
        self.answered += 1
        return True

    def _wait_gone(self, engine: Engine) -> bool:
        """The removal goes on: wait for its end, which has to come; False when the daemon does not answer."""
        self.asked = "absent"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if engine.request("GET", f"/containers/{self.name}/json", timeout=30).status == 404:
                    self.promised, self.asked, self.leaving = "absent", None, False
                    return True
            except (OSError, http.client.HTTPException):
                return False
            time.sleep(0.05)
        self.refusals.append(f"{self.name} is not gone a minute after its removal was asked for")
        return False

    def _container(self) -> dict[str, object]:
        return {
            "Image": "busybox:latest",
            "Cmd": ["sleep", "1000"],
            "Volumes": {"/data": {}},
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {
                "NetworkMode": self.random.choice(("default", NETWORK)),
                "PortBindings": {"80/tcp": [{"HostPort": ""}]},
                "Binds": [f"{self.name}:/kept"],
                "RestartPolicy": {"Name": self.policy},
            },
        }

    def possible(self) -> set[State]:
        """The states that keep the daemon's promises."""
        # A restart that was cut may have stopped and not yet started, and a started one is brought up again.
        states: set[State] = {self.promised} | ({self.asked} if self.asked else set())
        if "exited" in states and self.policy in ("always", "on-failure"):
            # As with dockerd, what was stopped by hand comes back with the daemon.
            states.add("running")
        return states


def work(engine: Engine, workers: list[Worker], stop: threading.Event) -> list[threading.Thread]:
    """Set the workers going, each in a thread that ends when the daemon stops answering."""

    def run(worker: Worker) -> None:
        while not stop.is_set() and worker.step(engine):
            pass

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    return threads


@dataclass
class Housekeeper:
    """A client of what is no container: makes and removes a network, a volume, a tag and an image, over and over.

    ``promised`` says for each whether the last answer means that it is there; ``asked`` is what no answer came for.
    """

    random: random.Random
    promised: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(THINGS, False))
    asked: str = ""
    refusals: list[str] = field(default_factory=list)

    def step(self, engine: Engine) -> bool:
        """One request; False when the daemon did not answer it."""
        thing = self.asked = self.random.choice(list(THINGS))
        make, there = THINGS[thing]
        method, path, body = ("DELETE", there, None) if self.promised[thing] else ("POST", *make)
        try:
            answer = engine.request(method, path, body, timeout=30)
        except (OSError, http.client.HTTPException):
            return False
        if answer.status >= 400:
            self.refusals.append(f"{method} {path}: {answer.status} {answer.body!r}")
        self.promised[thing], self.asked = not self.promised[thing], ""
        return True

    def judge(self, engine: Engine) -> list[str]:
        """The promises that are broken; what is there now is what the next round goes on from."""
        broken = []
        for thing, (_, path) in THINGS.items():
            there = engine.request("GET", f"{path}/json" if "/images/" in path else path).status == 200
            if there != self.promised[thing] and thing != self.asked:
                broken.append(f"{thing}: there {there}, promised {self.promised[thing]}")
            self.promised[thing] = there
        self.asked = ""
        return broken


THINGS: dict[str, tuple[tuple[str, object], str]] = {
    "network": (("/networks/create", {"Name": "passing", "CheckDuplicate": True}), "/networks/passing"),
    "volume": (("/volumes/create", {"Name": "passing"}), "/volumes/passing"),
    "tag": (("/images/busybox/tag?repo=busybox&tag=passing", None), "/images/busybox:passing"),
    "image": (("/images/create?fromSrc=-&repo=passing&tag=latest", small_tar(b"passing")), "/images/passing:latest"),
}
"""What it makes (path and body of a POST) and where that is then."""
