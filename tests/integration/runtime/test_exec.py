"""More processes in a running container."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controllers.containers.execs import Exec, ExecConfig, ExecRegistry
from store.errors import ConflictError, EngineError, InvalidParameterError
from store.objects import Container
from tests.integration.runtime.conftest import Stage


@pytest.fixture
async def execs(stage: Stage) -> AsyncIterator[ExecRegistry]:
    registry = ExecRegistry(stage.layout, stage.runtime)
    yield registry
    await registry.close()


@pytest.fixture
async def container(stage: Stage) -> Container:
    container = stage.container("sleep", "1000", env=["A=1"])
    await stage.start(container)
    return container


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def run(
    execs: ExecRegistry, container: Container, config: ExecConfig, typed: bytes | None = None
) -> tuple[Exec, dict[int, bytes]]:
    found = execs.create(container, config)
    execs.claim(found)
    streams = await execs.start(found, container, stdin=typed is not None, output=True)

    async def type_in() -> None:
        if typed is not None:
            await streams.write(typed)
            streams.close_input()

    typing = asyncio.create_task(type_in())
    output = {1: b"", 2: b""}
    async with asyncio.timeout(20):
        while pieces := await streams.read():
            for stream, data in pieces:
                output[stream] += data
        await typing
        await found.ended.wait()
    return found, output


async def test_an_exec_gives_its_output_and_exit_code(execs: ExecRegistry, container: Container) -> None:
    found, output = await run(execs, container, ExecConfig(command=("sh", "-c", "echo out; echo err >&2; exit 3")))
    assert (found.exit_code, output) == (3, {1: b"out\n", 2: b"err\n"})


async def test_an_exec_reads_what_is_typed(execs: ExecRegistry, container: Container) -> None:
    found, output = await run(execs, container, ExecConfig(command=("cat",)), b"hello" * 50_000)
    assert (found.exit_code, output[1]) == (0, b"hello" * 50_000)


async def test_an_exec_on_a_terminal_has_one(execs: ExecRegistry, container: Container) -> None:
    config = ExecConfig(command=("sh", "-c", "read x; stty size; echo $TERM"), tty=True)
    found = execs.create(container, config)
    execs.claim(found)
    streams = await execs.start(found, container, stdin=True, output=True)
    await execs.resize(found, 12, 34)
    await streams.write(b"\n")
    output = b""
    while pieces := await streams.read():
        output += b"".join(data for _, data in pieces)
    assert b"12 34\r\nxterm\r\n" in output


async def test_an_exec_has_the_environment_user_and_directory_asked_for(
    execs: ExecRegistry, container: Container
) -> None:
    config = ExecConfig(
        command=("sh", "-c", "echo $A $B; pwd; id -u; grep CapEff /proc/self/status"),
        environment=("B=2",),
        user="user",
        working_dir="/tmp",
    )
    _, output = await run(execs, container, config)
    assert output[1].decode().split("\n") == ["1 2", "/tmp", "1000", "CapEff:\t0000000000000000", ""]


async def test_a_missing_program_is_refused_in_dockerds_words(execs: ExecRegistry, container: Container) -> None:
    found = execs.create(container, ExecConfig(command=("nosuch",)))
    execs.claim(found)
    with pytest.raises(InvalidParameterError) as caught:
        await execs.start(found, container, stdin=False, output=True)
    assert caught.value.message == (
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": '
        "executable file not found in $PATH: unknown"
    )
    assert found.exit_code == 126


async def test_an_unknown_user_is_refused_in_dockerds_words(execs: ExecRegistry, container: Container) -> None:
    with pytest.raises(EngineError, match="unable to find user nobody: no matching entries in passwd file"):
        await run(execs, container, ExecConfig(command=("id",), user="nobody"))


async def test_an_exec_runs_once(execs: ExecRegistry, container: Container) -> None:
    found, _ = await run(execs, container, ExecConfig(command=("true",)))
    with pytest.raises(ConflictError, match="has already run"):
        execs.claim(found)


async def test_many_at_once_keep_their_outputs_apart(execs: ExecRegistry, container: Container) -> None:
    async def one(number: int) -> bool:
        found, output = await run(execs, container, ExecConfig(command=("sh", "-c", f"echo {number}; exit {number}")))
        return (found.exit_code, output[1]) == (number, f"{number}\n".encode())

    assert all(await asyncio.gather(*(one(number) for number in range(12))))


async def test_a_killed_exec_has_its_signals_code(execs: ExecRegistry, container: Container) -> None:
    found = execs.create(container, ExecConfig(command=("sleep", "1000")))
    execs.claim(found)
    await execs.start(found, container, stdin=False, output=False)
    os.kill(found.pid, signal.SIGKILL)
    await asyncio.wait_for(found.ended.wait(), 20)
    assert found.exit_code == 137


async def test_output_that_nobody_reads_does_not_stop_the_process(execs: ExecRegistry, container: Container) -> None:
    found = execs.create(container, ExecConfig(command=("dd", "if=/dev/zero", "bs=1000000", "count=3")))
    execs.claim(found)
    await execs.start(found, container, stdin=False, output=True)
    execs.abandon(found)
    await asyncio.wait_for(found.ended.wait(), 20)
    assert found.exit_code == 0


async def test_after_the_supervisors_death_the_next_exec_gets_a_new_one(
    execs: ExecRegistry, container: Container
) -> None:
    found = execs.create(container, ExecConfig(command=("sleep", "1000")))
    execs.claim(found)
    await execs.start(found, container, stdin=False, output=False)
    os.kill(parent_of(found.pid), signal.SIGKILL)
    await asyncio.wait_for(found.ended.wait(), 20)
    assert found.exit_code == 255
    later, output = await run(execs, container, ExecConfig(command=("echo", "again")))
    assert (later.exit_code, output[1]) == (0, b"again\n")
