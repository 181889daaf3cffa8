"""Eight clients, and a kill -9 at any moment, again and again.

``CRASH_ROUNDS`` says how often (20 unless said otherwise; 200 by hand), ``CRASH_SEED`` which way.
"""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.integration.crash.load import State, Worker, work
from tests.support.audit import Auditor
from tests.support.engine import Engine

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
PHASES: dict[str, State] = {"created": "created", "running": "running", "exited": "exited"}


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    """One for all tests of this file; each leaves it empty."""
    return module_engine


def counter(engine: Engine) -> str:
    """A container that writes numbered lines, with a port, which lives through everything."""
    script = (
        "mkdir -p /w; echo alive > /w/index.html; httpd -h /w; i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done"
    )
    return engine.run("-d", "-p", "18099:80", "--restart=always", "busybox:latest", "sh", "-c", script)


def fetch(engine: Engine) -> str:
    """What the published port answers, from outside."""
    script = "exec 3<>/dev/tcp/10.98.0.1/18099; printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    answer = engine.surroundings.run_outside("timeout", "5", "bash", "-c", script, check=False).stdout
    return answer.rpartition("\n\n")[2]


@pytest.mark.timeout(60 + ROUNDS * 30)
def test_a_kill_at_any_moment_breaks_no_promise(engine: Engine) -> None:
    chance = random.Random(SEED)
    witness = counter(engine)
    workers = [Worker(f"worker{number}", random.Random(chance.random())) for number in range(8)]
    for round_number in range(ROUNDS):
        stop = threading.Event()
        threads = work(engine, workers, stop)
        stop.wait(chance.uniform(0.05, 1.5))
        engine.kill9()
        stop.set()
        for thread in threads:
            thread.join(60)
        where = f"round {round_number} of seed {SEED}"
        assert fetch(engine) == "alive\n", f"{where}: the port is silent while the daemon is dead"
        engine.start()
        settle(engine, workers, where)
        assert fetch(engine) == "alive\n", where
    assert sum(worker.answered for worker in workers) > ROUNDS
    assert [refusal for worker in workers for refusal in worker.refusals] == []
    lines = [int(line) for line in engine.docker("logs", witness).out.split()]
    assert lines == list(range(len(lines)))
    assert engine.inspect(witness)["RestartCount"] == 0


def settle(engine: Engine, workers: list[Worker], where: str) -> None:
    """Every promise is kept, and the host holds just what the rows say."""
    differences = Auditor(engine.layout, engine.pid, lambda path: engine.request("GET", path).json()).settled(20)
    assert differences == [], where
    # A removal that was asked for goes on by itself; for a moment its container is still there, and not running.
    deadline = time.monotonic() + 10
    states = seen(engine)
    while time.monotonic() < deadline and any(
        states.get(worker.name, "absent") not in worker.possible() for worker in workers
    ):
        time.sleep(0.1)
        states = seen(engine)
    for worker in workers:
        state = states.get(worker.name, "absent")
        assert state in worker.possible(), f"{where}: {worker.name} is {state}, not {worker.possible()}"
        worker.promised, worker.asked = state, None


def seen(engine: Engine) -> dict[str, State]:
    """The workers' containers as the engine lists them."""
    return {
        container["Names"][0].removeprefix("/"): PHASES.get(container["State"], "exited")
        for container in engine.request("GET", "/containers/json?all=1").json()
    }
