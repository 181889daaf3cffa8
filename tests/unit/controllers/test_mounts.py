"""Mounts that have gone are found by comparing, and told by the entry that they belong to."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from controllers.mounts import MountWatch, entries


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def test_an_entry_is_what_a_mount_point_is_or_is_below(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    points = [f"{tmp_path}/real/a", f"{tmp_path}/real/b/merged/deep", f"{tmp_path}/really/c", str(tmp_path / "real")]
    assert entries(tmp_path / "link", points) == {"a", "b"}


@pytest.mark.host
async def test_only_what_has_gone_is_told(tmp_path: Path) -> None:
    told: list[frozenset[str]] = []
    heard = asyncio.Event()

    def hear(gone: frozenset[str]) -> None:
        told.append(gone)
        heard.set()

    place = tmp_path / "a b\n\\c"
    place.mkdir()
    watch = MountWatch([hear])
    watch.start()
    try:
        await asyncio.to_thread(run, "mount", "-t", "tmpfs", "none", str(place))
        await asyncio.sleep(0.5)
        assert told == []
        await asyncio.to_thread(run, "umount", str(place))
        await asyncio.wait_for(heard.wait(), 10)
        assert str(place) in told[0]
    finally:
        watch.stop()
