"""Thousands of generated requests for every delivered operation: each is refused, or is right after all.

``WHARFINGER_BAD_REQUESTS`` says how many (3,000 unless said otherwise; 100,000 by hand), ``WHARFINGER_BAD_SEED`` which,
``WHARFINGER_BAD_OPERATIONS`` for which operations alone (their ids, with commas between).
"""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky

from tests.integration.badinput import document, generate
from tests.integration.badinput.arena import Arena, Misbehaviour
from tests.integration.badinput.document import Document, Operation
from tests.integration.badinput.wire import Request
from tests.support.tools import CACHE

pytestmark = pytest.mark.host

REQUESTS = int(os.environ.get("WHARFINGER_BAD_REQUESTS", "3000"))
SEED = int(os.environ.get("WHARFINGER_BAD_SEED", "1"))
ONLY = {name for name in os.environ.get("WHARFINGER_BAD_OPERATIONS", "").split(",") if name}
# Hypothesis remembers all that it has tried, so a long run is made of short ones.
BATCH = 100


@pytest.mark.timeout(300 + REQUESTS)
def test_whatever_is_asked_is_refused_or_right(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    described = document.read(arena.stage.ask("GET", "/swagger.json").json())
    operations = [operation for operation in described.operations if not ONLY or operation.name in ONLY]
    assert operations
    found: dict[str, str] = {}
    rounds = max(1, REQUESTS // (len(operations) * BATCH))
    each = max(1, REQUESTS // (len(operations) * rounds))
    for number in range(rounds):
        for operation in operations:
            if operation.name in found:
                continue
            problem = _attack(arena, described, operation, each, SEED + number)
            if problem is not None:
                found[operation.name] = f"{operation.name}, WHARFINGER_BAD_SEED={SEED + number}: {problem}"
        if REQUESTS > 3000:
            # A long run can be looked at while it goes on.
            report = "\n\n".join([arena.table(), *found.values()])
            (CACHE / "bad-input.txt").write_text(f"after {arena.requests} requests\n{report}\n")
    if REQUESTS > 3000:
        with capsys.disabled():
            print(f"\n{arena.table()}")
    assert not found, "\n\n".join(found.values())


def _attack(arena: Arena, described: Document, operation: Operation, requests: int, number: int) -> Misbehaviour | None:
    """Send so many requests for an operation; what the smallest that went wrong led to."""
    found: list[Misbehaviour] = []

    @seed(number + zlib.crc32(operation.name.encode()))
    @settings(
        max_examples=requests,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(generate.request(described, operation))
    def challenge(request: Request) -> None:
        try:
            arena.challenge(operation, request)
        except Misbehaviour as problem:
            found.append(problem)
            raise

    try:
        challenge()
        arena.check_around()
    except Misbehaviour as problem:
        return problem
    except Flaky:
        # It happens only now and then: the first is as good as any.
        return found[0]
    return None
