"""The daemon dies while it takes stock at its start, and the next start makes all well."""

from __future__ import annotations

import time

import pytest

from tests.integration.crash.operations import remove, started
from tests.integration.crash.test_points import auditor, points
from tests.support.engine import Engine


@pytest.mark.parametrize("point", [point for point in points() if point.startswith("adoption.")])
def test_a_death_while_taking_stock_loses_and_leaks_nothing(private_engine: Engine, point: str) -> None:
    engine = private_engine
    started(engine)
    short = engine.run("-d", "busybox:latest", "sh", "-c", "sleep 0.5; exit 3")
    engine.kill9()
    (engine.layout.exits / ("f" * 64)).write_text("0")
    time.sleep(1)
    engine.launch(WHARFINGER_CRASH_AT=point)
    engine.wait_ended(within=20)
    engine.start()
    assert auditor(engine).settled() == []
    assert engine.inspect(short)["State"]["ExitCode"] == 3
    engine.docker("rm", short)
    remove(engine)
