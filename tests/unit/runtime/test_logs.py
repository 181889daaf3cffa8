"""Logs against a plain model: whatever was written, whichever way it is read."""

from __future__ import annotations

import asyncio
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from controllers.containers.log_lines import split_moment, utc_text
from controllers.containers.logs import LogQuery, follow, quick, read

BASE = 1_700_000_000
Line = tuple[str, str, bytes]
line = st.tuples(
    st.sampled_from(["stdout", "stderr"]),
    st.sampled_from(["F", "F", "F", "P"]),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
)
lines = st.lists(line, max_size=40)


def written(log: Sequence[Line], start: int = 0) -> bytes:
    out = b""
    for number, (stream, tag, content) in enumerate(log, start):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BASE + number))
        out += f"{stamp}.{number:09d}+00:00 {stream} {tag} ".encode() + content + b"\n"
    return out


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    frames = []
    while data:
        stream, length = struct.unpack(">BxxxL", data[:8])
        frames.append((stream, data[8 : 8 + length]))
        data = data[8 + length :]
    return frames


def content(entry: Line) -> bytes:
    return entry[2] + (b"" if entry[1] == "P" else b"\n")


def joined(log: Sequence[Line]) -> bytes:
    """What a reader sees: each line when its end comes, those without an end last."""
    out, begun = b"", dict[str, bytes]()
    for entry in log:
        text = begun.pop(entry[0], b"") + content(entry)
        if entry[1] == "F":
            out += text
        else:
            begun[entry[0]] = text
    return out + b"".join(begun.values())


def everything(path: Path, query: LogQuery) -> bytes:
    return b"".join(read(path, query))


@given(lines)
def test_every_line_is_a_frame_of_its_stream(log: list[Line]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        path.write_bytes(written(log) + b"2023-11-14T22:13:20.000000000+00:00 stdout F unfinish")
        numbers = {"stdout": 1, "stderr": 2}
        whole: list[tuple[int, bytes]] = []
        begun = {1: b"", 2: b""}
        for entry in log:
            stream = numbers[entry[0]]
            begun[stream] += content(entry)
            if entry[1] == "F":
                whole.append((stream, begun[stream]))
                begun[stream] = b""
        got = unframed(everything(path, LogQuery()))
        assert got[: len(whole)] == whole
        assert sorted(got[len(whole) :]) == [(stream, left) for stream, left in begun.items() if left]


@given(lines, st.booleans(), st.booleans(), st.integers(1, 39))
def test_streams_are_chosen_and_rotated_files_read_in_order(log: list[Line], out: bool, err: bool, cut: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        Path(directory, "log.1").write_bytes(written(log[:cut]))
        path.write_bytes(written(log[cut:], cut))
        wanted = {name for name, on in (("stdout", out), ("stderr", err)) if on}
        expected = joined([entry for entry in log if entry[0] in wanted])
        assert everything(path, LogQuery(stdout=out, stderr=err, multiplexed=False)) == expected


@given(lines, st.integers(0, 45), st.integers(0, 40))
def test_tail_gives_the_last_whole_lines(log: list[Line], tail: int, cut: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        Path(directory, "log.1").write_bytes(written(log[:cut]))
        path.write_bytes(written(log[cut:], cut))
        last = len(log) - 1
        ends = [number for number, entry in enumerate(log) if entry[1] == "F" or number == last]
        first = ends[-tail - 1] + 1 if len(ends) > tail else 0
        expected = joined(log[first:]) if tail else b""
        query = LogQuery(tail=tail, multiplexed=False)
        assert everything(path, query) == expected
        assert quick(path, query) in (None, expected)


@given(lines, st.integers(0, 40), st.integers(0, 40))
def test_since_and_until_bound_the_times(log: list[Line], since: int, until: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        path.write_bytes(written(log))

        def moment(number: int) -> int:
            return (BASE + number) * 1_000_000_000 + number

        expected = joined([entry for number, entry in enumerate(log) if since <= number <= until])
        query = LogQuery(since=moment(since), until=moment(until), multiplexed=False)
        assert everything(path, query) == expected


def test_a_time_of_another_zone_is_told_in_utc() -> None:
    line = b"2016-10-06T02:17:09.669794202+02:00 stdout F x"
    assert utc_text(line) == b"2016-10-06T00:17:09.669794202Z"
    assert split_moment(line) == 1_475_713_029_669_794_202


def test_timestamps_and_details_go_before_the_content(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"2016-10-06T00:17:09.669794202+00:00 stdout F x\n")
    query = LogQuery(timestamps=True, details="a=b", multiplexed=False)
    assert everything(path, query) == b"2016-10-06T00:17:09.669794202Z a=b x\n"


async def test_following_sees_what_is_added_across_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log: list[Line] = [("stdout", "F", b"%d" % number) for number in range(9)]
    path.write_bytes(written(log[:3]))
    done = False
    got = b""

    async def reader() -> None:
        nonlocal got
        async for piece in follow(path, LogQuery(follow=True, multiplexed=False, tail=2), lambda: done):
            got += piece

    task = asyncio.create_task(reader())
    while got != b"1\n2\n":  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    half = len(written(log[3:5], 3)) - 5
    with path.open("ab") as log_file:
        log_file.write(written(log[3:5], 3)[:half])
        log_file.flush()
        await asyncio.sleep(0.05)
        log_file.write(written(log[3:5], 3)[half:])
        log_file.flush()
        path.rename(tmp_path / "log.1")
        log_file.write(written(log[5:7], 5))
    path.write_bytes(written(log[7:], 7))
    done = True
    await asyncio.wait_for(task, 10)
    assert got == b"".join(b"%d\n" % number for number in range(1, 9))
