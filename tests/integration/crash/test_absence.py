"""What happens while the daemon is dead is known when it is back."""

from __future__ import annotations

import time

import pytest

from tests.support.engine import Engine


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    """One for all tests of this file; each leaves it empty."""
    return module_engine


@pytest.mark.parametrize("code", [0, 3, 137])
def test_an_exit_while_the_daemon_is_dead_is_recorded_with_its_code_and_time(engine: Engine, code: int) -> None:
    script = f"echo before; sleep 1; echo after; {'kill -9 $$' if code == 137 else f'exit {code}'}"
    # As a child of the first process, since that one cannot be killed from inside its own namespace.
    uid = engine.run("-d", "busybox:latest", "sh", "-c", f"sh -c '{script}'; exit $?")
    engine.kill9()
    time.sleep(1.6)
    engine.start()
    state = engine.inspect(uid)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", code)
    started, finished = (time.strptime(state[key][:19], "%Y-%m-%dT%H:%M:%S") for key in ("StartedAt", "FinishedAt"))
    assert 0 <= time.mktime(finished) - time.mktime(started) <= 2
    assert engine.docker("logs", uid).out == "before\nafter\n"
    engine.docker("rm", uid)


def test_a_restart_policy_acts_on_an_exit_that_nobody_saw(engine: Engine) -> None:
    uid = engine.run("-d", "--restart=on-failure:5", "busybox:latest", "sh", "-c", "sleep 0.5; exit 3")
    again = engine.run(
        "-d", "--restart=always", "busybox:latest", "sh", "-c", "sleep 0.5; [ -e /x ] && sleep 1000; touch /x"
    )
    engine.kill9()
    time.sleep(1.2)
    engine.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not engine.inspect(again)["State"]["Running"]:
        time.sleep(0.1)
    assert engine.inspect(again)["State"]["Running"]
    assert engine.inspect(again)["RestartCount"] >= 1
    assert engine.inspect(uid)["RestartCount"] >= 1
    engine.docker("rm", "-f", uid, again)


def test_a_container_that_removes_itself_is_gone_also_when_it_ended_unseen(engine: Engine) -> None:
    uid = engine.run("-d", "--rm", "busybox:latest", "sleep", "0.3")
    engine.kill9()
    time.sleep(0.8)
    engine.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and engine.docker("inspect", uid, check=False).code == 0:
        time.sleep(0.1)
    assert engine.docker("inspect", uid, check=False).code != 0
