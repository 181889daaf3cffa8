"""Tars that want out, or that are no tars: always the client's fault, and nothing outside of the root changes."""

# A test may hold up its own loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver
from store.errors import EngineError, InvalidParameterError
from tests.unit.archive.hostile import CONTAINED, DIRECTORY, LINK, REFUSED, SYMLINK
from tests.unit.archive.tars import Member, chunks, tar

pytestmark = pytest.mark.host


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a secret beside it."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return root


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_hostile_and_broken_tars_are_the_clients_fault(archiver: Archiver, root: Path, name: str) -> None:
    with pytest.raises(InvalidParameterError):
        await archiver.unpack_from(root, chunks(REFUSED[name]), whiteouts="overlay")
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]
    assert (root.parent / "secret").read_text() == "outside"


@pytest.mark.parametrize("name", sorted(CONTAINED))
async def test_what_points_outside_lands_inside(archiver: Archiver, root: Path, name: str) -> None:
    await archiver.unpack_from(root, chunks(CONTAINED[name]))
    assert (root / "evil").exists()
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]
    assert not os.path.lexists("/evil")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (Member("../x"), '"../x" is outside of "/tmp"'),
        (Member("s", kind=SYMLINK, link="../etc"), 'invalid symlink "/tmp/s" -> "../etc"'),
        (Member("d/s", kind=SYMLINK, link="../../x"), 'invalid symlink "/tmp/d/s" -> "../../x"'),
        (Member("h", kind=LINK, link="../etc/passwd"), "invalid hardlink"),
    ],
)
async def test_links_out_of_the_destination_are_refused_in_dockerds_words(
    archiver: Archiver, root: Path, member: Member, words: str
) -> None:
    (root / "tmp").mkdir()
    with pytest.raises(InvalidParameterError, match=words.replace(".", r"\.")):
        await archiver.unpack_from(root, chunks(tar(member)), path="/tmp")


async def test_a_hard_link_is_made_to_the_members_of_the_destination(archiver: Archiver, root: Path) -> None:
    (root / "tmp").mkdir()
    with pytest.raises(InvalidParameterError, match="no such file"):
        await archiver.unpack_from(root, chunks(tar(Member("h", kind=LINK, link="/etc/passwd"))), path="/tmp")
    await archiver.unpack_from(root, chunks(tar(Member("a", b"x"), Member("h", kind=LINK, link="/a"))), path="/tmp")
    assert (root / "tmp/h").stat().st_nlink == 2


async def test_a_full_disk_is_the_engines_failure(archiver: Archiver, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    await archiver.mount("tmpfs", place, "tmpfs", 0, "size=64k")
    try:
        with pytest.raises(EngineError, match="no space left") as caught:
            await archiver.unpack_from(place, chunks(tar(Member("a", bytes(1 << 20)))))
        assert not isinstance(caught.value, InvalidParameterError)
    finally:
        await archiver.unmount(place)


async def test_marks_of_overlayfs_in_a_tar_are_not_obeyed(archiver: Archiver, root: Path) -> None:
    member = Member("d", kind=DIRECTORY, pax={"SCHILY.xattr.trusted.overlay.redirect": "/etc"})
    await archiver.unpack_from(root, chunks(tar(member)), whiteouts="overlay")
    assert os.listxattr(root / "d") == []
