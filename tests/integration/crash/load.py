"""Workers that keep a daemon busy and remember what it promised them."""

from __future__ import annotations

import http.client
import random
import threading
from dataclasses import dataclass, field
from typing import Literal

from tests.support.engine import Engine

State = Literal["absent", "created", "running", "exited"]

STEPS: dict[State, tuple[tuple[str, str, State], ...]] = {
    "absent": (("POST", "/containers/create?name={name}", "created"),),
    "created": (("POST", "/containers/{name}/start", "running"), ("DELETE", "/containers/{name}?v=1", "absent")),
    "running": (
        ("POST", "/containers/{name}/stop?t=0", "exited"),
        ("POST", "/containers/{name}/restart?t=0", "running"),
        ("DELETE", "/containers/{name}?force=1&v=1", "absent"),
    ),
    "exited": (("POST", "/containers/{name}/start", "running"), ("DELETE", "/containers/{name}?v=1", "absent")),
}
"""What can be asked of a container, by its state: method, path and the state that an answer promises."""


@dataclass
class Worker:
    """One client with one container at a time.

    ``promised`` is what the daemon last acknowledged; ``asked`` the state that an unanswered request leads to.
    """

    name: str
    random: random.Random
    promised: State = "absent"
    asked: State | None = None
    answered: int = 0
    refusals: list[str] = field(default_factory=list)

    def step(self, engine: Engine) -> bool:
        """One request; False when the daemon did not answer it."""
        method, path, target = self.random.choice(STEPS[self.promised])
        self.asked = target
        body = None
        if "create" in path:
            body = {
                "Image": "busybox:latest",
                "Cmd": ["sleep", "1000"],
                "Volumes": {"/data": {}},
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
            }
        try:
            answer = engine.request(method, path.format(name=self.name), body, timeout=30)
        except (OSError, http.client.HTTPException):
            return False
        if answer.status >= 400:
            self.refusals.append(f"{method} {path}: {answer.status} {answer.body!r}")
        self.promised, self.asked = target, None
        self.answered += 1
        return True

    def possible(self) -> set[State]:
        """The states that keep the daemon's promises."""
        # A restart that was cut may have stopped and not yet started, and a started one is brought up again.
        return {self.promised} | ({self.asked} if self.asked else set())


def work(engine: Engine, workers: list[Worker], stop: threading.Event) -> list[threading.Thread]:
    """Set the workers going, each in a thread that ends when the daemon stops answering."""

    def run(worker: Worker) -> None:
        while not stop.is_set() and worker.step(engine):
            pass

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    return threads
