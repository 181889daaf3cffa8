"""Trees: packed and unpacked they are the same; layers keep whiteouts; copies keep everything."""

# A test may hold up its own loop.
# ruff: noqa: ASYNC221, ASYNC230, ASYNC240

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers.archive.helper import Archiver
from store.errors import EngineError, NotFoundError
from tests.unit.archive.tars import Member, chunks, described, tar

pytestmark = pytest.mark.host

NAMES = st.binary(min_size=1, max_size=120).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..") and not name.startswith(b".wh.")
)
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=70_000), st.integers(0, 0o7777)),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=150).filter(lambda target: b"\0" not in target)),
    st.tuples(st.just("fifo")),
    st.tuples(st.just("device")),
)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def make(path: bytes, tree: object) -> None:
    """Write a generated tree to disk."""
    if isinstance(tree, dict):
        os.mkdir(path)
        for name, child in tree.items():
            make(path + b"/" + name, child)
        os.chown(path, 12, 34)
        os.utime(path, (1e9, 1e9))
        return
    assert isinstance(tree, tuple)
    if tree[0] == "file":
        with open(path, "wb") as file:
            file.write(tree[1])
        os.chown(path, 70_000, 3_000_000)
        os.chmod(path, tree[2])
    elif tree[0] == "link":
        os.symlink(tree[1], path)
    elif tree[0] == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o020666, os.makedev(1, 3))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=st.dictionaries(NAMES, TREES, max_size=4))
def test_a_tree_packed_and_unpacked_is_the_same(tree: dict[bytes, object]) -> None:
    async def there_and_back(top: Path) -> None:
        archiver = Archiver()
        await archiver.start()
        try:
            make(os.fsencode(top / "a"), tree)
            (top / "b").mkdir()
            packed = archiver.pack_chunks(top / "a", "/", content_only=True)
            await archiver.unpack_from(top / "b", packed)
        finally:
            await archiver.close()

    top = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        asyncio.run(there_and_back(top))
        assert described(str(top / "a")) == described(str(top / "b"))
    finally:
        shutil.rmtree(top)


async def test_hard_links_times_and_attributes_survive(archiver: Archiver, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "a").write_bytes(b"x" * 100_000)
    os.link(one / "a", one / "b")
    os.setxattr(one / "a", "user.note", b"\0binary\n")
    os.utime(one / "a", ns=(5, 1_500_000_000_000_000_000))
    await archiver.unpack_from(two, archiver.pack_chunks(one, "/", content_only=True))
    assert (two / "a").stat().st_ino == (two / "b").stat().st_ino
    assert os.getxattr(two / "a", "user.note") == b"\0binary\n"
    assert (two / "a").stat().st_mtime_ns == 1_500_000_000_000_000_000


async def test_gnu_tar_reads_what_we_pack_and_we_read_its_sparse_files(archiver: Archiver, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    with open(one / "holes", "wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(b"data" * 1000)
    for form in ("gnu", "posix"):
        two = tmp_path / form
        two.mkdir()
        made = subprocess.run(
            ["tar", "--sparse", f"--format={form}", "-C", one, "-cf", "-", "holes"], capture_output=True, check=True
        )
        assert len(made.stdout) < 100_000
        unpacked = await archiver.unpack_from(two, chunks(made.stdout))
        assert (two / "holes").read_bytes() == (one / "holes").read_bytes()
        assert unpacked.size_bytes == 3_000_000
    packed = b"".join([chunk async for chunk in archiver.pack_chunks(one, "/holes")])
    listed = subprocess.run(["tar", "tf", "-"], input=packed, capture_output=True, check=True)
    assert listed.stdout == b"holes\n"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/d", ["d", "d/f"]),
        ("/d/", ["d", "d/f"]),
        ("d", ["d", "d/f"]),
        ("/d/.", [".", "./f"]),
        ("/d/f", ["f"]),
        ("/l", ["l"]),
        ("/l/", ["l", "l/f"]),
        ("/l/f", ["f"]),
        ("/d/../d", ["d", "d/f"]),
    ],
)
async def test_members_are_named_as_docker_cp_wants(
    archiver: Archiver, tmp_path: Path, path: str, names: list[str]
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    (tmp_path / "l").symlink_to("/d")
    packed = b"".join([chunk async for chunk in archiver.pack_chunks(tmp_path, path)])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == names


async def test_a_path_is_described_inside_the_root(archiver: Archiver, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    (tmp_path / "l").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../../../etc")
    found = await archiver.stat(tmp_path, "/l")
    assert (found.name, found.link_target, found.is_link) == ("l", "/etc/passwd", True)
    assert (await archiver.stat(tmp_path, "/up/passwd")).size == 6
    assert (await archiver.stat(tmp_path, "/up/.")).path == "/etc"
    assert (await archiver.stat(tmp_path, "/etc")).is_directory
    for missing in ("/nope", "/nope/x", "/up/shadow"):
        with pytest.raises(NotFoundError):
            await archiver.stat(tmp_path, missing)


async def test_mounts_are_laid_for_one_job_alone(archiver: Archiver, tmp_path: Path) -> None:
    root, volume = tmp_path / "root", tmp_path / "volume"
    root.mkdir()
    (volume / "deep").mkdir(parents=True)
    (volume / "f").write_text("in the volume")
    single = tmp_path / "single"
    single.write_text("one file")
    mounts = [(volume, "/data/new"), (single, "/etc/single"), (tmp_path / "missing", "/missing")]
    assert (await archiver.stat(root, "/data/new/f", mounts=mounts)).size == 13
    await archiver.unpack_from(root, chunks(tar(Member("g", b"1"))), path="/data/new", mounts=mounts)
    assert (volume / "g").exists()
    assert list((root / "data/new").iterdir()) == []
    assert (await archiver.stat(root, "/etc/single", mounts=mounts)).size == 8
    assert str(root) not in Path("/proc/self/mounts").read_text()


async def test_whiteouts_become_marks_of_overlayfs_and_back(archiver: Archiver, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    made = tar(
        Member("d", kind=tarfile.DIRTYPE),
        Member("d/.wh..wh..opq"),
        Member("d/f", b"x"),
        Member("e", kind=tarfile.DIRTYPE),
        Member("e/.wh.gone"),
        Member(".wh.top"),
        Member(".wh..wh.plnk", kind=tarfile.DIRTYPE),
    )
    await archiver.unpack_from(layer, chunks(made), whiteouts="overlay")
    assert os.getxattr(layer / "d", "trusted.overlay.opaque") == b"y"
    for path in (layer / "e/gone", layer / "top"):
        assert path.stat().st_rdev == 0
        assert path.is_char_device()
    assert sorted(path.name for path in layer.iterdir()) == ["d", "e", "top"]
    with open(tmp_path / "packed", "wb") as sink:
        await archiver.pack_layer(layer, sink.fileno())
    with tarfile.open(tmp_path / "packed") as archive:
        assert archive.getnames() == ["d", "d/.wh..wh..opq", "d/f", "e", "e/.wh.gone", ".wh.top"]


async def test_kept_out_whiteouts_leave_no_trace(archiver: Archiver, tmp_path: Path) -> None:
    made = tar(Member(".wh.x"), Member("y", b"1"))
    await archiver.unpack_from(tmp_path, chunks(made), whiteouts="keep-out")
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


async def test_nothing_is_replaced_by_another_kind_when_that_is_asked(archiver: Archiver, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    for member in (Member("d", b"x"), Member("f", kind=tarfile.DIRTYPE)):
        with pytest.raises(EngineError, match="cannot overwrite"):
            await archiver.unpack_from(tmp_path, chunks(tar(member)), no_overwrite_dir_non_dir=True)
    await archiver.unpack_from(tmp_path, chunks(tar(Member("d", b"x"), Member("f", kind=tarfile.DIRTYPE))))
    assert (tmp_path / "d").is_file()
    assert (tmp_path / "f").is_dir()


async def test_copy_up_keeps_owners_links_and_the_top(archiver: Archiver, tmp_path: Path) -> None:
    root, volume = tmp_path / "root", tmp_path / "volume"
    (root / "data/sub").mkdir(parents=True)
    volume.mkdir()
    (root / "data/f").write_bytes(b"x" * 300_000)
    os.link(root / "data/f", root / "data/sub/again")
    os.chown(root / "data/f", 5, 6)
    os.chown(root / "data", 7, 8)
    os.chmod(root / "data", 0o1770)
    (root / "data/out").symlink_to("/etc/passwd")
    (root / "alias").symlink_to("data")
    assert await archiver.copy_up(root, "/alias", volume)
    assert described(str(volume)) == described(str(root / "data"))
    assert (volume / "f").stat().st_ino == (volume / "sub/again").stat().st_ino
    info = volume.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (7, 8, 0o1770)
    assert not await archiver.copy_up(root, "/alias", volume)


async def test_copy_up_of_what_is_no_directory_does_nothing(archiver: Archiver, tmp_path: Path) -> None:
    root, volume = tmp_path / "root", tmp_path / "volume"
    root.mkdir()
    volume.mkdir()
    (root / "f").touch()
    assert not await archiver.copy_up(root, "/f", volume)
    assert not await archiver.copy_up(root, "/missing", volume)
    assert list(volume.iterdir()) == []


async def test_removal_follows_no_link_and_enters_no_mount(archiver: Archiver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep-directory", dir_fd=descriptor)
        inner = os.open("deep-directory", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.symlink(outside, "link", dir_fd=descriptor)
    os.close(descriptor)
    (tree / "mounted").mkdir()
    await archiver.mount(str(outside), tree / "mounted", "none", 4096, "")
    try:
        with pytest.raises(EngineError, match="busy"):
            await archiver.remove(tree)
    finally:
        await archiver.unmount(tree / "mounted")
    await archiver.remove(tree)
    assert not tree.exists()
    assert (outside / "f").exists()
    await archiver.remove(tree)


async def test_usage_counts_hard_links_once(archiver: Archiver, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "d/a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"x" * 10)
    assert await archiver.usage(tmp_path) == 1010
