"""From creation to removal, over the API: the same on our engine and on dockerd."""

from __future__ import annotations

import threading
import time

import pytest

from tests.integration.containers.words import create, events, eventually, message, post, run, state, wait
from tests.support.daemon import Daemon


@pytest.mark.parametrize("code", [0, 3, 137])
def test_the_exit_code_is_told(daemon: Daemon, code: int) -> None:
    container = run(daemon, "sh", "-c", f"exit {code}")
    assert wait(daemon, container) == code
    after = state(daemon, container)
    assert (after["Status"], after["ExitCode"], after["Running"], after["Pid"]) == ("exited", code, False, 0)


def test_a_second_start_is_not_modified(daemon: Daemon) -> None:
    container = run(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/start", 304)


def test_starts_at_the_same_time_are_one_start(daemon: Daemon) -> None:
    since = time.time()
    container = create(daemon, "sleep", "60")
    threads = [
        threading.Thread(target=lambda: daemon.request("POST", f"/containers/{container}/start")) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert state(daemon, container)["Running"]
    assert events(daemon, container, since) == ["create", "start"]


def test_a_container_starts_again_after_its_end(daemon: Daemon) -> None:
    container = run(daemon, "sh", "-c", "exit 4")
    assert wait(daemon, container) == 4
    post(daemon, f"/containers/{container}/start")
    assert wait(daemon, container) == 4


def test_stop_sends_the_stop_signal(daemon: Daemon) -> None:
    container = run(daemon, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)
    post(daemon, f"/containers/{container}/stop")
    assert state(daemon, container)["ExitCode"] == 7
    post(daemon, f"/containers/{container}/stop", 304)


def test_stop_kills_what_does_not_listen(daemon: Daemon) -> None:
    since = time.time()
    container = run(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/stop?t=1")
    assert state(daemon, container)["ExitCode"] == 137
    assert events(daemon, container, since) == ["create", "start", "kill", "kill", "die", "stop"]


def test_kill_is_death(daemon: Daemon) -> None:
    since = time.time()
    container = run(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/kill")
    assert state(daemon, container)["ExitCode"] == 137
    assert events(daemon, container, since) == ["create", "start", "kill", "die"]


def test_another_signal_goes_to_the_process(daemon: Daemon) -> None:
    container = run(daemon, "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done")
    time.sleep(0.3)
    post(daemon, f"/containers/{container}/kill?signal=USR1")
    assert wait(daemon, container) == 9


def test_kill_needs_a_running_container(daemon: Daemon) -> None:
    container = create(daemon, "true")
    answer = post(daemon, f"/containers/{container}/kill", 409)
    assert message(answer) == f"Cannot kill container: {container}: Container {container} is not running"


def test_restart_is_a_stop_and_a_start(daemon: Daemon) -> None:
    since = time.time()
    container = run(daemon, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)
    before = state(daemon, container)["Pid"]
    post(daemon, f"/containers/{container}/restart")
    after = state(daemon, container)
    assert after["Running"]
    assert after["Pid"] != before
    assert events(daemon, container, since) == ["create", "start", "kill", "die", "stop", "start", "restart"]


def test_restart_starts_what_does_not_run(daemon: Daemon) -> None:
    container = create(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/restart")
    assert state(daemon, container)["Running"]


def test_a_paused_container_stands_still(daemon: Daemon) -> None:
    since = time.time()
    container = run(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/pause")
    found = state(daemon, container)
    assert (found["Status"], found["Running"], found["Paused"]) == ("paused", True, True)
    assert message(post(daemon, f"/containers/{container}/pause", 409)) == f"Container {container} is already paused"
    answer = post(daemon, f"/containers/{container}/start", 409)
    assert message(answer) == "cannot start a paused container, try unpause instead"
    post(daemon, f"/containers/{container}/unpause")
    assert state(daemon, container)["Status"] == "running"
    answer = daemon.request("POST", f"/containers/{container}/unpause")
    # A client's mistake: dockerd calls it its own.
    assert answer.status == (500 if daemon.name == "peer" else 409)
    assert message(answer) == f"Container {container} is not paused"
    assert events(daemon, container, since) == ["create", "start", "pause", "unpause"]


def test_a_paused_container_can_be_killed(daemon: Daemon) -> None:
    container = run(daemon, "sleep", "60")
    post(daemon, f"/containers/{container}/pause")
    post(daemon, f"/containers/{container}/kill")
    assert state(daemon, container)["Status"] == "exited"


def test_rename_gives_another_name(daemon: Daemon) -> None:
    one, other = create(daemon, "true", name="first-name"), create(daemon, "true", name="other-name")
    post(daemon, f"/containers/{one}/rename?name=new-name")
    assert daemon.inspect("new-name")["Name"] == "/new-name"
    assert daemon.request("GET", "/containers/first-name/json").status == 404
    answer = post(daemon, f"/containers/{one}/rename?name=other-name", 409)
    assert message(answer) == (
        f'Error when allocating new name: Conflict. The container name "/other-name" is already in use by container '
        f'"{other}". You have to remove (or rename) that container to be able to reuse that name.'
    )
    answer = post(daemon, f"/containers/{one}/rename?name=new-name", 400)
    assert message(answer) == "Renaming a container with the same name as its current name"
    answer = post(daemon, f"/containers/{one}/rename?name=-x", 400)
    assert "Invalid container name (/-x)" in message(answer)


def test_a_running_container_is_not_removed_without_force(daemon: Daemon) -> None:
    since = time.time()
    container = run(daemon, "sleep", "60")
    answer = daemon.request("DELETE", f"/containers/{container}")
    assert answer.status == 409
    assert message(answer) == (
        f"You cannot remove a running container {container}. Stop the container before attempting removal or force "
        "remove"
    )
    assert daemon.request("DELETE", f"/containers/{container}?force=1").status == 204
    assert daemon.request("GET", f"/containers/{container}/json").status == 404
    assert events(daemon, container, since) == ["create", "start", "kill", "die", "destroy"]


def test_a_container_that_removes_itself_tells_its_exit_code_first(daemon: Daemon) -> None:
    container = create(daemon, "sh", "-c", "exit 5", host={"AutoRemove": True})
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(wait(daemon, container, "removed")))
    waiting.start()
    time.sleep(0.3)
    post(daemon, f"/containers/{container}/start")
    waiting.join(20)
    assert codes == [5]
    assert daemon.request("GET", f"/containers/{container}/json").status == 404


def test_next_exit_waits_for_the_next_end(daemon: Daemon) -> None:
    container = create(daemon, "sh", "-c", "exit 6")
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(wait(daemon, container, "next-exit")))
    waiting.start()
    time.sleep(0.3)
    assert not codes
    post(daemon, f"/containers/{container}/start")
    waiting.join(20)
    assert codes == [6]


def test_a_missing_program_is_told_at_start(daemon: Daemon) -> None:
    since = time.time()
    container = create(daemon, "/nonexistent")
    answer = post(daemon, f"/containers/{container}/start", 400)
    assert message(answer).startswith("failed to create shim task: OCI runtime create failed: ")
    found = state(daemon, container)
    assert (found["Status"], found["ExitCode"], found["Error"]) == ("created", 127, message(answer))
    assert events(daemon, container, since) == ["create"]


def test_out_of_memory_is_told(daemon: Daemon) -> None:
    since = time.time()
    host = {"Memory": 8 << 20, "MemorySwap": 8 << 20}
    container = run(daemon, "sh", "-c", "x=$(cat /dev/zero | head -c 200000000 | tr '\\0' x); echo $x", host=host)
    wait(daemon, container)
    found = state(daemon, container)
    assert found["OOMKilled"]
    assert events(daemon, container, since)[-2:] == ["oom", "die"]


def test_on_failure_tries_as_often_as_it_may(daemon: Daemon) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    container = run(daemon, "sh", "-c", "exit 3", host=policy)
    eventually(lambda: daemon.inspect(container)["RestartCount"] == 2 and not state(daemon, container)["Restarting"])
    assert eventually(lambda: state(daemon, container)["Status"] == "exited")
    assert state(daemon, container)["ExitCode"] == 3


def test_always_restarts_until_it_is_stopped(daemon: Daemon) -> None:
    container = run(daemon, "sh", "-c", "exit 0", host={"RestartPolicy": {"Name": "always"}})
    eventually(lambda: daemon.inspect(container)["RestartCount"] >= 2)
    post(daemon, f"/containers/{container}/stop")
    count = daemon.inspect(container)["RestartCount"]
    time.sleep(1.5)
    assert (state(daemon, container)["Status"], daemon.inspect(container)["RestartCount"]) == ("exited", count)


def test_a_failing_check_makes_a_container_unhealthy(daemon: Daemon) -> None:
    since = time.time()
    check = {"Test": ["CMD-SHELL", "echo bad; exit 1"], "Interval": 300_000_000, "Retries": 2}
    container = run(daemon, "sleep", "60", Healthcheck=check)
    assert state(daemon, container)["Health"] == {"Status": "starting", "FailingStreak": 0, "Log": []}
    eventually(lambda: state(daemon, container)["Health"]["Status"] == "unhealthy")
    health = state(daemon, container)["Health"]
    assert health["FailingStreak"] >= 2
    assert (health["Log"][0]["ExitCode"], health["Log"][0]["Output"]) == (1, "bad\n")
    assert "health_status: unhealthy" in events(daemon, container, since)


def test_update_changes_a_running_container(daemon: Daemon) -> None:
    container = run(daemon, "sleep", "60")
    answer = post(daemon, f"/containers/{container}/update", 200, {"Memory": 64 << 20, "MemorySwap": 128 << 20})
    assert answer.json() == {"Warnings": None}
    assert daemon.inspect(container)["HostConfig"]["Memory"] == 64 << 20
    answer = post(daemon, f"/containers/{container}/update", 409, {"Memory": 256 << 20})
    assert "update the memoryswap at the same time" in message(answer)
    answer = post(daemon, f"/containers/{container}/update", 400, {"RestartPolicy": {"Name": "foo"}})
    assert message(answer) == "invalid restart policy 'foo'"


def test_prune_removes_what_does_not_run(daemon: Daemon) -> None:
    kept, gone = run(daemon, "sleep", "60"), create(daemon, "true", Labels={"prune": "me"})
    filters = "%7B%22label%22%3A%5B%22prune%3Dme%22%5D%7D"
    report = post(daemon, f"/containers/prune?filters={filters}", 200).json()
    assert report == {"ContainersDeleted": [gone], "SpaceReclaimed": 0}
    assert daemon.inspect(kept)["State"]["Running"]
