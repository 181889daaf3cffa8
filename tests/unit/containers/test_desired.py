"""The decision table of the container loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from controllers.containers.desired import Decision, Seen, Step, desired
from store.objects.containers import StopRequest
from tests.unit.containers.samples import NOW, SECOND, container

RUNNING = {"phase": "running", "starts": 1}
ALIVE = Seen(alive=True, started=True)
STOP = StopRequest(signal=15, timeout=10)
KILL = StopRequest(signal=9, timeout=-1)
FOREVER = StopRequest(signal=15, timeout=-1)


@pytest.mark.parametrize(
    ("spec", "status", "seen", "step"),
    [
        # Nothing is asked for, or all is done.
        ({}, {}, Seen(), Step.NOTHING),
        ({"wanted": "running", "starts": 1}, RUNNING, ALIVE, Step.NOTHING),
        ({"wanted": "running", "starts": 1}, {"phase": "exited", "starts": 1}, Seen(), Step.NOTHING),
        ({"wanted": "stopped", "starts": 1}, {"phase": "exited", "starts": 1}, Seen(), Step.NOTHING),
        # A start, and what comes before it.
        ({"wanted": "running", "starts": 1}, {}, Seen(), Step.START),
        ({"wanted": "running", "starts": 2}, {"phase": "exited", "starts": 1}, Seen(), Step.START),
        ({"wanted": "running", "starts": 2}, {"phase": "exited", "starts": 1}, Seen(remains=True), Step.CLEAN),
        ({"wanted": "running", "starts": 1}, {}, Seen(alive=True, remains=True), Step.CLEAN),
        # A start that the daemon's death cut off from its record.
        ({"wanted": "running", "starts": 1}, {}, Seen(alive=True, started=True, remains=True), Step.ADOPT),
        ({"wanted": "running", "starts": 1}, {}, Seen(ended=True, started=True, remains=True), Step.ADOPT),
        # The end.
        ({"wanted": "running", "starts": 1}, RUNNING, Seen(started=True), Step.RECORD_EXIT),
        ({"wanted": "stopped", "starts": 1}, RUNNING, Seen(started=True), Step.RECORD_EXIT),
        ({"wanted": "running", "starts": 1}, {"phase": "exited", "starts": 1}, Seen(remains=True), Step.CLEAN),
        # A stop, and a restart, which is one first.
        ({"wanted": "stopped", "starts": 1, "stop": STOP}, RUNNING, ALIVE, Step.SIGNAL),
        ({"wanted": "running", "starts": 2, "stop": STOP}, RUNNING, ALIVE, Step.SIGNAL),
        ({"wanted": "stopped", "stop": STOP}, RUNNING | {"stopping_since": NOW - 20 * SECOND}, ALIVE, Step.KILL),
        ({"wanted": "stopped", "stop": FOREVER}, RUNNING | {"stopping_since": 1}, ALIVE, Step.WAIT),
        ({"wanted": "stopped", "stop": KILL}, RUNNING, ALIVE, Step.SIGNAL),
        ({"wanted": "stopped", "stop": KILL}, RUNNING | {"stopping_since": 1}, ALIVE, Step.KILL),
        # A pause.
        ({"wanted": "running", "starts": 1, "paused": True}, RUNNING, ALIVE, Step.PAUSE),
        ({"wanted": "running", "starts": 1}, RUNNING | {"phase": "paused"}, ALIVE, Step.RESUME),
        ({"wanted": "running", "starts": 1, "paused": True}, RUNNING | {"phase": "paused"}, ALIVE, Step.NOTHING),
        # The back-off of a policy.
        ({"wanted": "running"}, {"phase": "restarting", "next_restart_at": NOW + SECOND}, Seen(), Step.WAIT),
        ({"wanted": "running"}, {"phase": "restarting", "next_restart_at": NOW - 1}, Seen(), Step.START),
        ({"wanted": "stopped"}, {"phase": "restarting", "next_restart_at": NOW + SECOND}, Seen(), Step.SETTLE),
        # Somebody asked for a start while another was under way: one is enough.
        ({"wanted": "running", "starts": 2}, RUNNING, ALIVE, Step.SETTLE),
        # Only the generation is behind.
        ({}, {"observed_generation": 0}, Seen(), Step.SETTLE),
        ({"wanted": "running", "starts": 1}, RUNNING | {"observed_generation": 0}, ALIVE, Step.SETTLE),
    ],
)
def test_each_situation_has_its_step(spec: dict[str, Any], status: dict[str, Any], seen: Seen, step: Step) -> None:
    assert desired(container(status=status, **spec), seen, NOW).step is step


@pytest.mark.parametrize("phase", ["created", "running", "paused", "restarting", "exited"])
def test_removal_goes_before_everything(phase: str) -> None:
    assert desired(container(deleted=True, status={"phase": phase}), ALIVE, NOW) == Decision(Step.REMOVE)


def test_a_wait_says_for_how_long() -> None:
    stopping = container(wanted="stopped", stop=STOP, status=RUNNING | {"stopping_since": NOW - 4 * SECOND})
    assert desired(stopping, ALIVE, NOW) == Decision(Step.WAIT, 6.0)


@given(
    some.sampled_from(["created", "running", "paused", "restarting", "exited"]),
    some.sampled_from(["created", "running", "stopped"]),
    some.integers(0, 2),
    some.integers(0, 2),
    some.builds(Seen, alive=some.booleans(), started=some.booleans(), ended=some.booleans(), remains=some.booleans()),
)
def test_what_is_dead_is_never_signalled_and_what_lives_never_started(
    phase: str, wanted: str, asked: int, acted: int, seen: Seen
) -> None:
    step = desired(container(wanted=wanted, starts=asked, status={"phase": phase, "starts": acted}), seen, NOW).step
    if not seen.alive:
        assert step not in (Step.SIGNAL, Step.KILL, Step.PAUSE, Step.RESUME)
    if step is Step.START:
        assert not seen.remains
        assert wanted == "running"
