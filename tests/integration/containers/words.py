"""Short words for what the tests of containers' life do over and over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.support.daemon import Answer, Daemon


def create(daemon: Daemon, *command: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
    """A new container of busybox; its id."""
    body = {"Image": "busybox", "Cmd": list(command), "HostConfig": {"NetworkMode": "none", **(host or {})}, **config}
    answer = daemon.request("POST", f"/containers/create?name={name}" if name else "/containers/create", body)
    assert answer.status == 201, answer.body
    return str(answer.json()["Id"])


def post(daemon: Daemon, path: str, status: int = 204, body: Any = None) -> Answer:
    """A POST that has to be answered with ``status``."""
    answer = daemon.request("POST", path, body)
    assert answer.status == status, (answer.status, answer.body)
    return answer


def run(daemon: Daemon, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    """A new container, started; its id."""
    container = create(daemon, *command, host=host, **config)
    post(daemon, f"/containers/{container}/start")
    return container


def state(daemon: Daemon, container: str) -> dict[str, Any]:
    """``State`` of an inspect."""
    found: dict[str, Any] = daemon.inspect(container)["State"]
    return found


def wait(daemon: Daemon, container: str, condition: str = "not-running") -> int:
    """The exit code, waited for."""
    answer = daemon.request("POST", f"/containers/{container}/wait?condition={condition}")
    assert answer.status == 200, answer.body
    return int(answer.json()["StatusCode"])


def eventually(condition: Callable[[], Any], within: float = 20) -> Any:
    """What ``condition`` returns, once that is true."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.05)
    return found


def events(daemon: Daemon, container: str, since: float) -> list[str]:
    """The actions that events since then (Unix time) tell of the container."""
    path = f"/events?since={since:.9f}&until={time.time():.9f}&filters=" + json.dumps({"container": [container]})
    body = daemon.request("GET", path.replace('"', "%22").replace(" ", "")).body
    return [json.loads(line)["Action"] for line in body.splitlines()]


def message(answer: Answer) -> str:
    """The error's text."""
    return str(answer.json()["message"])
