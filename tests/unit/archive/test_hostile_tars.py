"""Tars that want out, or that are no tars: always the client's fault, and nothing outside of the root changes."""

# A test may hold up its own loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver
from store.errors import EngineError, InvalidParameterError
from tests.unit.archive.tars import Member, chunks, raw_header, tar

pytestmark = pytest.mark.host

SYMLINK, LINK, DIRECTORY, CHARACTER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a secret beside it."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return root


REFUSED = {
    "a name with dots": tar(Member("../evil", b"x")),
    "dots in the middle": tar(Member("a/../../evil", b"x")),
    "only dots": tar(Member("..", kind=DIRECTORY)),
    "a whiteout of the parent": tar(Member(".wh...")),
    "a whiteout of nothing": tar(Member(".wh.")),
    "a hard link to nothing": tar(Member("h", kind=LINK, link="missing")),
    "a hard link outside": tar(Member("h", kind=LINK, link="../secret")),
    "an unknown type": tar(Member("z", kind=b"Z")),
    "no tar": b"not a tar at all" * 100,
    "a short block": b"garbage",
    "a truncated header": tar(Member("a", b"x"))[:300],
    "truncated content": tar(Member("a", b"x" * 5000))[:2000],
    "a negative size": raw_header(b"a", b"\xff" * 12) + bytes(1024),
    "a negative octal size": raw_header(b"a", b"-0000000001\0") + bytes(1024),
    "a size beyond 64 bits": raw_header(b"a", b"\x80" + b"\xff" * 11) + bytes(1024),
    "an endless pax header": raw_header(b"p", b"77777777777\0", b"x") + bytes(4096),
    "a pax header of two megabytes": raw_header(b"p", b"00010000000\0", b"x") + bytes(4096),
    "an endless long name": raw_header(b"p", b"77777777777\0", b"L") + bytes(4096),
    "a NUL in a pax path": tar(Member("a", pax={"path": "a\0b"})),
    "a negative pax size": tar(Member("a", pax={"size": "-5"})),
    "one block of zeros, then something": bytes(512) + tar(Member("a", b"x")),
    "an impossible device": tar(Member("d", kind=CHARACTER, fields={"devmajor": 0o7777777, "devminor": 0o7777777})),
    "an empty name": raw_header(b"") + bytes(1024),
    "a name longer than the kernel takes": tar(Member("x" * 300)),
    "a path longer than the kernel takes": tar(Member("/".join(["x" * 200] * 30))),
    "a file where a directory is needed": tar(Member("f", b"x"), Member("f/g", b"y")),
    "a loop of links": tar(
        Member("a", kind=SYMLINK, link="b"), Member("b", kind=SYMLINK, link="a"), Member("a/f", b"x")
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_hostile_and_broken_tars_are_the_clients_fault(archiver: Archiver, root: Path, name: str) -> None:
    with pytest.raises(InvalidParameterError):
        await archiver.unpack_from(root, chunks(REFUSED[name]), whiteouts="overlay")
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]
    assert (root.parent / "secret").read_text() == "outside"


CONTAINED = {
    "an absolute name": tar(Member("/evil", b"x")),
    "a link to the host's root": tar(Member("e", kind=SYMLINK, link="/"), Member("e/evil", b"x")),
    "a link far up": tar(Member("e", kind=SYMLINK, link="../../../../../.."), Member("e/evil", b"x")),
    "a link in two steps": tar(
        Member("up", kind=SYMLINK, link=".."), Member("e", kind=SYMLINK, link="up/.."), Member("e/evil", b"x")
    ),
    "a file through a link to a file": tar(
        Member("e", kind=SYMLINK, link="/evil"), Member("evil", b"x"), Member("e", b"y")
    ),
}


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
