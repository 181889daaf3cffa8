"""An engine for all bad requests, apart from the one that other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.badinput.arena import Arena
from tests.support.engine import Engine


@pytest.fixture(scope="module")
def target() -> Iterator[Engine]:
    """An engine with ``busybox:latest`` that may be maltreated."""
    engine = Engine()
    # So long a body that does not come is waited for, and an attached client that does not read.
    engine.flags = ("--read-timeout=3s", "--write-timeout=3s")
    with engine.ready():
        yield engine


@pytest.fixture(scope="module")
def arena(target: Engine) -> Arena:
    """The engine with its stage set."""
    return Arena(target)
