"""What stands in the machine when it dies: containers of all policies and pasts, a network, a port, volumes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.machine.machine import Machine, ask, eventually

Death = Literal["reboot", "cut"]
IMAGE = "busybox:latest"
NETWORK = "furniture"
PORT = 18080
AT_ONCE = 4
RUNS = ("sleep", "100000")
SERVES = ("sh", "-c", "mkdir -p /w; echo it works > /w/index.html; exec httpd -f -h /w")
LOST, KILLED = 255, 137


def polite(code: int) -> tuple[str, ...]:
    """A command that ends by itself when it is asked to."""
    return ("sh", "-c", f"trap 'exit {code}' TERM; while :; do sleep 1; done")


@dataclass(frozen=True)
class Piece:
    """A container: how it stood, and what is to become of it, as dockerd 20.10 does; ``exited:3`` names the code too.

    At a clean reboot containers are stopped as ``docker stop`` would, so what their policies see is that exit.
    """

    name: str
    policy: str
    past: Literal["running", "stopped", "exited", "created", "paused"]
    reboot: str
    cut: str
    command: tuple[str, ...] = RUNS
    host: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The request that creates it."""
        host = {"RestartPolicy": {"Name": self.policy}, "NetworkMode": NETWORK, **self.host}
        body = {"Image": IMAGE, "Cmd": list(self.command), "StopTimeout": 2, "HostConfig": host}
        return {**body, "ExposedPorts": {"80/tcp": {}}} if "PortBindings" in self.host else body


WEB = {"PortBindings": {"80/tcp": [{"HostPort": str(PORT)}]}, "Binds": ["kept:/data"]}
PIECES = (
    Piece("web", "always", "running", "running", "running", SERVES, WEB),
    Piece("beside", "always", "running", "running", "running", RUNS, {"NetworkMode": "container:web"}),
    Piece("writer", "always", "running", "running", "running", RUNS, {"Binds": ["written:/data"]}),
    Piece("run-no", "no", "running", f"exited:{KILLED}", f"exited:{LOST}"),
    Piece("run-unless-stopped", "unless-stopped", "running", "running", "running"),
    Piece("run-on-failure", "on-failure", "running", "running", "running"),
    Piece("polite-no", "no", "running", "exited:7", f"exited:{LOST}", polite(7)),
    Piece("polite-on-failure", "on-failure", "running", "exited:0", "running", polite(0)),
    Piece("paused-always", "always", "paused", "running", "running"),
    Piece("stopped-always", "always", "stopped", "running", "running"),
    Piece("stopped-unless-stopped", "unless-stopped", "stopped", f"exited:{KILLED}", f"exited:{KILLED}"),
    Piece("created-always", "always", "created", "created:0", "created:0"),
    Piece("exited", "no", "exited", "exited:3", "exited:3", ("sh", "-c", "exit 3")),
    Piece("removes-itself", "", "running", "absent", "absent", RUNS, {"AutoRemove": True}),
)


def arrange(machine: Machine) -> None:
    """Have every piece as it is to stand."""
    if machine.request("GET", f"/networks/{NETWORK}").status == 404:
        ask(machine, "POST", "/networks/create", {"Name": NETWORK})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The one that another joins comes first.
        list(pool.map(lambda piece: _place(machine, piece), PIECES[:1]))
        list(pool.map(lambda piece: _place(machine, piece), PIECES[1:]))


def _place(machine: Machine, piece: Piece) -> None:
    there = _inspect(machine, piece)
    if there is None:
        ask(machine, "POST", f"/containers/create?name={piece.name}", piece.body())
    status = there["State"]["Status"] if there else "created"
    if piece.past == "created" or (status == "exited" and piece.past in ("stopped", "exited")):
        return
    if status not in ("running", "paused"):
        ask(machine, "POST", f"/containers/{piece.name}/start")
    match piece.past:
        case "stopped":
            ask(machine, "POST", f"/containers/{piece.name}/stop?t=0")
        case "exited":
            ask(machine, "POST", f"/containers/{piece.name}/wait")
        case "paused" if status != "paused":
            ask(machine, "POST", f"/containers/{piece.name}/pause")


def _inspect(machine: Machine, piece: Piece) -> dict[str, Any] | None:
    answer = machine.request("GET", f"/containers/{piece.name}/json")
    found: dict[str, Any] | None = answer.json() if answer.status == 200 else None
    return found


def wrong(machine: Machine, death: Death) -> list[str]:
    """What is not as it is to be after that death."""
    found = []
    for piece in PIECES:
        wanted = piece.reboot if death == "reboot" else piece.cut
        try:
            eventually(piece.name, lambda p=piece, w=wanted: _shown(machine, p) == w, within=120)  # type: ignore[misc]
        except AssertionError:
            found.append(f"{piece.name}: {_shown(machine, piece)}, not {wanted}")
    return found + _unreachable(machine)


def _shown(machine: Machine, piece: Piece) -> str:
    there = _inspect(machine, piece)
    if there is None:
        return "absent"
    state = there["State"]
    if there["RestartCount"]:
        return f"{state['Status']} after {there['RestartCount']} restarts"
    return "running" if state["Running"] else f"{state['Status']}:{state['ExitCode']}"


def _unreachable(machine: Machine) -> list[str]:
    fetch = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{PORT}/', timeout=60).read())"
    answer = machine.run(f'python3 -c "{fetch}" 2>&1', check=False)
    found = [] if "it works" in answer else [f"port {PORT} on the host: {answer[-200:]}"]
    for name, address in (("beside", "127.0.0.1"), ("writer", "web")):
        if executed(machine, name, "wget", "-q", "-O", "/dev/null", f"http://{address}/"):
            found.append(f"{name} does not reach http://{address}/")
    return found


def executed(machine: Machine, container: str, *command: str) -> int:
    """The exit code of a command in a running container."""
    body = {"Cmd": list(command), "AttachStdout": True}
    execution = ask(machine, "POST", f"/containers/{container}/exec", body).json()["Id"]
    # Its end is asked for, not streamed: a stream would take this thread's connection away.
    ask(machine, "POST", f"/exec/{execution}/start", {"Detach": True})
    path = f"/exec/{execution}/json"
    ended = eventually(" ".join(command), lambda: (a := ask(machine, "GET", path).json()) and not a["Running"] and a)
    return int(ended["ExitCode"])
