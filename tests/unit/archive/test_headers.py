"""Headers: what we write, we and Python's tarfile read back; what tarfile writes, we read."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.archive import tarread, tarwrite
from controllers.archive.stream import Stream
from controllers.archive.tarread import Entry, TarReader, clean, number, pax_records, pax_time
from store.errors import InvalidParameterError

SEGMENTS = st.binary(min_size=1, max_size=60).filter(lambda part: b"/" not in part and b"\0" not in part)
NAMES = (
    st.lists(SEGMENTS, min_size=1, max_size=6)
    .map(b"/".join)
    .filter(lambda name: clean(name) == name and not name.startswith(b".."))
)
ENTRIES = st.builds(
    Entry,
    name=NAMES,
    kind=st.sampled_from([tarread.REGULAR, tarread.SYMLINK, tarread.LINK, tarread.DIRECTORY, tarread.FIFO]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.just(0),
    mtime=st.integers(-(2**33), 2**36).map(lambda seconds: seconds * 1_000_000_000),
    link=NAMES,
    xattrs=st.dictionaries(
        st.sampled_from([b"user.a", b"user.b=c", b"security.capability"]), st.binary(max_size=50), max_size=2
    ),
)


def fields(entry: Entry) -> dict[str, object]:
    """All of a member, for comparing."""
    return {name: getattr(entry, name) for name in Entry.__slots__}


def read_all(data: bytes) -> list[Entry]:
    """All members; their payload is passed over."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    assert os.write(writer, data) == len(data)
    os.close(writer)
    stream = Stream(reader)
    tar = TarReader(stream)
    entries = []
    try:
        while (entry := tar.next()) is not None:
            stream.skip(entry.size)
            entries.append(entry)
    finally:
        os.close(reader)
    return entries


@given(entry=ENTRIES)
def test_a_written_header_reads_back_the_same(entry: Entry) -> None:
    if any(b"=" in key for key in entry.xattrs):
        entry.xattrs = {key: value for key, value in entry.xattrs.items() if b"=" not in key}
    (again,) = read_all(tarwrite.header(entry) + tarwrite.END)
    assert fields(again) == fields(entry)


@given(entry=ENTRIES)
def test_tarfile_reads_what_we_write(entry: Entry) -> None:
    entry.xattrs = {}
    with tarfile.open(fileobj=io.BytesIO(tarwrite.header(entry) + tarwrite.END), mode="r:") as tar:
        (member,) = tar.getmembers()
    assert os.fsencode(member.name) == entry.name
    assert (member.mode, member.uid, member.gid, member.mtime) == (
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime // 1_000_000_000,
    )
    if entry.kind in (tarread.SYMLINK, tarread.LINK):
        assert os.fsencode(member.linkname) == entry.link


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tarfile_is_read(form: int) -> None:
    sink = io.BytesIO()
    names = ["short", "d/" + "x" * 90 + "/" + "y" * 60]
    if form != tarfile.USTAR_FORMAT:
        names += ["long/" + "z" * 200, "unicode/ü" + "é" * 70]
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for index, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = index * 100
            info.uid = 7 if form == tarfile.USTAR_FORMAT else 3_000_000
            info.mtime = 1_700_000_000
            tar.addfile(info, io.BytesIO(bytes(index * 100)))
    entries = read_all(sink.getvalue())
    assert [os.fsdecode(entry.name) for entry in entries] == names
    assert [entry.size for entry in entries] == [index * 100 for index in range(len(names))]
    assert {entry.mtime for entry in entries} == {1_700_000_000_000_000_000}
    assert {entry.uid for entry in entries} == {7 if form == tarfile.USTAR_FORMAT else 3_000_000}


@given(data=st.binary(max_size=3000))
def test_garbage_is_an_error_of_the_client_or_no_members(data: bytes) -> None:
    try:
        read_all(data)
    except InvalidParameterError:
        return


@given(entry=ENTRIES, position=st.integers(0, 511), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_harmless(entry: Entry, position: int, value: int) -> None:
    data = bytearray(tarwrite.header(entry) + tarwrite.END)
    data[position] = value
    try:
        read_all(bytes(data))
    except InvalidParameterError:
        return


@pytest.mark.parametrize(
    ("given_name", "cleaned"),
    [
        (b"a/b", b"a/b"),
        (b"./a", b"a"),
        (b"a/", b"a"),
        (b"/a//b/./c/", b"a/b/c"),
        (b"a/../b", b"b"),
        (b"../a", b"../a"),
        (b"a/../../b", b"../b"),
        (b"/../a", b"a"),
        (b".", b"."),
        (b"/", b"."),
        (b"a/b/../..", b"."),
        (b"..a/...", b"..a/..."),
    ],
)
def test_names_are_cleaned_as_go_does(given_name: bytes, cleaned: bytes) -> None:
    assert clean(given_name) == cleaned


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"\0\0\0\0", 0),
        (b"\x80\0\0\x01", 1),
        (b"\xff\xff\xff\xff", -1),
    ],
)
def test_numbers_are_octal_or_binary(field: bytes, value: int) -> None:
    assert number(field) == value


@pytest.mark.parametrize("field", [b"0000x44\0", b"89\0", b"\x80" + b"\xff" * 11, b"-1\0"])
def test_other_numbers_are_refused(field: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="invalid tar header"):
        number(field)


@pytest.mark.parametrize(
    "records",
    [
        b"x path=a\n",
        b"99 path=a\n",
        b"8 path=a\n",
        b"9 pathXa\n",
        b"5 =a\n",
        b"11 path=\0\0\n",
        b"0 path=a\n",
        b"-1 path=a\n",
    ],
)
def test_broken_pax_records_are_refused(records: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="invalid tar header"):
        pax_records(records)


def test_pax_times_keep_nanoseconds() -> None:
    assert pax_time(b"1.000000001") == 1_000_000_001
    assert pax_time(b"-1.5") == -1_500_000_000
    with pytest.raises(InvalidParameterError):
        pax_time(b"1e9")
