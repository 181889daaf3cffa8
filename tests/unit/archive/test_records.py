"""A layer's tar comes back byte for byte, however it was written."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver
from store.errors import EngineError
from tests.unit.archive.tars import Member, chunks, raw_header, tar

pytestmark = pytest.mark.host

GNU = subprocess.run(
    ["tar", "--format=gnu", "-C", "/usr/share", "-cf", "-", "common-licenses"], capture_output=True, check=False
).stdout
TARS = {
    "plain": tar(Member("d", kind=tarfile.DIRTYPE), Member("d/a", b"x" * 1000), Member("d/b", b"y" * 512)),
    "empty": bytes(1024),
    "nothing at all": b"",
    "no end blocks": tar(Member("a", b"x" * 512))[:1024],
    "much padding": tar(Member("a", b"x")) + bytes(100_000),
    "garbage after the end": tar(Member("a", b"x")) + b"garbage" * 1000,
    "the same name twice": tar(Member("a", b"first" * 1000), Member("a", b"second")),
    "a tree replaced by a file": tar(Member("d/e/f", b"1" * 5000), Member("d/e/g", b"2"), Member("d", b"3")),
    "a linked file replaced": tar(
        Member("a", b"x" * 3000),
        Member("b", kind=tarfile.LNKTYPE, link="a"),
        Member("a", b"new"),
        Member("b", b"newer"),
    ),
    "through a link": tar(
        Member("real", kind=tarfile.DIRTYPE), Member("l", kind=tarfile.SYMTYPE, link="real"), Member("l/f", b"x" * 99)
    ),
    "a hidden file": tar(Member("a", b"x" * 2000), Member(".wh.a")),
    "whiteouts with content": tar(Member(".wh.a", b"odd"), Member("d/.wh..wh..opq", b"odd too")),
    "dirty padding": tar(Member("a", b"x" * 10))[:522] + b"#" * 502 + bytes(1024),
    "long names": tar(Member("/".join(["n" * 90] * 4), b"x" * 600)),
    "gnu": GNU,
    "content of the top": tar(Member(".", b"what?"), Member("b", b"x")),
    "an old header": raw_header(b"old", b"00000000003\0", b"\0") + b"abc" + bytes(509 + 1024),
    "big": tar(*(Member(f"f{number}", os.urandom(300_000)) for number in range(10))),
}


async def assembled(archiver: Archiver, root: Path, record: Path) -> tuple[str, bytes]:
    """The tar as ``assemble`` writes it, with the digest that it says."""
    reader, writer = os.pipe()
    pieces: list[bytes] = []

    def drain() -> None:
        while piece := os.read(reader, 1 << 16):
            pieces.append(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        digest = await archiver.assemble(root, record, writer)
    finally:
        os.close(writer)
        await asyncio.to_thread(thread.join)
        os.close(reader)
    return digest, b"".join(pieces)


@pytest.mark.parametrize("name", sorted(TARS))
async def test_the_tar_comes_back_byte_for_byte(archiver: Archiver, tmp_path: Path, name: str) -> None:
    data = TARS[name]
    root, record = tmp_path / "root", tmp_path / "record"
    root.mkdir()
    unpacked = await archiver.unpack_from(root, chunks(data), whiteouts="overlay", record=record)
    assert unpacked.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert unpacked.stream_bytes == len(data)
    digest, again = await assembled(archiver, root, record)
    assert again == data
    assert digest == unpacked.diff_id


async def test_a_record_is_small(archiver: Archiver, tmp_path: Path) -> None:
    data = tar(*(Member(f"directory/file-{number}", os.urandom(2000)) for number in range(500)))
    (tmp_path / "root").mkdir()
    await archiver.unpack_from(tmp_path / "root", chunks(data), record=tmp_path / "record")
    assert (tmp_path / "record").stat().st_size < len(data) / 50


async def test_damage_is_an_error_or_shows_in_the_digest(archiver: Archiver, tmp_path: Path) -> None:
    root, record = tmp_path / "root", tmp_path / "record"
    root.mkdir()
    unpacked = await archiver.unpack_from(root, chunks(TARS["plain"]), record=record)
    whole = record.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        record.write_bytes(whole[:length])
        with pytest.raises(EngineError):
            await assembled(archiver, root, record)
    record.write_bytes(whole)
    (root / "d/a").write_bytes(b"z" * 1000)
    assert (await assembled(archiver, root, record))[0] != unpacked.diff_id
    (root / "d/a").write_bytes(b"z")
    with pytest.raises(EngineError, match="shorter"):
        await assembled(archiver, root, record)
    (root / "d/a").unlink()
    with pytest.raises(EngineError):
        await assembled(archiver, root, record)
