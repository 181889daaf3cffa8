"""Eight clients and more, and a kill -9 at any moment, again and again.

``CRASH_ROUNDS`` says how often (20 unless said otherwise; 200 by hand), ``CRASH_SEED`` which way.
"""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.integration.crash.load import ASIDE, NETWORK, Housekeeper, State, Worker, work
from tests.integration.crash.witnesses import Follower, Mortals, Visitor, counter
from tests.support.audit import Auditor
from tests.support.engine import Engine

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
STILL = 2.0
"""Seconds without a change after which nothing is under way."""
PHASES: dict[str, State] = {"created": "created", "running": "running", "paused": "paused", "exited": "exited"}


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    """One for all tests of this file; each leaves it empty."""
    return module_engine


@pytest.mark.timeout(120 + ROUNDS * 60)
def test_a_kill_at_any_moment_breaks_no_promise(engine: Engine) -> None:
    chance = random.Random(SEED)
    for network in (NETWORK, ASIDE):
        engine.docker("network", "create", network)
    witness = counter(engine)
    visitor = Visitor(engine)
    visiting = visitor.start()
    workers = [Worker(f"worker{number}", random.Random(chance.random())) for number in range(8)]
    keeper = Housekeeper(random.Random(chance.random()))
    mortals = Mortals(engine)
    followed = 0
    for round_number in range(ROUNDS):
        where = f"round {round_number} of seed {SEED}"
        print(f"{time.time():.3f} {where}", flush=True)
        mortals.start()
        follower = Follower(engine, witness)
        stop = threading.Event()
        threads = [*work(engine, workers, stop), keep(engine, keeper, stop)]
        stop.wait(chance.uniform(0.05, 1.5))
        engine.kill9()
        stop.set()
        for thread in threads:
            thread.join(60)
        mortals.end()
        numbers = follower.numbers()
        followed += len(numbers)
        assert numbers == list(range(len(numbers))), where
        engine.start()
        settle(engine, workers, where)
        assert keeper.judge(engine) == [], where
        mortals.judge(where)
        assert [refusal for worker in workers for refusal in worker.refusals] + keeper.refusals == [], where
        assert visitor.failures == [], where
    visitor.stop()
    visiting.join(30)
    assert visitor.visits > ROUNDS
    assert followed > ROUNDS
    assert sum(worker.answered for worker in workers) > ROUNDS
    lines = [int(line) for line in engine.docker("logs", witness).out.split()]
    assert lines == list(range(len(lines)))
    assert engine.inspect(witness)["RestartCount"] == 0


def keep(engine: Engine, keeper: Housekeeper, stop: threading.Event) -> threading.Thread:
    """Set the housekeeper going."""

    def run() -> None:
        while not stop.is_set() and keeper.step(engine):
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def settle(engine: Engine, workers: list[Worker], where: str) -> None:
    """Every promise is kept, and the host holds just what the rows say."""
    differences = Auditor(engine.layout, engine.pid, lambda path: engine.request("GET", path).json()).settled(20)
    assert differences == [], where
    # What was asked for and not answered is either not begun or goes on by itself, which nothing in the list shows.
    states, since = seen(engine), time.monotonic()
    deadline = since + 20
    while (now := time.monotonic()) < deadline:
        done = all(states.get(worker.name, "absent") == (worker.asked or worker.promised) for worker in workers)
        kept = all(states.get(worker.name, "absent") in worker.possible() for worker in workers)
        if done or (kept and now - since > STILL):
            break
        time.sleep(0.1)
        if (fresh := seen(engine)) != states:
            states, since = fresh, time.monotonic()
    for worker in workers:
        state = states.get(worker.name, "absent")
        assert state in worker.possible(), f"{where}: {worker.name} is {state}, not {worker.possible()}"
        worker.leaving = worker.asked == "absent" and state != "absent"
        worker.promised, worker.asked = state, None


def seen(engine: Engine) -> dict[str, State]:
    """The workers' containers as the engine lists them."""
    return {
        container["Names"][0].removeprefix("/"): PHASES.get(container["State"], "exited")
        for container in engine.request("GET", "/containers/json?all=1").json()
    }
