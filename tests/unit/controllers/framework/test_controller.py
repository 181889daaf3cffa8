"""A controller: what it does with each way that a reconcile can end."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from controllers.controller import Controller, Result, TerminalError
from controllers.metrics import REGISTRY
from store.errors import UnavailableError
from tests.unit.controllers.framework.clock import run


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


class Script:
    """A reconcile that does what it is told, one thing a call, and notes when it was called."""

    def __init__(self, *steps: Result | Exception | float | None) -> None:
        self.steps = list(steps)
        self.calls: list[tuple[str, float]] = []

    async def __call__(self, key: str) -> Result | None:
        self.calls.append((key, asyncio.get_running_loop().time()))
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
            return None
        return step


async def ran(script: Script, name: str = "test", seconds: float = 1000, **options: float) -> list[float]:
    """When the script was called for its one key, in ``seconds`` of virtual time."""
    controller = Controller(name, script, keys=lambda: ["a"], **options)  # type: ignore[arg-type]
    controller.start()
    await asyncio.sleep(seconds)
    await controller.stop(0)
    return [when for _, when in script.calls]


def test_all_keys_are_reconciled_at_the_start() -> None:
    async def main() -> None:
        script = Script()
        controller = Controller("test", script, keys=lambda: ["a", "b"])
        controller.start()
        await asyncio.sleep(1)
        assert [key for key, _ in script.calls] == ["a", "b"]
        await controller.stop(0)

    run(main())


def test_a_good_end_is_the_end() -> None:
    assert len(run(ran(Script(None)))) == 1


def test_a_result_with_a_time_looks_again_then() -> None:
    first, second = run(ran(Script(Result(after=30))))
    assert second - first == pytest.approx(30, abs=0.01)


def test_an_error_is_tried_again_after_a_growing_while_until_it_works() -> None:
    before = counted("controller_runtime_reconcile_errors_total", controller="errors")
    times = run(ran(Script(*[OSError("no space left on device")] * 5), name="errors"))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 5
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert counted("controller_runtime_reconcile_errors_total", controller="errors") == before + 5


def test_success_makes_the_back_off_begin_anew() -> None:
    failure = OSError("again")
    times = run(ran(Script(*[failure] * 6, Result(after=100), failure)))
    assert times[-1] - times[-2] == pytest.approx(0.01, rel=0.3)


def test_a_terminal_error_is_not_tried_again() -> None:
    assert len(run(ran(Script(TerminalError("never"))))) == 1


def test_a_key_with_a_terminal_error_is_looked_at_when_it_changes() -> None:
    async def main() -> None:
        script = Script(TerminalError("not like this"))
        controller = Controller("test", script, keys=lambda: ["a"])
        controller.start()
        await asyncio.sleep(1)
        controller.enqueue("a")
        await asyncio.sleep(1)
        assert len(script.calls) == 2
        await controller.stop(0)

    run(main())


def test_a_reconcile_that_hangs_is_cancelled_and_tried_again() -> None:
    first, second = run(ran(Script(1e6), timeout=120))
    assert second - first == pytest.approx(120, abs=0.1)


def test_one_key_does_not_hold_up_the_others() -> None:
    async def main() -> None:
        script = Script(500.0)
        controller = Controller("test", script, workers=2, keys=lambda: ["slow", "a", "b"], timeout=1000)
        controller.start()
        await asyncio.sleep(1)
        assert [key for key, _ in script.calls] == ["slow", "a", "b"]
        await controller.stop(0)

    run(main())


def test_no_more_reconciles_run_at_once_than_there_are_workers() -> None:
    async def main() -> None:
        script = Script(*[10.0] * 6)
        controller = Controller("busy", script, workers=3, keys=lambda: list("abcdef"))
        controller.start()
        await asyncio.sleep(1)
        assert len(script.calls) == 3
        assert counted("controller_runtime_active_workers", controller="busy") == 3
        assert counted("workqueue_depth", name="busy") == 3
        await asyncio.sleep(100)
        assert len(script.calls) == 6
        assert counted("controller_runtime_active_workers", controller="busy") == 0
        await controller.stop(0)

    run(main())


def test_stopping_lets_work_finish_within_the_grace() -> None:
    async def main() -> None:
        finished: list[str] = []

        async def reconcile(key: str) -> None:
            await asyncio.sleep(5)
            finished.append(key)

        controller = Controller("test", reconcile, workers=1, keys=lambda: ["a", "b"])
        controller.start()
        await asyncio.sleep(1)
        await controller.stop(grace=10)
        assert finished == ["a"]

    run(main())


def test_stopping_cancels_work_after_the_grace() -> None:
    async def main() -> None:
        cancelled: list[str] = []

        async def reconcile(key: str) -> None:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                cancelled.append(key)
                raise

        controller = Controller("test", reconcile, keys=lambda: ["a"], timeout=1e7)
        controller.start()
        await asyncio.sleep(1)
        await controller.stop(grace=10)
        assert cancelled == ["a"]
        assert asyncio.get_running_loop().time() == pytest.approx(11, abs=0.1)

    run(main())


def test_results_are_counted_by_their_kind() -> None:
    run(ran(Script(OSError("x"), Result(after=1), TerminalError("y")), name="counted"))
    results = {
        result: counted("controller_runtime_reconcile_total", controller="counted", result=result)
        for result in ("success", "requeue_after", "error")
    }
    assert results == {"success": 0, "requeue_after": 1, "error": 2}
    assert counted("controller_runtime_terminal_reconcile_errors_total", controller="counted") == 1
    assert counted("workqueue_retries_total", name="counted") == 1
    assert counted("controller_runtime_reconcile_time_seconds_count", controller="counted") == 3


def test_a_host_failure_is_one_line_and_a_bug_has_its_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(ran(Script(UnavailableError("no runtime"), None)))
        run(ran(Script(KeyError("bug"), KeyError("bug"))))
    traced = [
        (record.getMessage().split(": ")[-1], record.exc_info is not None and bool(record.exc_info))
        for record in caplog.records
    ]
    assert traced == [("no runtime", False), ("'bug'", True), ("'bug'", False)]
