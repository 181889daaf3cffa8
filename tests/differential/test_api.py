"""Each operation of the API, done and refused, on our engine and on dockerd: answers and events compared."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.differential import (
    calls_containers,
    calls_drivers,
    calls_files,
    calls_images,
    calls_io,
    calls_life,
    calls_networks,
    calls_system,
    calls_versions,
    calls_volumes,
)
from tests.differential.answers import event_lines, lines
from tests.differential.calls import ROUTES, Run, play
from tests.differential.normalise import Normaliser
from tests.differential.operations import STATUSES
from tests.support.daemon import Daemon
from tests.support.engine import Engine
from tests.support.peer import Peer

ALL = [
    run
    for module in (
        calls_containers,
        calls_drivers,
        calls_life,
        calls_io,
        calls_files,
        calls_images,
        calls_networks,
        calls_volumes,
        calls_system,
        calls_versions,
    )
    for run in module.RUNS
]
TABLE = "table: operations compared with dockerd, their calls, the statuses met"


@pytest.mark.parametrize("run", ALL, ids=[run.name for run in ALL])
def test_a_run_is_answered_as_dockerd_answers(run: Run, engine: Engine, peer: Peer) -> None:
    with ThreadPoolExecutor(2) as pool:
        (ours, our_events), (theirs, their_events) = pool.map(lambda daemon: play(run, daemon), (engine, peer))
    our, their = _normaliser(engine), _normaliser(peer)
    wrong = []
    for mine, other in zip(ours, theirs, strict=True):
        call = mine.call
        if other.answer.status != call.status:
            wrong.append(f"dockerd: {call}: {other.answer.status}, not {call.status}")
        if call.earlier and mine.answer.status == call.earlier:
            assert mine.answer.json().keys() == {"message"}
            continue
        if call.ours and mine.answer.status == call.ours:
            mine = replace(mine, answer=replace(mine.answer, status=call.status))
        wrong += _difference(str(call), lines(mine, our), lines(other, their))
    wrong += _difference("events", event_lines(our_events, our), event_lines(their_events, their))
    assert not wrong, "\n" + "\n".join(wrong)


def _normaliser(daemon: Daemon) -> Normaliser:
    return Normaliser({str(daemon.directory): "<daemon>"})


def _difference(name: str, ours: list[str], theirs: list[str]) -> list[str]:
    return list(
        difflib.unified_diff(
            theirs, ours, f"dockerd: {name}", "wharfinger", lineterm="", n=1 if name == "events" else 0
        )
    )


def test_each_operation_has_a_call_for_each_of_its_statuses(record_property: Callable[[str, object], None]) -> None:
    called: dict[str, list[int]] = {}
    for run in ALL:
        for call in run.calls:
            called.setdefault(call.operation, []).append(call.status)
    missing = {name: want for name, statuses in STATUSES.items() if (want := set(statuses) - {*called.get(name, ())})}
    assert not missing
    assert STATUSES.keys() == {route.operation for route in ROUTES if route.delivered}
    assert len({run.name for run in ALL}) == len(ALL)
    for name, met in called.items():
        record_property(TABLE, f"{name or 'no operation':25} {len(met):4}  {' '.join(map(str, sorted(set(met))))}")


def test_another_status_of_ours_is_a_refusal_where_dockerd_blames_itself_or_goes_on() -> None:
    for call in (call for run in ALL for call in run.calls):
        assert not call.ours or (call.status == 500 and 400 <= call.ours < 500), call
        assert not call.earlier or (call.status in (200, 201, 500) and 400 <= call.earlier < 500), call
