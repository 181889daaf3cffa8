"""A scene: docker commands typed one after another, on our engine and on dockerd."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.differential.accepted import without_accepted
from tests.differential.normalise import Normaliser
from tests.support.daemon import Daemon
from tests.support.tools import program

PATIENCE = 30


@dataclass(frozen=True)
class Step:
    """One command, and how its outputs are made comparable.

    ``words`` is a docker command line without ``docker``; ``{tmp}`` is a directory of the scene's, ``{start}`` and
    ``{now}`` are times as ``--since`` takes them. With ``shell`` it is a whole shell line, to pipe and redirect.
    """

    words: str
    stdin: str | None = None
    shell: bool = False
    unordered: bool = False
    """Lines come in no promised order."""
    numbers: bool = False
    """Numbers are the machine's own: compare only where they stand."""
    only: str | None = None
    """Compare only the lines that match this regular expression."""


@dataclass(frozen=True)
class Scene:
    """Steps that build on each other."""

    name: str
    steps: Sequence[str | Step]
    files: dict[str, str] = field(default_factory=dict)
    """Files in ``{tmp}``, by relative path."""


@dataclass(frozen=True)
class Shown:
    """What a step showed, made comparable."""

    command: str
    code: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"$ docker {self.command}\n[exit code {self.code}]\n{self.out}\n[stderr]\n{self.err}"


def play(scene: Scene, daemon: Daemon, directory: Path) -> list[Shown]:
    """Type a scene's steps; what each showed. The outputs' ids, times and addresses are replaced by their order."""
    for name, text in scene.files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    normaliser = Normaliser({str(directory): "<tmp>", str(daemon.directory): "<daemon>"})
    start = f"{time.time():.6f}"
    shown = []
    for item in scene.steps:
        step = item if isinstance(item, Step) else Step(item)
        text = step.words.replace("{tmp}", str(directory)).replace("{start}", start)
        text = text.replace("{now}", f"{time.time():.6f}")
        command = ["sh", "-c", text] if step.shell else [program("docker"), *shlex.split(text)]
        began = time.monotonic()
        code, *streams = _typed(command, step.stdin or "", daemon)
        out, err = (_comparable(step, normaliser, stream) for stream in streams)
        shown.append(Shown(step.words, code, out, err, time.monotonic() - began))
    return shown


def _typed(command: list[str], stdin: str, daemon: Daemon) -> tuple[int, bytes, bytes]:
    try:
        done = subprocess.run(
            command, input=stdin.encode(), capture_output=True, env=daemon.docker_environment(), timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as late:
        return -1, late.stdout or b"", (late.stderr or b"") + f"\n<not done after {PATIENCE} s>".encode()
    return done.returncode, done.stdout, done.stderr


def _comparable(step: Step, normaliser: Normaliser, stream: bytes) -> str:
    text = without_accepted(step.words, stream.decode(errors="replace"))
    lines = normaliser.text(text, numbers=step.numbers).splitlines()
    if step.only is not None:
        lines = normaliser.matching(step.only, lines)
    return "\n".join(sorted(lines) if step.unordered else lines)
