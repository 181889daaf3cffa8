"""Containers and layers begin in parts of the disk of their own, where the file system can do that."""

from __future__ import annotations

import subprocess
from pathlib import Path

from controllers.placement import spread


def flags(directory: Path) -> str:
    """What lsattr shows of a directory; empty where the file system has no flags."""
    shown = subprocess.run(["lsattr", "-d", str(directory)], capture_output=True, text=True)
    return shown.stdout.partition(" ")[0]


def test_a_directory_is_marked_as_chattr_does_it(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    spread(ours)
    subprocess.run(["chattr", "+T", str(theirs)], capture_output=True)
    assert flags(ours) == flags(theirs)


def test_it_stays_marked_and_nothing_below_is(tmp_path: Path) -> None:
    spread(tmp_path)
    before = flags(tmp_path)
    spread(tmp_path)
    (tmp_path / "below").mkdir()
    assert flags(tmp_path) == before
    assert "T" not in flags(tmp_path / "below")


def test_what_is_not_there_or_has_no_flags_is_left_alone(tmp_path: Path) -> None:
    spread(tmp_path / "missing")
    spread(Path("/proc"))
    assert list(tmp_path.iterdir()) == []
