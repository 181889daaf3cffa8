"""Restart policies."""

from __future__ import annotations

from typing import Any

import pytest

from controllers.containers.restart import FIRST_DELAY, LONGEST_DELAY, revives, settled_by_boot, verdict
from tests.unit.containers.samples import NOW, SECOND, container


@pytest.mark.parametrize(
    ("policy", "code", "restart"),
    [
        ("", 1, False),
        ("no", 1, False),
        ("always", 0, True),
        ("always", 1, True),
        ("unless-stopped", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
    ],
)
def test_the_policy_decides(policy: str, code: int, restart: bool) -> None:
    assert verdict(container(policy=policy, wanted="running"), code, SECOND).restart is restart


def test_on_failure_gives_up_after_its_retries() -> None:
    counts = [
        verdict(container(policy="on-failure", retries=2, wanted="running", status={"restart_count": n}), 1, 0)
        for n in range(4)
    ]
    assert [each.restart for each in counts] == [True, True, False, False]


@pytest.mark.parametrize("spec", [{"wanted": "stopped"}, {"wanted": "running", "manually_stopped": True}])
def test_what_was_stopped_by_hand_stays_so(spec: dict[str, Any]) -> None:
    assert not verdict(container(policy="always", **spec), 1, 0).restart


def test_the_delay_doubles_up_to_a_minute() -> None:
    delay, delays = 0.0, []
    for _ in range(12):
        delay = verdict(container(policy="always", wanted="running", status={"restart_delay": delay}), 1, SECOND).delay
        delays.append(delay)
    assert delays[:4] == [FIRST_DELAY, 0.2, 0.4, 0.8]
    assert delays[-1] == LONGEST_DELAY


def test_a_run_of_ten_seconds_begins_anew() -> None:
    sample = container(policy="always", wanted="running", status={"restart_delay": 30.0})
    assert verdict(sample, 1, 10 * SECOND).delay == FIRST_DELAY


EXITED = {"phase": "exited", "started_at": 1, "exit_code": 0}


@pytest.mark.parametrize(
    ("sample", "revived"),
    [
        (container(policy="always", wanted="stopped", manually_stopped=True, status=EXITED), True),
        (container(policy="unless-stopped", wanted="stopped", manually_stopped=True, status=EXITED), False),
        (container(policy="unless-stopped", wanted="running", status=EXITED), True),
        (container(policy="on-failure", status=EXITED), False),
        (container(policy="on-failure", status=EXITED | {"exit_code": 3}), True),
        (container(policy="always", status={"phase": "created"}), False),
        (container(policy="always", status=EXITED, deleted=True), False),
        (container(policy="no", status=EXITED), False),
    ],
)
def test_the_daemons_start_revives_as_dockerds_does(sample: Any, revived: bool) -> None:
    assert revives(sample) is revived


RAN = {"phase": "exited", "starts": 1, "started_at": NOW}


def test_a_start_that_was_under_way_is_the_policys_to_make_after_a_boot() -> None:
    asked = {policy: container(policy=policy, wanted="running", starts=2, status=RAN) for policy in ("no", "always")}
    settled = {policy: settled_by_boot(each, NOW) for policy, each in asked.items()}
    assert settled["no"].status.starts == 2
    assert not revives(settled["no"])
    assert revives(settled["always"])


def test_who_waited_for_a_restart_has_exited_after_a_boot() -> None:
    waiting = {**RAN, "phase": "restarting", "exit_code": 3, "next_restart_at": NOW, "restart_count": 4}
    settled = settled_by_boot(container(policy="on-failure", wanted="running", starts=1, status=waiting), NOW)
    assert (settled.status.phase, settled.status.exit_code, settled.status.next_restart_at) == ("exited", 3, 0)
    assert revives(settled)


@pytest.mark.parametrize("status", [RAN, {"phase": "created"}, {**RAN, "starts": 0}])
def test_who_was_to_remove_itself_goes_after_a_boot(status: dict[str, Any]) -> None:
    settled = settled_by_boot(container(auto_remove=True, wanted="running", starts=1, status=status), NOW)
    assert settled.meta.deletion_requested_at == NOW
    assert settled.spec.remove_volumes


@pytest.mark.parametrize("phase", ["created", "exited"])
def test_who_was_at_rest_stays_as_it_is_after_a_boot(phase: str) -> None:
    resting = container(policy="always", wanted="stopped", starts=1, status={**RAN, "phase": phase})
    assert settled_by_boot(resting, NOW) is resting
