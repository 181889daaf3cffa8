"""Fixtures and short words for tests of containers' life; ``daemon`` is our engine, then the real dockerd."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon


@pytest.fixture(params=["engine", "peer"])
def daemon(request: pytest.FixtureRequest) -> Daemon:
    """Our engine, then dockerd: what is expected holds for both."""
    found: Daemon = request.getfixturevalue(request.param)
    return found
