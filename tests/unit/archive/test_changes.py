"""``docker diff`` on real overlay directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controllers.archive.helper import Archiver

pytestmark = pytest.mark.host

MODIFIED, ADDED, DELETED = 0, 1, 2


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, list[Path]]:
    """An upper directory over two lower ones: the top one hides ``hidden`` of the bottom one."""
    upper, top, bottom = tmp_path / "upper", tmp_path / "top", tmp_path / "bottom"
    for path in (upper, top, bottom / "etc", bottom / "var/log"):
        path.mkdir(parents=True)
    for name in ("etc/passwd", "etc/group", "var/log/a", "hidden"):
        (bottom / name).write_text(name)
    os.mknod(top / "hidden", 0o020000, 0)
    return upper, [top, bottom]


async def differences(archiver: Archiver, layers: tuple[Path, list[Path]]) -> list[tuple[str, int]]:
    """What is found, as pairs."""
    return [(change.path, change.kind) for change in await archiver.changes(*layers)]


async def test_nothing_changed_is_nothing(archiver: Archiver, layers: tuple[Path, list[Path]]) -> None:
    assert await differences(archiver, layers) == []


async def test_added_modified_and_deleted_are_told_with_their_directories(
    archiver: Archiver, layers: tuple[Path, list[Path]]
) -> None:
    upper = layers[0]
    (upper / "etc").mkdir()
    (upper / "etc/passwd").write_text("changed")
    os.mknod(upper / "etc/group", 0o020000, 0)
    (upper / "new/inner").mkdir(parents=True)
    (upper / "new/inner/f").touch()
    (upper / "hidden").touch()
    assert await differences(archiver, layers) == [
        ("/etc", MODIFIED),
        ("/etc/group", DELETED),
        ("/etc/passwd", MODIFIED),
        ("/hidden", ADDED),
        ("/new", ADDED),
        ("/new/inner", ADDED),
        ("/new/inner/f", ADDED),
    ]


async def test_a_directory_made_anew_lists_what_it_hides(archiver: Archiver, layers: tuple[Path, list[Path]]) -> None:
    upper = layers[0]
    (upper / "etc").mkdir()
    os.setxattr(upper / "etc", "trusted.overlay.opaque", b"y")
    (upper / "etc/passwd").write_text("new")
    assert await differences(archiver, layers) == [
        ("/etc", MODIFIED),
        ("/etc/group", DELETED),
        ("/etc/passwd", MODIFIED),
    ]


async def test_a_directory_that_was_only_passed_through_is_left_out(
    archiver: Archiver, layers: tuple[Path, list[Path]]
) -> None:
    upper, (_, bottom) = layers
    (upper / "var/log").mkdir(parents=True)
    for name in ("var/log", "var"):
        info = (bottom / name).stat()
        os.utime(upper / name, ns=(info.st_mtime_ns, info.st_mtime_ns))
    assert await differences(archiver, layers) == []


async def test_links_in_layers_lead_nowhere(archiver: Archiver, layers: tuple[Path, list[Path]]) -> None:
    upper, (top, _) = layers
    (top / "var").symlink_to("/etc")
    (upper / "var").mkdir()
    (upper / "var/passwd").touch()
    assert await differences(archiver, layers) == [("/var", MODIFIED), ("/var/passwd", ADDED)]
