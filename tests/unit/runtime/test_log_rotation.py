"""Logs in several files: begun anew at any moment, compressed or not, read from any side, followed by anybody."""

from __future__ import annotations

import asyncio
import calendar
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.containers import log_files
from controllers.containers.log_files import LogFile, begin_anew, compress, full
from controllers.containers.logs import LogQuery, follow, read
from store.objects.log_options import Rotation


class Monitor:
    """Writes numbered lines as conmon does, and opens its file anew when it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._file = path.open("ab", buffering=0)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self._file.write(self.line(self.number))
            self.number += 1

    @staticmethod
    def line(number: int) -> bytes:
        return b"2023-11-14T22:%02d:%02d.%09d+00:00 stdout F %d\n" % (number // 60, number % 60, number, number)

    def reopen(self) -> None:
        self._file.close()
        fresh = self.path.with_name("log.tmp")
        self._file = fresh.open("wb", buffering=0)
        fresh.rename(self.path)

    def close(self) -> None:
        self._file.close()


def numbers(data: bytes) -> list[int]:
    return [int(line) for line in data.split()]


def everything(path: Path, **query: object) -> list[int]:
    return numbers(b"".join(read(path, LogQuery(multiplexed=False, **query))))  # type: ignore[arg-type]


@given(
    st.lists(st.sampled_from(["write", "rotate", "late", "compress"]), max_size=30),
    st.integers(1, 4),
    st.integers(0, 40),
)
def test_the_newest_files_are_kept_and_read_in_order(steps: list[str], files: int, tail: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        monitor = Monitor(path)
        limits = Rotation(1, files, files > 1)
        kept: list[list[int]] = [[]]
        for step in steps:
            if step == "compress" and limits.compress:
                compress(path)
            elif step in ("rotate", "late"):
                begin_anew(path, limits)
                if step == "late":
                    # Written after the file has lost its name, and before conmon has heard of it.
                    compress(path)
                    kept[-1].append(monitor.number)
                    monitor.write()
                    lost = [] if files == 1 else kept[-1]
                    assert everything(path)[-len(lost) :] == lost
                monitor.reopen()
                kept = [*kept, []][-files:]
            else:
                kept[-1] += [monitor.number, monitor.number + 1]
                monitor.write(2)
        monitor.close()
        expected = [number for each in kept for number in each]
        assert everything(path) == expected
        assert everything(path, tail=tail) == (expected[-tail:] if tail else [])
        assert len(full(path)) < files


def test_since_skips_what_is_older_in_compressed_files_too(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "log")
    for _ in range(3):
        monitor.write(10)
        begin_anew(monitor.path, Rotation(1, 5, True))
        monitor.reopen()
    monitor.write(10)
    compress(monitor.path)
    assert sorted(file.name for file in full(monitor.path).values()) == ["log.1.gz", "log.2.gz", "log.3.gz"]
    begun = calendar.timegm((2023, 11, 14, 22, 0, 0)) * 1_000_000_000
    since, until = (begun + number * 1_000_000_001 for number in (15, 24))
    assert everything(monitor.path, since=since) == list(range(15, 40))
    assert everything(monitor.path, since=since, until=until) == list(range(15, 25))


@pytest.mark.parametrize("at", ["after the copy", "in the middle"])
def test_a_compression_that_was_cut_short_loses_and_doubles_nothing(tmp_path: Path, at: str) -> None:
    monitor = Monitor(tmp_path / "log")
    monitor.write(1000)
    begin_anew(monitor.path, Rotation(1, 3, True))
    monitor.reopen()
    plain = (tmp_path / "log.1").read_bytes()
    compress(monitor.path)
    if at == "after the copy":
        (tmp_path / "log.1").write_bytes(plain)
    else:
        (tmp_path / "log.1.gz.new").write_bytes((tmp_path / "log.1.gz").read_bytes()[:100])
        (tmp_path / "log.1.gz").unlink()
        (tmp_path / "log.1").write_bytes(plain)
    assert everything(monitor.path) == list(range(1000))
    compress(monitor.path)
    assert everything(monitor.path) == list(range(1000))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1.gz"]


def test_a_damaged_compressed_file_shows_what_is_left_of_it(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "log")
    monitor.write(1000)
    begin_anew(monitor.path, Rotation(1, 3, True))
    monitor.reopen()
    monitor.write(1)
    compress(monitor.path)
    packed = tmp_path / "log.1.gz"
    os.truncate(packed, packed.stat().st_size // 2)
    shown = everything(monitor.path)
    assert shown[-1] == 1000
    assert shown[:-1] == list(range(len(shown) - 1))


class Follower:
    """Follows a log in a task of its own; ``seen`` are the lines so far."""

    def __init__(self, path: Path) -> None:
        self.seen: list[int] = []
        self.over = False
        self._task = asyncio.create_task(self._follow(path))

    async def _follow(self, path: Path) -> None:
        async for piece in follow(path, LogQuery(follow=True, multiplexed=False), lambda: self.over):
            self.seen += numbers(piece)

    async def has_seen(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.seen) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def finish(self) -> list[int]:
        self.over = True
        await asyncio.wait_for(self._task, 30)
        return self.seen


@pytest.mark.parametrize("files", [1, 3, 1000])
async def test_followers_see_each_line_once_while_files_come_and_go(tmp_path: Path, files: int) -> None:
    chance = random.Random(7)
    monitor = Monitor(tmp_path / "log")
    monitor.write(5)
    followers = [Follower(monitor.path) for _ in range(4)]
    for _ in range(100 if files > 3 else 20):
        if files <= 3:
            # Who is later than the files are kept has lost them.
            for follower in followers:
                await follower.has_seen(monitor.number)
        for _ in range(chance.choice([1, 2]) if files > 1 else 1):
            monitor.write(chance.randrange(5))
            begin_anew(monitor.path, Rotation(1, files, files > 1))
            monitor.write(chance.randrange(3))
            if chance.random() < 0.5:
                await asyncio.sleep(0.002)
            monitor.reopen()
            monitor.write(chance.randrange(3))
        if chance.random() < 0.3:
            await asyncio.to_thread(compress, monitor.path)
        await asyncio.sleep(0.005)
    for follower in followers:
        assert await follower.finish() == list(range(monitor.number))


async def test_what_is_written_just_before_a_new_file_is_begun_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(tmp_path / "log")
    monitor.write(3)
    real = log_files.after

    def at_the_worst_moment(path: Path, file: LogFile) -> LogFile | None:
        if monitor.number < 100:
            # The follower has just read all there was.
            monitor.write(2)
            begin_anew(path, Rotation(1, 1000))
            monitor.reopen()
            monitor.write(1)
        return real(path, file)

    monkeypatch.setattr("controllers.containers.logs.after", at_the_worst_moment)
    follower = Follower(monitor.path)
    await follower.has_seen(100)
    assert await follower.finish() == list(range(monitor.number))
