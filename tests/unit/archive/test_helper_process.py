"""The helper process: jobs end with their callers, and it comes back when it dies."""

# A test may hold up its own loop.
# ruff: noqa: ASYNC110, ASYNC220, ASYNC230

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver
from store.errors import EngineError, NotFoundError
from tests.unit.archive.tars import Member, chunks, tar

pytestmark = pytest.mark.host


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until_no_children(pid: int) -> None:
    """Wait until a process has no children."""
    async with asyncio.timeout(20):
        while children(pid):
            await asyncio.sleep(0.01)


async def until_children(pid: int) -> None:
    """Wait until a process has a child."""
    async with asyncio.timeout(20):
        while not children(pid):
            await asyncio.sleep(0.01)


def helper_of(pid: int) -> int:
    """The helper process among the children of a process."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        # Between its fork and its exec it does not bear the name yet.
        for child in children(pid):
            if b"controllers.archive" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.01)
    raise AssertionError("no helper process")


async def test_many_jobs_run_at_once(archiver: Archiver, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    found = await asyncio.gather(*(archiver.stat(tmp_path, "/f") for _ in range(100)))
    assert {each.size for each in found} == {1}


async def test_a_cancelled_job_is_gone_when_the_caller_goes_on(archiver: Archiver, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    helper = helper_of(os.getpid())
    job = asyncio.create_task(archiver.unpack(tmp_path, reader))
    await until_children(helper)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until_no_children(helper)
    os.close(reader)
    os.close(writer)


async def test_a_job_that_takes_too_long_is_ended(archiver: Archiver, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with pytest.raises(EngineError, match="no end after"):
        await archiver.unpack(tmp_path, reader, timeout=0.2)
    await until_no_children(helper_of(os.getpid()))
    os.close(reader)
    os.close(writer)


async def test_a_source_that_fails_ends_the_job_with_its_own_error(archiver: Archiver, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tar(Member("a", b"x" * 100_000))[:50_000]
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        await archiver.unpack_from(tmp_path, broken())
    await until_no_children(helper_of(os.getpid()))


async def test_a_reader_that_stops_ends_the_job(archiver: Archiver, tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(1 << 30)
    stream = archiver.pack_chunks(tmp_path, "/big")
    assert isinstance(stream, AsyncIterator)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await until_no_children(helper_of(os.getpid()))


async def test_no_descriptor_is_left_over(archiver: Archiver, tmp_path: Path) -> None:
    async def round_of_jobs() -> None:
        await archiver.unpack_from(tmp_path, chunks(tar(Member("a", b"x"))))
        assert [chunk async for chunk in archiver.pack_chunks(tmp_path, "/a")]
        with pytest.raises(NotFoundError):
            await archiver.stat(tmp_path, "/missing")
        with pytest.raises(NotFoundError):
            assert [chunk async for chunk in archiver.pack_chunks(tmp_path, "/missing")]

    await round_of_jobs()
    helper = helper_of(os.getpid())
    before = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), helper)]
    for _ in range(10):
        await round_of_jobs()
    await until_no_children(helper)
    assert [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), helper)] == before


async def test_a_helper_that_was_killed_is_started_anew(archiver: Archiver, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    helper = helper_of(os.getpid())
    job = asyncio.create_task(archiver.unpack(tmp_path, reader))
    await until_children(helper)
    (child,) = children(helper)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(EngineError, match="died"):
        await job
    os.kill(helper, signal.SIGKILL)
    (tmp_path / "f").touch()
    for _ in range(3):
        assert (await archiver.stat(tmp_path, "/f")).size == 0
    assert helper_of(os.getpid()) != helper
    os.close(reader)
    os.close(writer)


DAEMON = """
import asyncio, os, sys
from pathlib import Path
from controllers.archive.helper import Archiver
async def main():
    archiver = Archiver()
    await archiver.start()
    reader, writer = os.pipe()
    job = asyncio.create_task(archiver.unpack(Path(sys.argv[1]), reader))
    await asyncio.sleep(0.5)
    print("running", flush=True)
    await job
asyncio.run(main())
"""


async def test_helper_and_jobs_die_with_the_daemon(tmp_path: Path) -> None:
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(tmp_path)], stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"running\n"
    helper = helper_of(daemon.pid)
    family = [helper, *children(helper)]
    assert len(family) == 2
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in family):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process still does anything (one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
