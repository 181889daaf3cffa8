"""Containers while the daemon is dead, and after it comes back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.containers.words import create, events, eventually, post, run, state, wait
from tests.support.engine import Engine


def test_a_running_container_is_the_same_after_kill_9(private_engine: Engine) -> None:
    container = run(private_engine, "sleep", "1000", host={"NetworkMode": "bridge"})
    before = private_engine.inspect(container)
    private_engine.kill9()
    private_engine.start()
    after = private_engine.inspect(container)
    for field in ("State", "NetworkSettings", "RestartCount"):
        assert after[field] == before[field]
    post(private_engine, f"/containers/{container}/stop?t=0")
    assert state(private_engine, container)["ExitCode"] == 137


def test_exits_while_the_daemon_is_dead_are_known_with_code_and_time(private_engine: Engine) -> None:
    codes = {code: run(private_engine, "sh", "-c", f"sleep 1; exit {code}") for code in (0, 3, 137)}
    private_engine.kill9()
    died = time.time()
    time.sleep(2.5)
    private_engine.start()
    for code, container in codes.items():
        found = state(private_engine, container)
        assert (found["Status"], found["ExitCode"]) == ("exited", code)
        ended = time.mktime(time.strptime(found["FinishedAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert died - 1 < ended < died + 2.5
        assert "die" in events(private_engine, container, 0)


def test_policies_act_on_exits_that_were_missed(private_engine: Engine) -> None:
    def long_then_short(name: str) -> str:
        return run(private_engine, "sh", "-c", "sleep 1; exit 1", host={"RestartPolicy": {"Name": name}})

    always, failing, never = long_then_short("always"), long_then_short("on-failure"), long_then_short("no")
    removing = run(private_engine, "sleep", "1", host={"AutoRemove": True})
    private_engine.kill9()
    time.sleep(2)
    private_engine.start()
    eventually(lambda: private_engine.inspect(always)["RestartCount"] >= 1)
    eventually(lambda: private_engine.inspect(failing)["RestartCount"] >= 1)
    assert state(private_engine, never)["Status"] == "exited"
    eventually(lambda: private_engine.request("GET", f"/containers/{removing}/json").status == 404)


def test_stopped_by_hand_means_stopped_for_unless_stopped_alone(private_engine: Engine) -> None:
    def stopped(name: str) -> str:
        container = run(private_engine, "sleep", "1000", host={"RestartPolicy": {"Name": name}})
        post(private_engine, f"/containers/{container}/stop?t=0")
        return container

    always, unless = stopped("always"), stopped("unless-stopped")
    fresh = create(private_engine, "sleep", "1000", host={"RestartPolicy": {"Name": "always"}})
    private_engine.restart()
    eventually(lambda: state(private_engine, always)["Running"])
    assert state(private_engine, unless)["Status"] == "exited"
    assert state(private_engine, fresh)["Status"] == "created"


def test_a_paused_container_stays_paused(private_engine: Engine) -> None:
    container = run(private_engine, "sleep", "1000")
    post(private_engine, f"/containers/{container}/pause")
    private_engine.kill9()
    private_engine.start()
    assert state(private_engine, container)["Status"] == "paused"
    post(private_engine, f"/containers/{container}/unpause")


def test_a_stop_that_was_begun_is_finished(private_engine: Engine) -> None:
    container = run(private_engine, "sleep", "1000")
    with pytest.raises(TimeoutError):
        private_engine.request("POST", f"/containers/{container}/stop?t=2", timeout=0.5)
    private_engine.kill9()
    private_engine.start()
    eventually(lambda: state(private_engine, container)["Status"] == "exited")
    assert state(private_engine, container)["ExitCode"] == 137


@pytest.mark.parametrize(
    "point",
    [
        "container.wish.committed",
        "container.start.decided",
        "container.start.prepared",
        "container.start.created",
        "container.start.running",
    ],
)
def test_a_start_that_was_cut_short_happens_once(private_engine: Engine, point: str) -> None:
    container = create(private_engine, "sh", "-c", "echo x >> /runs; exec sleep 1000", host={"NetworkMode": "bridge"})
    private_engine.stop()
    private_engine.start(WHARFINGER_CRASH_AT=point)
    with pytest.raises(ConnectionError):
        private_engine.request("POST", f"/containers/{container}/start")
    private_engine.wait_ended()
    private_engine.start()
    eventually(lambda: state(private_engine, container)["Running"])
    assert _hears(private_engine, private_engine.inspect(container)["NetworkSettings"]["IPAddress"])
    upper = private_engine.layout.upper(container) / "runs"
    assert eventually(lambda: _read(private_engine, upper)) == "x\n"


def test_a_start_whose_process_has_ended_already_is_not_repeated(private_engine: Engine) -> None:
    container = create(private_engine, "sh", "-c", "echo x >> /runs; exit 4")
    private_engine.stop()
    private_engine.start(WHARFINGER_CRASH_AT="container.start.running")
    with pytest.raises(ConnectionError):
        private_engine.request("POST", f"/containers/{container}/start")
    private_engine.wait_ended()
    time.sleep(0.5)
    private_engine.start()
    assert wait(private_engine, container) == 4
    assert _read(private_engine, private_engine.layout.upper(container) / "runs") == "x\n"


def test_a_killed_monitor_does_not_end_its_container(private_engine: Engine) -> None:
    container = run(private_engine, "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
    time.sleep(0.5)
    pid = state(private_engine, container)["Pid"]
    monitor = int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: "repair: monitor gone" in events(private_engine, container, 0))
    assert state(private_engine, container)["Pid"] == pid
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: state(private_engine, container)["Status"] == "exited")
    assert state(private_engine, container)["ExitCode"] == 5


def test_what_no_row_explains_is_removed_at_the_start(private_engine: Engine) -> None:
    container = run(private_engine, "sleep", "1000")
    pid = state(private_engine, container)["Pid"]
    private_engine.stop()
    private_engine.surroundings.run("rm", "-f", *map(str, private_engine.data_root.glob("wharfinger.db*")))
    private_engine.start()
    assert not Path(f"/proc/{pid}").exists()
    layout = private_engine.layout
    for place in (layout.containers, layout.bundles, layout.runtime_state, layout.exits):
        assert not list(place.iterdir())


def _read(engine: Engine, path: Path) -> str:
    return engine.surroundings.run("cat", str(path), check=False).stdout


def _hears(engine: Engine, address: str) -> bool:
    """Whether somebody at this address answers, though only to say that nobody listens."""
    command = ["python3", "-c", f"import socket; print(socket.socket().connect_ex(('{address}', 9)))"]
    return engine.surroundings.run(*command).stdout.strip() == "111"
