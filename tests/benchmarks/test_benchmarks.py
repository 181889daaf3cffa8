"""The benchmarks run, and a small soak leaves nothing behind."""

from __future__ import annotations

from tests.benchmarks.scenarios import growth, restart, soak
from tests.support.engine import Engine


def test_growth_is_measured(private_engine: Engine) -> None:
    table = list(growth(private_engine, [3]))
    assert table[-1].split()[0] == "3"


def test_a_small_soak_leaves_nothing(private_engine: Engine) -> None:
    assert list(soak(private_engine, 10, 10))[-1] == "left over: nothing"


def test_a_daemon_that_was_killed_holds_what_it_held(private_engine: Engine) -> None:
    assert list(restart(private_engine, 3))[-1] == "left over: nothing"
