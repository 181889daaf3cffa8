"""The benchmarks run, and a small soak leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.scenarios import growth, restart, soak
from tests.support.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start()
        engine.load_sample_image()
        yield engine
    finally:
        engine.close()


def test_growth_is_measured(engine: Engine) -> None:
    table = list(growth(engine, [3]))
    assert table[-1].split()[0] == "3"


def test_a_small_soak_leaves_nothing(engine: Engine) -> None:
    assert list(soak(engine, 10, 10))[-1] == "left over: nothing"


def test_a_daemon_that_was_killed_holds_what_it_held(engine: Engine) -> None:
    assert list(restart(engine, 3))[-1] == "left over: nothing"
