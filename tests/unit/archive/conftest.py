"""Fixtures: an archiver, and tars made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from controllers.archive.helper import Archiver


@pytest_asyncio.fixture
async def archiver() -> AsyncIterator[Archiver]:
    """A started archiver."""
    archiver = Archiver()
    await archiver.start()
    yield archiver
    await archiver.close()
