"""The docker command line's daily session, each command on our engine and on dockerd, outputs compared."""

from __future__ import annotations

import difflib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.differential import (
    scenes_faults,
    scenes_files,
    scenes_images,
    scenes_inspect,
    scenes_life,
    scenes_networks,
    scenes_rest,
    scenes_run,
    scenes_system,
)
from tests.differential.script import Scene, Shown, play
from tests.support.engine import Engine
from tests.support.peer import Peer

ALL = [
    scene
    for module in (
        scenes_run,
        scenes_life,
        scenes_files,
        scenes_images,
        scenes_networks,
        scenes_inspect,
        scenes_system,
        scenes_faults,
        scenes_rest,
    )
    for scene in module.SCENES
]


@pytest.mark.parametrize("scene", ALL, ids=[scene.name for scene in ALL])
def test_a_scene_shows_what_dockerd_shows(scene: Scene, engine: Engine, peer: Peer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        plays = []
        for daemon in (engine, peer):
            (directory := tmp_path / daemon.name).mkdir()
            plays.append(pool.submit(play, scene, daemon, directory))
        ours, theirs = (done.result() for done in plays)
    differences = "\n\n".join(
        "\n".join(diff) for our, their in zip(ours, theirs, strict=True) if (diff := _difference(our, their))
    )
    assert not differences, f"\n{differences}"


def _difference(ours: Shown, theirs: Shown) -> list[str]:
    their, our = (str(shown).splitlines() for shown in (theirs, ours))
    return list(difflib.unified_diff(their, our, f"dockerd: {ours.command}", "wharfinger", lineterm="", n=1))


def test_the_session_is_hundreds_of_commands_long() -> None:
    assert sum(len(scene.steps) for scene in ALL) >= 300
    assert len({scene.name for scene in ALL}) == len(ALL)
