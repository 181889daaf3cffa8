"""The machine dies and boots again: nothing of the last boot is believed, and policies act as dockerd's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.containers.words import create, eventually, post, run, state, wait
from tests.integration.crash import boot
from tests.integration.crash.operations import FATAL, ask, remove, started
from tests.integration.crash.test_points import auditor
from tests.support.engine import Engine
from tests.support.tools import search_path

LOST = 255
"""dockerd's exit code, too, for whose end nobody saw."""
RUNS = ("sleep", "1000")
FAILS_ONCE = ("sh", "-c", "[ -e /x ] && exec sleep 1000; touch /x; exit 3")

POLICIES = ("", "always", "unless-stopped", "on-failure")
# What dockerd 20.10 does at the start after a boot, asked by killing all of it and taking its exec root away.
AFTER_BOOT = {
    "running": {"": "exited", "always": "running", "unless-stopped": "running", "on-failure": "running"},
    "stopped": {"": "exited", "always": "running", "unless-stopped": "exited", "on-failure": "running"},
    "killed": {"": "exited", "always": "running", "unless-stopped": "exited", "on-failure": "running"},
    "created": {"": "created", "always": "created", "unless-stopped": "created", "on-failure": "created"},
    "paused": {"": "exited", "always": "running", "unless-stopped": "running", "on-failure": "running"},
    "failed": {"": "exited", "always": "running", "unless-stopped": "running", "on-failure": "running"},
}


@pytest.fixture(scope="module")
def engine(module_engine: Engine) -> Engine:
    return module_engine


def prepared(engine: Engine, past: str, policy: str) -> str:
    """A container with this past and restart policy."""
    host = {"RestartPolicy": {"Name": policy}}
    container = create(engine, *(FAILS_ONCE if past == "failed" else RUNS), host=host)
    if past == "created":
        return container
    post(engine, f"/containers/{container}/start")
    match past:
        case "stopped":
            post(engine, f"/containers/{container}/stop?t=0")
        case "killed":
            post(engine, f"/containers/{container}/kill")
            wait(engine, container)
        case "paused":
            post(engine, f"/containers/{container}/pause")
        case "failed" if policy:
            eventually(lambda: engine.inspect(container)["RestartCount"] == 1 and state(engine, container)["Running"])
        case "failed":
            wait(engine, container)
    return container


@pytest.mark.parametrize("exec_root_stays", [False, True])
def test_policies_act_as_dockerds_after_a_boot(engine: Engine, exec_root_stays: bool) -> None:
    containers = {(past, policy): prepared(engine, past, policy) for past in AFTER_BOOT for policy in POLICIES}
    before = {container: state(engine, container) for container in containers.values()}
    boot.die(engine, exec_root_stays=exec_root_stays)
    died = time.time()
    engine.start()
    for (past, policy), container in containers.items():
        wanted = AFTER_BOOT[past][policy]
        eventually(lambda c=container, w=wanted: state(engine, c)["Status"] == w)  # type: ignore[misc]
        found = engine.inspect(container)
        assert found["RestartCount"] == 0, (past, policy)
        if wanted == "running":
            assert found["State"]["StartedAt"] > before[container]["StartedAt"]
            assert found["State"]["Pid"] != before[container]["Pid"]
        elif past in ("running", "paused"):
            assert found["State"]["ExitCode"] == LOST
            finished = time.mktime(time.strptime(found["State"]["FinishedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
            assert died - 1 <= finished - time.timezone <= time.time()
        else:
            assert found["State"] == before[container], (past, policy)
    assert auditor(engine).settled() == []
    for container in containers.values():
        ask(engine, "DELETE", f"/containers/{container}?force=1")


def test_ports_volumes_networks_and_names_are_there_again(engine: Engine) -> None:
    network = ask(engine, "POST", "/networks/create", {"Name": "boot"})
    assert network
    script = "echo kept > /data/x; mkdir -p /w; echo it works > /w/index.html; exec httpd -f -h /w"
    host = {
        "NetworkMode": "boot",
        "PortBindings": {"80/tcp": [{"HostPort": "18081"}]},
        "Binds": ["bootvol:/data"],
        "RestartPolicy": {"Name": "always"},
    }
    web = create(engine, "sh", "-c", script, host=host, name="web", ExposedPorts={"80/tcp": {}})
    post(engine, f"/containers/{web}/start")
    beside = run(engine, *RUNS, host={"NetworkMode": f"container:{web}", "RestartPolicy": {"Name": "always"}})
    other = run(engine, *RUNS, host={"NetworkMode": "boot", "RestartPolicy": {"Name": "always"}})
    fetch = ("busybox", "wget", "-q", "-O-", "http://127.0.0.1:18081/")
    for _ in range(2):
        boot.die(engine)
        engine.start()
        for container in (web, beside, other):
            eventually(lambda c=container: state(engine, c)["Running"])  # type: ignore[misc]
        assert eventually(lambda: engine.surroundings.run(*fetch, check=False).stdout) == "it works\n"
        for container, address in ((beside, "127.0.0.1"), (other, "web")):
            inside = engine.docker("exec", container, "wget", "-q", "-O-", f"http://{address}/")
            assert inside.out == "it works\n"
        assert engine.docker("exec", web, "cat", "/data/x").out == "kept\n"
        assert auditor(engine).settled() == []
    for container in (beside, other, web):
        ask(engine, "DELETE", f"/containers/{container}?force=1&v=1")
    ask(engine, "DELETE", "/networks/boot")
    ask(engine, "DELETE", "/volumes/bootvol")


def test_who_was_to_remove_itself_is_gone(engine: Engine) -> None:
    gone = [run(engine, *RUNS, host={"AutoRemove": True}), create(engine, *RUNS, host={"AutoRemove": True})]
    boot.die(engine)
    engine.start()
    for container in gone:
        eventually(lambda c=container: engine.request("GET", f"/containers/{c}/json").status == 404)  # type: ignore[misc]
    assert auditor(engine).settled() == []


@pytest.mark.parametrize("point", ["container.start.decided", "container.start.prepared", "container.start.created"])
def test_a_start_that_the_machine_died_in_is_not_made_up_for(engine: Engine, point: str) -> None:
    container = create(engine, *RUNS, host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": ""}]}})
    engine.stop()
    engine.start(WHARFINGER_CRASH_AT=point)
    with pytest.raises(ConnectionError):
        engine.request("POST", f"/containers/{container}/start")
    engine.wait_ended()
    boot.die(engine)
    engine.start()
    assert auditor(engine).settled() == []
    found = engine.inspect(container)
    assert found["State"]["Status"] == "created"
    assert not any(endpoint["IPAddress"] for endpoint in found["NetworkSettings"]["Networks"].values())
    post(engine, f"/containers/{container}/start")
    assert state(engine, container)["Running"]
    ask(engine, "DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize("point", ["adoption.cleared", "adoption.recorded", "adoption.revived"])
def test_a_death_of_the_daemon_right_after_the_boot_changes_nothing(engine: Engine, point: str) -> None:
    started(engine, restart="always")
    never = run(engine, *RUNS)
    boot.die(engine)
    engine.launch(WHARFINGER_CRASH_AT=point)
    engine.wait_ended(within=20)
    engine.start()
    eventually(lambda: state(engine, FATAL)["Running"])
    assert (state(engine, never)["Status"], state(engine, never)["ExitCode"]) == ("exited", LOST)
    assert auditor(engine).settled() == []
    ask(engine, "DELETE", f"/containers/{never}")
    remove(engine)


def test_a_machine_that_stops_stops_containers_and_their_policies_see_how(engine: Engine) -> None:
    polite = ("sh", "-c", "trap 'exit 7' TERM; trap 'exit 0' USR1; while :; do sleep 0.1; done")
    failure = {"RestartPolicy": {"Name": "on-failure"}}
    again = run(engine, *polite, host=failure)
    ended = run(engine, *polite, host=failure, StopSignal="SIGUSR1")
    stubborn = run(engine, *RUNS, StopTimeout=1)
    always = run(engine, *polite, host={"RestartPolicy": {"Name": "unless-stopped"}})
    gone = run(engine, *polite, host={"AutoRemove": True})
    paused = run(engine, *polite)
    post(engine, f"/containers/{paused}/pause")
    time.sleep(0.5)
    systemctl = engine.directory / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\necho stopping\n")
    systemctl.chmod(0o755)
    engine.restart(PATH=f"{systemctl.parent}:{search_path()}")
    pids = [state(engine, container)["Pid"] for container in (again, ended, stubborn, always, gone, paused)]
    engine.stop()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    boot.die(engine)
    engine.start()
    for container in (again, always):
        eventually(lambda c=container: state(engine, c)["Running"])  # type: ignore[misc]
    codes = [state(engine, container)["ExitCode"] for container in (ended, stubborn, paused)]
    assert codes == [0, 137, 7]
    assert not any(state(engine, container)["Running"] for container in (ended, stubborn, paused))
    eventually(lambda: engine.request("GET", f"/containers/{gone}/json").status == 404)
    assert auditor(engine).settled() == []
    for container in (again, ended, stubborn, always, paused):
        ask(engine, "DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize("torn", ["2026-11-26T17:00:00.000000001+00:00 stdout F to", "2026-11-26T17:0", "\0" * 64])
def test_a_line_that_the_cut_has_torn_costs_no_other(engine: Engine, torn: str) -> None:
    container = run(engine, "sh", "-c", "echo up; exec sleep 1000", host={"RestartPolicy": {"Name": "always"}})
    eventually(lambda: engine.docker("logs", container).out == "up\n")
    boot.die(engine)
    with engine.layout.log(container).open("a") as log:
        log.write(torn)
    engine.start()
    eventually(lambda: engine.docker("logs", container).out.count("up\n") == 2)
    ask(engine, "DELETE", f"/containers/{container}?force=1")
