"""A container's life by the runtime driver: created, let go, ended, taken away; and what a crash leaves."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from controllers.containers import attach, cgroups, failures, process
from controllers.containers.runtime import Runtime
from store.errors import EngineError, InvalidParameterError, NotFoundError
from store.objects import HostConfig
from tests.integration.runtime.conftest import Stage, eventually


async def test_a_container_runs_and_its_exit_code_and_output_are_kept(stage: Stage) -> None:
    code, output = await stage.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (code, output.split()) == (7, ["out", "err"])


async def test_a_created_container_does_nothing_before_it_is_let_go(stage: Stage) -> None:
    container = stage.container("echo", "hello")
    started = await stage.create(container)
    assert process.same(started.pid, started.pid_start_time)
    assert stage.runtime.created(container.uid)
    assert stage.output(container) == ""
    await stage.runtime.start(container.uid)
    await stage.wait(container)
    assert not stage.runtime.created(container.uid)
    assert stage.output(container) == "hello"


@pytest.mark.parametrize(
    ("program", "exit_code", "words"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied: unknown'),
    ],
)
async def test_a_missing_program_is_refused_in_dockerds_words(
    stage: Stage, program: str, exit_code: int, words: str
) -> None:
    container = stage.container(program)
    with pytest.raises(InvalidParameterError, match="unable to start container process") as caught:
        await stage.create(container)
    assert caught.value.message == (
        "failed to create shim task: OCI runtime create failed: runc create failed: "
        f"unable to start container process: {words}"
    )
    assert failures.exit_code(caught.value) == exit_code
    assert not stage.layout.bundle(container.uid).exists()
    assert stage.output(container) == ""


async def test_an_unknown_user_is_refused_in_dockerds_words(stage: Stage) -> None:
    with pytest.raises(EngineError, match="unable to find user nobody: no matching"):
        await stage.create(stage.container("id", user="nobody"))


async def test_a_user_is_looked_up_in_the_container(stage: Stage) -> None:
    _, output = await stage.run("id", user="user")
    assert output == "uid=1000(user) gid=1000(user) groups=10(wheel),1000(user)"


async def test_a_signal_ends_a_container_with_its_number(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    await stage.start(container)
    await stage.runtime.kill(container.uid, signal.SIGKILL)
    assert (await stage.wait(container)).code == 137
    with pytest.raises(NotFoundError):
        await stage.runtime.kill(container.uid, signal.SIGKILL)


async def test_a_container_killed_before_its_start_is_reported_as_such(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    await stage.create(container)
    await stage.runtime.kill(container.uid, signal.SIGKILL)
    assert (await stage.wait(container)).code == 137
    with pytest.raises(EngineError):
        await stage.runtime.start(container.uid)


async def test_a_paused_container_stands_still(stage: Stage) -> None:
    container = stage.container("sh", "-c", "while true; do echo x; done")
    await stage.start(container)
    await eventually(lambda: stage.layout.log(container.uid).stat().st_size > 0)
    await stage.runtime.pause(container.uid)
    assert stage.runtime.paused(container.uid)
    await stage.runtime.resume(container.uid)
    assert not stage.runtime.paused(container.uid)
    await stage.runtime.pause(container.uid)
    await stage.runtime.delete(container.uid)
    assert not stage.layout.bundle(container.uid).exists()


async def test_delete_leaves_nothing_and_may_be_repeated(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    started = await stage.start(container)
    cgroup = stage.runtime.cgroup(container.uid)
    for _ in range(2):
        await stage.runtime.delete(container.uid)
    assert process.start_time(started.pid) == 0
    assert not any(place.exists() for place in cgroups.directories(cgroup))
    assert not (stage.layout.runtime_state / container.uid).exists()
    await eventually(lambda: process.start_time(started.conmon_pid) == 0)


async def test_nested_cgroups_are_removed_too(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    await stage.start(container)
    cgroup = stage.runtime.cgroup(container.uid)
    for place in cgroups.directories(cgroup):
        (place / "nested").mkdir()
    await stage.runtime.delete(container.uid)
    assert not any(place.exists() for place in cgroups.directories(cgroup))


async def test_a_container_in_the_hosts_pid_namespace_leaves_no_process(stage: Stage) -> None:
    container = stage.container("sh", "-c", "sleep 1000 & sleep 1000", host={"pid_mode": "host"})
    await stage.start(container)
    await eventually(lambda: len(cgroups.processes(stage.runtime.cgroup(container.uid))) >= 2)
    pids = cgroups.processes(stage.runtime.cgroup(container.uid))
    await stage.runtime.delete(container.uid)
    await eventually(lambda: not any(process.start_time(pid) for pid in pids))


async def test_a_new_runtime_finds_what_an_earlier_one_started(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    started = await stage.start(container)
    later = Runtime(stage.layout)
    assert later.find(container.uid) == started
    identity = stage.layout.bundle(container.uid) / "identity"
    whole = identity.read_bytes()
    cgroup = stage.runtime.cgroup(container.uid)
    identity.write_bytes(msgspec.json.encode({"cgroup": cgroup}))
    found = later.find(container.uid)
    assert found is not None
    assert (found.pid, found.pid_start_time) == (started.pid, started.pid_start_time)
    identity.write_bytes(msgspec.json.encode({"cgroup": cgroup + "0"}))
    assert later.find(container.uid) is None
    identity.write_bytes(whole)


async def test_creating_again_replaces_what_was_left(stage: Stage) -> None:
    container = stage.container("sleep", "1000")
    first = await stage.start(container)
    second = await stage.start(container)
    assert process.start_time(first.pid) == 0
    assert process.same(second.pid, second.pid_start_time)


async def test_limits_are_set_and_changed(stage: Stage) -> None:
    container = stage.container("sleep", "1000", host={"memory": 64 << 20, "pids_limit": 50, "nano_cpus": 500_000_000})
    await stage.start(container)
    memory = cgroups.directory("memory", stage.runtime.cgroup(container.uid))
    pids = cgroups.directory("pids", stage.runtime.cgroup(container.uid))
    assert memory is not None
    assert pids is not None
    name = "memory.max" if cgroups.version() == 2 else "memory.limit_in_bytes"
    assert (memory / name).read_text().strip() == str(64 << 20)
    assert (pids / "pids.max").read_text().strip() == "50"
    host = HostConfig(network_mode="none", memory=32 << 20, pids_limit=60)
    await stage.runtime.update(
        msgspec.structs.replace(container, spec=msgspec.structs.replace(container.spec, host=host))
    )
    assert (memory / name).read_text().strip() == str(32 << 20)
    assert (pids / "pids.max").read_text().strip() == "60"


async def test_running_out_of_memory_is_told(stage: Stage) -> None:
    container = stage.container("sh", "-c", "tail /dev/zero; exit $?", host={"memory": 8 << 20, "memory_swap": 8 << 20})
    await stage.start(container)
    end = await stage.wait(container)
    assert (end.code, end.oom_killed) == (137, True)


async def test_tini_is_the_first_process_when_asked_for(stage: Stage) -> None:
    code, output = await stage.run("sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '", host={"init": True})
    assert code == 0
    assert output.startswith("/sbin/docker-init -- sh -c ")


async def test_default_security_is_dockers(stage: Stage) -> None:
    script = (
        "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status | tr -d ' \t'; "
        "mount -o remount,rw /sys || echo refused; cat /proc/timer_list | wc -c"
    )
    _, output = await stage.run("sh", "-c", script)
    lines = output.split("\n")
    assert {"CapBnd:00000000a80425fb", "CapEff:00000000a80425fb", "Seccomp:2", "NoNewPrivs:0"} <= set(lines)
    assert {"refused", "0"} <= set(lines)


async def test_who_attaches_before_the_start_sees_the_first_byte_and_the_last(stage: Stage) -> None:
    container = stage.container("sh", "-c", "echo first; cat; echo last >&2", open_stdin=True, stdin_once=True)
    waiting = asyncio.create_task(stage.runtime.attachments.next_start(container.uid))
    await stage.start(container)
    connection = await waiting
    await connection.write(b"typed\n" * 20_000)
    connection.close_input()
    pieces: list[tuple[int, bytes]] = []
    while more := await connection.read():
        pieces += more
    connection.close()
    assert b"".join(data for stream, data in pieces if stream == attach.STDOUT) == b"first\n" + b"typed\n" * 20_000
    assert b"".join(data for stream, data in pieces if stream == attach.STDERR) == b"last\n"
    assert (await stage.wait(container)).code == 0


async def test_input_stays_open_after_a_client_has_gone_unless_once(stage: Stage) -> None:
    container = stage.container("sh", "-c", "read a; read b; echo $a $b", open_stdin=True)
    await stage.start(container)
    for word in (b"one\n", b"two\n"):
        connection = await attach.connect(stage.layout, container.uid)
        await connection.write(word)
        connection.close_input()
        connection.close()
    assert (await stage.wait(container)).code == 0
    assert stage.output(container) == "one two"


async def test_a_terminal_can_be_resized(stage: Stage) -> None:
    container = stage.container("sh", "-c", "read x; stty size", tty=True, open_stdin=True)
    await stage.start(container)
    assert attach.resize(stage.layout, container.uid, 33, 101)
    connection = await attach.connect(stage.layout, container.uid)
    await asyncio.sleep(0.1)
    await connection.write(b"go\n")
    await stage.wait(container)
    assert "33 101" in stage.output(container)


async def test_probe_names_the_runtime(stage: Stage, tmp_path: Path) -> None:
    info = await stage.runtime.probe()
    assert info.name == "runc"
    assert info.version[0].isdigit()
    with pytest.raises(EngineError, match="not installed"):
        await Runtime(stage.layout, program="/nonexistent/runc").probe()
