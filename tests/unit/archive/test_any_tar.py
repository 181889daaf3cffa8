"""Whatever a tar says: nothing outside changes, the failure is the client's, and a record gives the tar back."""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers.archive.helper import Archiver
from store.errors import EngineError, InvalidParameterError
from tests.unit.archive.tars import Member, chunks, described, tar
from tests.unit.archive.test_records import assembled

pytestmark = pytest.mark.host

PARTS = st.sampled_from(["a", "b", "c", "..", ".", ".wh.a", ".wh..wh..opq", "etc"])
PATHS = st.builds(
    lambda rooted, parts: rooted + "/".join(parts),
    st.sampled_from(["", "", "/"]),
    st.lists(PARTS, min_size=1, max_size=4),
)
KINDS = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.REGTYPE,
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
    ]
)
MEMBERS = st.builds(
    lambda name, kind, data, link, mode: Member(name, data if kind == tarfile.REGTYPE else b"", kind, link, mode),
    PATHS,
    KINDS,
    st.binary(max_size=1500),
    PATHS,
    st.integers(0, 0o7777),
)


class Runner:
    """One loop and one archiver for all examples."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.archiver = Archiver()
        self.runner.run(self.archiver.start())

    def close(self) -> None:
        """End both."""
        self.runner.run(self.archiver.close())
        self.runner.close()


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """The runner of this module."""
    runner = Runner()
    yield runner
    runner.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(MEMBERS, max_size=8), cut=st.none() | st.integers(0, 6000), path=st.sampled_from(["/", "/etc"]))
def test_any_tar_is_contained_and_comes_back(runner: Runner, members: list[Member], cut: int | None, path: str) -> None:
    data = tar(*members)[:cut]
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        root, record = top / "root", top / "record"
        for name in ("root/etc", "a/a", "b", "etc"):
            (top / name).mkdir(parents=True)
        (top / "a/b").write_text("outside")
        before = {name: what for name, what in described(str(top)).items() if not name.startswith("root")}
        layer = path == "/"
        try:
            unpacked = runner.runner.run(
                runner.archiver.unpack_from(
                    root,
                    chunks(data),
                    path=path,
                    whiteouts="overlay" if layer else None,
                    record=record if layer else None,
                )
            )
        except InvalidParameterError:
            pass
        else:
            if layer:
                check_record(runner, root, record, data, unpacked.diff_id)
        record.unlink(missing_ok=True)
        after = {name: what for name, what in described(str(top)).items() if not name.startswith("root")}
        assert after == before
    finally:
        shutil.rmtree(top)


def check_record(runner: Runner, root: Path, record: Path, data: bytes, diff_id: str) -> None:
    """The tar comes back, or, where links among its members were turned about, the digest says that it does not."""
    try:
        digest, again = runner.runner.run(assembled(runner.archiver, root, record))
    except EngineError:
        return
    assert (again == data) == (digest == diff_id)
    assert os.path.exists(record)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(
        st.builds(Member, st.sampled_from(["a", "b", "d/a", "d/b", "d"]), st.binary(max_size=1500)), max_size=8
    )
)
def test_a_tar_without_links_always_comes_back(runner: Runner, members: list[Member]) -> None:
    data = tar(*members)
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        (top / "root").mkdir()
        try:
            runner.runner.run(runner.archiver.unpack_from(top / "root", chunks(data), record=top / "record"))
        except InvalidParameterError:
            return
        assert runner.runner.run(assembled(runner.archiver, top / "root", top / "record"))[1] == data
    finally:
        shutil.rmtree(top)
