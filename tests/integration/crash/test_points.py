"""The daemon dies at every named point, and nothing is lost and nothing leaks.

The points are read from the source. Each is reached by the operations listed for it below, or by the operation whose
name it begins with; a point that no operation reaches fails, so that the list cannot fall behind the code.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crash.operations import OPERATIONS, Operation, remove
from tests.support.audit import Auditor
from tests.support.engine import Engine

ROOT = Path(__file__).resolve().parents[3]
POINT = re.compile(r'crashpoint\(\s*"([a-z0-9_.]+)"')
ROUTES: dict[str, tuple[str, ...]] = {
    "store.commit": (
        "container.create",
        "container.start",
        "container.stop",
        "container.exit",
        "container.remove",
        "container.kill",
        "container.restart",
        "container.pause",
        "container.rename",
        "container.update",
        "network.create",
        "network.remove",
        "network.connect",
        "network.disconnect",
        "volume.create",
        "volume.remove",
        "image.load",
        "image.import",
        "image.tag",
        "image.remove",
    ),
    "container.start.failed": ("container.fail",),
    "container.wish": tuple(f"container.{verb}" for verb in ("start", "stop", "restart", "pause", "unpause")),
    "container.remove.gone": ("container.remove", "container.prune"),
    "runtime.delete": ("container.stop", "container.remove"),
    "network.refit": ("network.connect", "network.disconnect"),
    "network.remove.unlinked": ("network.remove", "network.prune"),
    "volume.remove.emptied": ("volume.remove", "volume.prune"),
    "image.remove": ("image.remove", "image.prune"),
    "volume.populate.emptied": ("volume.refill",),
    "runtime.create": ("container.start", "container.restart"),
    "image.layer": ("image.load", "image.import"),
    "image.register": ("image.load",),
    "network.make": ("network.create",),
    "network.names": ("network.create",),
    "network.detach": ("container.stop", "container.remove"),
    "network.attach": ("network.attach", "container.start"),
    "volume.populate": ("container.create",),
}
"""The operations that reach points which are not named after one, by the points' beginning."""
ELSEWHERE = ("adoption.", "image.pull.", "log.", "repair.")
"""Points on other ways: the daemon's own start (test_start.py), pulls (test_pull.py), logs and drift (theirs)."""


def points() -> list[str]:
    """Every crash point in the source."""
    found: set[str] = set()
    for room in ("apiserver", "controllers", "store"):
        for source in (ROOT / room).rglob("*.py"):
            found.update(POINT.findall(source.read_text()))
    return sorted(found)


def cases() -> list[tuple[str, str]]:
    """Pairs of a point and an operation that has to reach it."""
    pairs = []
    for point in points():
        if point.startswith(ELSEWHERE):
            continue
        routes = next((ops for start, ops in ROUTES.items() if point.startswith(start)), None)
        if routes is None:
            routes = tuple(name for name in OPERATIONS if point.startswith(name + "."))
        pairs += [(point, operation) for operation in routes or ("",)]
    return pairs


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.environment["WHARFINGER_CRASH_AT"] = f"@{engine.directory}/armed"
    with engine.ready():
        yield engine


@pytest.fixture(autouse=True)
def order(engine: Engine) -> Iterator[None]:
    """Each case begins with a daemon that lives and holds nothing, whatever the one before it did."""
    yield
    if not engine.alive:
        engine.start()
    remove(engine)


def auditor(engine: Engine) -> Auditor:
    """An audit of the engine as it runs now."""
    return Auditor(engine.layout, engine.pid, lambda path: engine.request("GET", path).json())


@pytest.mark.parametrize(("point", "operation"), cases())
def test_a_death_at_any_point_loses_and_leaks_nothing(engine: Engine, point: str, operation: str) -> None:
    assert operation, f"no operation is known to reach {point}"
    what = OPERATIONS[operation]
    what.prepare(engine)
    assert auditor(engine).settled() == []
    die(engine, point, what)
    engine.start()
    assert auditor(engine).settled() == []
    what.act(engine)
    what.clean(engine)
    assert auditor(engine).settled() == []


def die(engine: Engine, point: str, what: Operation) -> None:
    """Do the operation with the point armed; the daemon has to die of it, though maybe only after its answer."""
    armed = engine.directory / "armed"
    armed.write_text(point)
    try:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            what.act(engine)
        engine.wait_ended(within=10)
    finally:
        armed.unlink()
