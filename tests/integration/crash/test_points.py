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

from tests.integration.crash.operations import OPERATIONS, Operation, ask
from tests.support.audit import Auditor
from tests.support.engine import Engine

ROOT = Path(__file__).resolve().parents[3]
POINT = re.compile(r'crashpoint\(\s*"([a-z0-9_.]+)"')
ROUTES: dict[str, tuple[str, ...]] = {
    "store.commit": tuple(OPERATIONS),
}
"""The operations that reach points which are not named after one, by the points' beginning."""


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
        routes = next((ops for start, ops in ROUTES.items() if point.startswith(start)), None)
        if routes is None:
            routes = tuple(name for name in OPERATIONS if point.startswith(name + "."))
        pairs += [(point, operation) for operation in routes or ("",)]
    return pairs


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start(WHARFINGER_CRASH_AT=f"@{engine.directory}/armed")
        engine.load_sample_image()
        yield engine
    finally:
        engine.close()


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
    engine.start(WHARFINGER_CRASH_AT=f"@{engine.directory}/armed")
    assert auditor(engine).settled() == []
    what.act(engine)
    what.clean(engine)
    assert auditor(engine).settled() == []
    left = {c["Names"][0] for c in engine.request("GET", "/containers/json?all=1").json()}
    for name in left:
        ask(engine, "DELETE", f"/containers/{name.removeprefix('/')}?force=1&v=1")


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
