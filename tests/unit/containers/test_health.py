"""What probes make of a container's health."""

from __future__ import annotations

import pytest

from controllers.containers.health import RESULTS_KEPT, command, judged
from store.objects.containers import ContainerConfig, Health, HealthConfig, HealthResult
from tests.unit.containers.samples import SECOND


def result(code: int) -> HealthResult:
    return HealthResult(start="", end="", exit_code=code, output="")


def after(codes: list[int], check: HealthConfig, *, since_start: int = 60 * SECOND) -> Health:
    health = Health()
    for code in codes:
        health = judged(health, result(code), check, since_start=since_start)
    return health


@pytest.mark.parametrize(
    ("codes", "status", "streak"),
    [
        ([], "starting", 0),
        ([0], "healthy", 0),
        ([1, 1], "starting", 2),
        ([1, 1, 1], "unhealthy", 3),
        ([0, 1, 1], "healthy", 2),
        ([1, 1, 1, 0], "healthy", 0),
    ],
)
def test_three_failures_in_a_row_make_it_unhealthy(codes: list[int], status: str, streak: int) -> None:
    health = after(codes, HealthConfig())
    assert (health.status, health.failing_streak) == (status, streak)


def test_failures_in_the_start_period_do_not_count() -> None:
    check = HealthConfig(start_period=30 * SECOND, retries=1)
    assert after([1, 1], check, since_start=SECOND).failing_streak == 0
    assert after([1], check, since_start=31 * SECOND).status == "unhealthy"


def test_the_last_results_are_kept() -> None:
    assert len(after([0] * 9, HealthConfig()).log) == RESULTS_KEPT


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (None, ()),
        (["NONE"], ()),
        (["CMD", "a", "b c"], ("a", "b c")),
        (["CMD-SHELL", "a b"], ("/bin/sh", "-c", "a b")),
    ],
)
def test_a_check_is_a_command_or_a_line_for_the_shell(test: list[str] | None, words: tuple[str, ...]) -> None:
    assert command(ContainerConfig(healthcheck=HealthConfig(test=test))) == words


def test_the_images_own_shell_is_used() -> None:
    config = ContainerConfig(shell=["/bin/bash", "-lc"], healthcheck=HealthConfig(test=["CMD-SHELL", "x"]))
    assert command(config) == ("/bin/bash", "-lc", "x")
