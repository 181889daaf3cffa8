"""Fixtures: an image service over a real store and a real archiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from controllers.archive.helper import Archiver
from controllers.images.removal import Remover
from controllers.images.service import ImageService
from controllers.layout import Layout
from store.store import Store


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    store = await Store.open(f"sqlite:///{tmp_path}/test.db")
    yield store
    await store.close()


@pytest_asyncio.fixture
async def archiver() -> AsyncIterator[Archiver]:
    """A started archiver."""
    archiver = Archiver()
    await archiver.start()
    yield archiver
    await archiver.close()


@pytest_asyncio.fixture
async def images(tmp_path: Path, store: Store, archiver: Archiver) -> ImageService:
    """A started image service without images."""
    service = ImageService(Layout(tmp_path / "data", tmp_path / "run"), store, archiver)
    await service.start()
    return service


@pytest_asyncio.fixture
async def remover(store: Store, images: ImageService) -> AsyncIterator[Remover]:
    """A started remover."""
    remover = Remover(store, images)
    await remover.start()
    yield remover
    await remover.stop()
