"""``python -m tests.machine``: install the service in a machine, let the machine die again and again, look each time.

Needs a machine of one's own, with systemd, that runs nothing else; all that the service has there is used up.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Iterator

from tests.machine import furniture
from tests.machine.furniture import Death
from tests.machine.load import Client, Writer, found
from tests.machine.machine import Machine, ask
from tests.support.tools import sample_archive

SETTLES_WITHIN = 120.0
JOBS = ("database", "host", "layers", "journal")


class Trial:
    """One machine and the clients that remember what it promised."""

    def __init__(self, machine: Machine, clients: int, seed: int) -> None:
        self.machine = machine
        self.random = random.Random(seed)
        self.clients = [Client(f"client{number}", random.Random(seed + number), machine) for number in range(clients)]
        self.writer = Writer(machine)
        self.failed = False

    def prepare(self) -> None:
        """The image that all stands on, and the furniture."""
        body = sample_archive().read_bytes()
        ask(self.machine, "POST", "/images/load?quiet=1", body)
        furniture.arrange(self.machine)
        furniture.executed(self.machine, "web", "sh", "-c", "echo kept > /data/x; sync")

    def dies(self, death: Death, load: float = 0.0) -> None:
        """Let the machine die, under load for some seconds if so asked, and print what became of it."""
        furniture.arrange(self.machine)
        everybody: list[Client | Writer] = [*self.clients, self.writer]
        before = sum(client.promises.answered for client in everybody)
        stop = threading.Event()
        threads = [threading.Thread(target=client.until_lost, args=(stop,)) for client in everybody if load]
        for thread in threads:
            thread.start()
        time.sleep(load)
        begun = time.monotonic()
        try:
            getattr(self.machine, death)()
        finally:
            stop.set()
        seconds = time.monotonic() - begun
        for thread in threads:
            thread.join()
        acknowledged = sum(client.promises.answered for client in everybody) - before
        under_way = sum(len(states) > 1 for client in everybody for states in client.promises.states.values())
        wrong = list(self.wrong(death))
        self.failed = self.failed or bool(wrong)
        name = f"{death} under load" if load else f"{death} at rest"
        print(
            f"{name:16} ready after {seconds:4.0f} s; {acknowledged:4} acknowledged, {under_way} under way; "
            + (f"{len(wrong)} WRONG" if wrong else "all well"),
            *(f"\n    {line}" for line in wrong),
            sep="",
            flush=True,
        )

    def wrong(self, death: Death) -> Iterator[str]:
        """All that is not as promised."""
        things = self._settled()
        for client in self.clients:
            yield from client.promises.broken(things)
            yield from client.promises.refusals
            client.promises.refusals.clear()
            client.promises.take(things)
        yield from self.writer.promises.refusals
        self.writer.promises.refusals.clear()
        yield from furniture.wrong(self.machine, death)
        for job in JOBS:
            yield from (f"{job}: {line}" for line in self.machine.inside(job))
        written = self.machine.inside("written")
        if written.get("kept") != "kept\n":
            yield f"volume kept: {written.get('kept')!r}"
        number = int(written.get("written", "0"))
        if not self.writer.written <= number <= self.writer.written + 1:
            yield f"volume written: {number}, promised {self.writer.written}"
        self.writer.written = number
        yield from self._unusable(things)

    def _settled(self) -> dict[str, str]:
        """What there is, once removals that were under way are over."""
        deadline = time.monotonic() + SETTLES_WITHIN
        while True:
            things = found(self.machine)
            kept = not any(client.promises.broken(things) for client in self.clients)
            if kept or time.monotonic() > deadline:
                return things
            time.sleep(2)

    def _unusable(self, things: dict[str, str]) -> Iterator[str]:
        for tag in (
            key.removeprefix("image ") for key in things if key.startswith("image client") and "-image:" in key
        ):
            body = {"Image": tag, "Cmd": ["sha256sum", "-s", "-c", "/sums"]}
            uid = ask(self.machine, "POST", "/containers/create", body).json()["Id"]
            ask(self.machine, "POST", f"/containers/{uid}/start")
            code = ask(self.machine, "POST", f"/containers/{uid}/wait").json()["StatusCode"]
            ask(self.machine, "DELETE", f"/containers/{uid}")
            if code:
                yield f"a container of {tag} finds its files changed: exit code {code}"


def main() -> int:
    """Run what the command line says; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("--run", required=True, help="command that runs the shell line which is added, as root inside")
    parser.add_argument("--reboot", required=True, help="command that reboots it cleanly and waits until it is up")
    parser.add_argument("--cut", required=True, help="command that cuts its power and waits until it is up again")
    parser.add_argument("--installed", action="store_true", help="this service is installed there already")
    parser.add_argument("--reboots", type=int, default=1)
    parser.add_argument("--rests", type=int, default=1, help="power cuts at rest")
    parser.add_argument("--cuts", type=int, default=5, help="power cuts under load")
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--load", type=float, default=90.0, help="seconds of load before a cut, half of it at least")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100000)
    options = parser.parse_args()
    machine = Machine(options.run, options.reboot, options.cut)
    machine.copy()
    if not options.installed:
        machine.install()
    machine.wait_ready()
    print(f"seed {options.seed}", flush=True)
    trial = Trial(machine, options.clients, options.seed)
    trial.prepare()
    for _ in range(options.reboots):
        trial.dies("reboot")
    for _ in range(options.rests):
        trial.dies("cut")
    for _ in range(options.cuts):
        trial.dies("cut", trial.random.uniform(options.load / 2, options.load))
    return int(trial.failed)


if __name__ == "__main__":
    sys.exit(main())
