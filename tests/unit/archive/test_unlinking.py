"""Unlinking that turns out to be slow goes on in threads; what is gone and what is not stays the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controllers.archive import unlinking
from controllers.archive.removal import remove_tree
from controllers.archive.unlinking import Unlinker


@pytest.fixture(params=["slow", "quick"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether unlinking counts as slow from the first file on, or never."""
    monkeypatch.setattr(unlinking, "SLOW", -1.0 if request.param == "slow" else 3600.0)
    return str(request.param)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_names_go_at_once_and_no_descriptor_stays(pace: str, tmp_path: Path) -> None:
    before = descriptors()
    unlinker = Unlinker()
    for number in range(1000):
        path = tmp_path / str(number)
        path.write_bytes(b"x" * 100)
        unlinker.unlink(bytes(path))
        assert not path.exists()
        assert len(descriptors() - before) <= unlinking.MOST + unlinking.BATCH
    unlinker.finish()
    assert descriptors() == before


def test_errors_are_those_of_the_call(pace: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    before = descriptors()
    unlinker = Unlinker()
    for _ in range(100):
        with pytest.raises(IsADirectoryError):
            unlinker.unlink(bytes(tmp_path / "directory"))
        with pytest.raises(FileNotFoundError):
            unlinker.unlink(bytes(tmp_path / "missing"))
    unlinker.finish()
    assert descriptors() == before


def test_a_link_goes_and_not_what_it_leads_to(pace: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    unlinker = Unlinker()
    for number in range(20):
        (tmp_path / f"link{number}").symlink_to(tmp_path / "kept")
        os.mkfifo(tmp_path / f"pipe{number}")
        unlinker.unlink(bytes(tmp_path / f"link{number}"))
        unlinker.unlink(bytes(tmp_path / f"pipe{number}"))
    unlinker.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_big_tree_is_removed(pace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(800):
        path = tmp_path / "tree" / f"{number % 7}" / f"{number % 11}" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    before = descriptors()
    monkeypatch.chdir(tmp_path)
    remove_tree("tree")
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before
