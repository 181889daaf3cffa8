"""The work queue's promises, whatever the order of events."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.workqueue import QueueShutDownError, WorkQueue
from tests.unit.controllers.framework.clock import run

KEYS = st.sampled_from(["a", "b", "c", "d"])
SECONDS = st.sampled_from([0.0, 0.001, 0.5, 3.0, 40.0])
WISHES = st.lists(st.tuples(SECONDS, st.sampled_from(["add", "after", "limited"]), KEYS, SECONDS), max_size=40)
WORK = st.lists(st.tuples(SECONDS, st.booleans()), max_size=60)


class Crew:
    """Workers that check what they are given; their work takes what ``work`` says, and fails when it says so."""

    def __init__(self, queue: WorkQueue, work: list[tuple[float, bool]]) -> None:
        self.queue = queue
        self.work = list(reversed(work))
        self.running: set[str] = set()
        self.begun: dict[str, list[float]] = {}

    async def labour(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                key = await self.queue.get()
            except QueueShutDownError:
                return
            assert key not in self.running, "one key twice at once"
            self.running.add(key)
            self.begun.setdefault(key, []).append(loop.time())
            seconds, fails = self.work.pop() if self.work else (0.0, False)
            await asyncio.sleep(seconds)
            if fails:
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
            self.running.remove(key)
            self.queue.done(key)


@given(WISHES, WORK, st.integers(1, 4))
@settings(max_examples=300)
def test_no_key_runs_twice_at_once_and_no_wish_is_lost(
    wishes: list[tuple[float, str, str, float]], work: list[tuple[float, bool]], workers: int
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue = WorkQueue("test")
        crew = Crew(queue, work)
        tasks = [asyncio.create_task(crew.labour()) for _ in range(workers)]
        last_wish: dict[str, float] = {}
        for pause, wish, key, delay in wishes:
            await asyncio.sleep(pause)
            last_wish[key] = loop.time()
            match wish:
                case "add":
                    queue.add(key)
                case "after":
                    queue.add_after(key, delay)
                case _:
                    queue.add_rate_limited(key)
        await asyncio.sleep(100_000)
        assert len(queue) == 0
        assert crew.running == set()
        for key, when in last_wish.items():
            assert crew.begun[key][-1] >= when, "a wish was lost"
        queue.shut_down()
        await asyncio.gather(*tasks)

    run(main())


@given(st.lists(KEYS, max_size=30))
def test_a_key_waits_once_however_often_it_is_added(keys: list[str]) -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        for key in keys:
            queue.add(key)
        got = [await queue.get() for _ in range(len(queue))]
        assert got == list(dict.fromkeys(keys))

    run(main())


@given(st.lists(st.tuples(KEYS, st.sampled_from([0.001, 0.5, 3.0, 40.0])), min_size=1, max_size=20))
def test_of_several_delays_the_shortest_holds_and_each_key_comes_once(delays: list[tuple[str, float]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue = WorkQueue("test")
        for key, seconds in delays:
            queue.add_after(key, seconds)
        expected = {key: min(seconds for other, seconds in delays if other == key) for key, _ in delays}
        while expected:
            key = await queue.get()
            assert loop.time() == pytest.approx(expected.pop(key), abs=1e-3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 1000)

    run(main())


@given(st.integers(1, 200), st.floats(0.75, 1.25))
def test_the_back_off_doubles_up_to_its_limit_and_begins_anew_once_forgotten(failures: int, jitter: float) -> None:
    async def main() -> None:
        queue = WorkQueue("test", first_retry=0.01, longest_retry=60, jitter=lambda: jitter)
        delays = [queue.add_rate_limited("a") for _ in range(failures)]
        assert delays == [pytest.approx(min(0.01 * 2**number, 60) * jitter) for number in range(failures)]
        assert queue.failures("a") == failures
        queue.forget("a")
        assert queue.failures("a") == 0
        assert queue.add_rate_limited("a") == pytest.approx(0.01 * jitter)
        assert queue.add_rate_limited("b") == pytest.approx(0.01 * jitter)

    run(main())


def test_the_jitter_is_different_each_time() -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        assert len({queue.add_rate_limited(str(number)) for number in range(20)}) > 10

    run(main())


@given(st.lists(st.booleans(), max_size=8))
def test_a_cancelled_worker_takes_no_key_with_it(cancelled: list[bool]) -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        got: Counter[str] = Counter()

        async def take() -> None:
            got[await queue.get()] += 1

        tasks = [asyncio.create_task(take()) for _ in cancelled]
        await asyncio.sleep(0)
        # As many keys as workers stay: each must find one, though keys may have woken others that were then cancelled.
        for number in range(cancelled.count(False)):
            queue.add(str(number))
        for task, cancel in zip(tasks, cancelled, strict=True):
            if cancel:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert got == {str(number): 1 for number in range(cancelled.count(False))}

    run(main())


def test_a_key_added_during_its_work_comes_back_when_the_work_is_done() -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    run(main())


def test_shutting_down_wakes_all_workers_and_hands_out_nothing_more() -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.add_after("late", 10)
        queue.shut_down()
        queue.add("a")
        queue.add_after("b", 1)
        queue.add_rate_limited("c")
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [QueueShutDownError] * 3
        await asyncio.sleep(1000)
        assert len(queue) == 0
        with pytest.raises(QueueShutDownError):
            await queue.get()

    run(main())


def test_work_in_progress_may_finish_after_shutting_down() -> None:
    async def main() -> None:
        queue = WorkQueue("test")
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.shut_down()
        queue.done(key)
        assert len(queue) == 0

    run(main())
