"""``python -m tests.differential [SCENE …]``: the session on both engines, as a table with the outputs side by side."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.differential.script import Scene, Shown, play
from tests.differential.test_cli import ALL
from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.peer import Peer
from tests.support.tools import search_path

WIDTH = 60


def main() -> None:
    """Play the scenes whose names contain what the command line says, or all."""
    os.environ["PATH"] = search_path()
    chosen = [scene for scene in ALL if not sys.argv[1:] or any(word in scene.name for word in sys.argv[1:])]
    with Engine().ready() as engine, Peer().ready() as peer:
        for scene in chosen:
            print(f"\n## {scene.name}\n\n| docker … | wharfinger | dockerd | |\n|---|---|---|---|")
            for row in rows(scene, engine, peer):
                print(row, flush=True)


def rows(scene: Scene, *daemons: Daemon) -> Iterator[str]:
    """A line of the table for each step."""
    played: list[list[Shown]] = []
    for daemon in daemons:
        with tempfile.TemporaryDirectory() as directory, daemon.tidied():
            played.append(play(scene, daemon, Path(directory)))
    for ours, theirs in zip(*played, strict=True):
        same = str(ours) == str(theirs)
        yield f"| `{cell(ours.command)}` | {told(ours)} | {told(theirs)} | {'same' if same else '**differs**'} |"


def told(shown: Shown) -> str:
    """The exit code and the beginning of what a step showed."""
    return f"{shown.code} `{cell(' ⏎ '.join(line for line in (shown.out + shown.err).splitlines() if line))}`"


def cell(text: str) -> str:
    """Text fit for a cell of a table."""
    text = text.replace("|", "¦").replace("`", "'").replace("\n", " ")
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


if __name__ == "__main__":
    main()
