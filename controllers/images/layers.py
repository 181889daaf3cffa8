"""Layers on disk: each once, under a directory named by its chain id, beside what gives its tar back byte for byte.

A layer is unpacked under a temporary name, renamed when its digest is right, and becomes known with the image that it
belongs to, in one commit, before which it has reached the disk. What has no row when the daemon starts is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from controllers.archive.helper import Archiver, Unpacked
from controllers.archive.kernel import sync_file_system
from controllers.layout import Layout
from controllers.placement import spread
from store.crashpoints import crashpoint
from store.errors import EngineError, InvalidParameterError
from store.objects import Layer, Meta
from store.store import Store

NEW = ".new-"
RECORD = "record"


def chain_id(parent: str, diff_id: str) -> str:
    """A layer's identity with all that is below it (OCI image-spec, config.md: ChainID)."""
    if not parent:
        return diff_id
    return "sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest()


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """The chain ids of an image's layers, from the lowest up."""
    found: list[str] = []
    for diff_id in diff_ids:
        found.append(chain_id(found[-1] if found else "", diff_id))
    return tuple(found)


def directory_name(chain: str) -> str:
    """A layer's directory: short, since all of an image's have to fit into one mount call."""
    return chain.removeprefix("sha256:")[:32]


class LayerStore:
    """Unpacks, finds, gives back and removes layers."""

    def __init__(self, layout: Layout, store: Store, archiver: Archiver) -> None:
        self._layout = layout
        self._store = store
        self._archiver = archiver
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._pins: Counter[str] = Counter()

    @contextmanager
    def pinned(self, chains: Iterable[str]) -> Iterator[None]:
        """Nobody removes these layers meanwhile, though no image refers to them yet."""
        held = list(chains)
        self._pins.update(held)
        try:
            yield
        finally:
            self._pins.subtract(held)
            self._pins += Counter()

    def is_pinned(self, chain: str) -> bool:
        """Whether somebody is about to use the layer."""
        return self._pins[chain] > 0

    def path(self, layer: Layer) -> Path:
        """The layer's files."""
        return self._layout.layers / layer.directory / "diff"

    def find(self, chain: str) -> Layer | None:
        """A layer that is known."""
        return self._store.layers.get(chain)

    @asynccontextmanager
    async def added(self, chunks: AsyncIterator[bytes], parent: str = "") -> AsyncIterator[Layer]:
        """``add`` for a tar whose digest is not known before; the layer is pinned while the context lasts."""
        layer = await self._unpack(chunks, parent, "", pin=True)
        try:
            yield layer
        finally:
            self._pins.subtract([layer.uid])
            self._pins += Counter()
            await asyncio.shield(self.remove([layer]))

    async def add(self, chunks: AsyncIterator[bytes], parent: str, expected: str) -> Layer:
        """Unpack an uncompressed tar as the layer over ``parent``; the row to insert with its image.

        The tar's digest has to be ``expected``. The caller has pinned the layer. Raises InvalidParameterError for a
        broken tar or another digest, EngineError when the host refuses.
        """
        return await self._unpack(chunks, parent, expected, pin=False)

    async def _unpack(self, chunks: AsyncIterator[bytes], parent: str, expected: str, *, pin: bool) -> Layer:
        temporary = self._layout.layers / f"{NEW}{secrets.token_hex(8)}"
        files = temporary / "diff"
        await asyncio.to_thread(os.makedirs, files, 0o755)
        try:
            unpacked = await self._archiver.unpack_from(
                files, chunks, whiteouts="overlay", record=temporary / RECORD, own_destination=True
            )
            if expected and unpacked.diff_id != expected:
                raise InvalidParameterError(f"layers from manifest don't match image configuration: {expected}")
            crashpoint("image.layer.unpacked")
            # As dockerd counts: what lies on disk, links included, without what was replaced on the way.
            size = await self._archiver.usage(files)
            return await self._settle(temporary, parent, replace(unpacked, size_bytes=size), pin=pin)
        finally:
            await asyncio.shield(self._archiver.remove(temporary))

    async def _settle(self, temporary: Path, parent: str, unpacked: Unpacked, *, pin: bool) -> Layer:
        chain = chain_id(parent, unpacked.diff_id)
        layer = Layer(
            meta=Meta(uid=chain, name=chain),
            diff_id=unpacked.diff_id,
            parent=parent,
            directory=directory_name(chain),
            size=unpacked.size_bytes,
            tar_size=unpacked.stream_bytes,
        )
        place = self._layout.layers / layer.directory
        async with self._lock(chain):
            if pin:
                self._pins.update([chain])
            if (known := self.find(chain)) is not None:
                return known
            if not place.exists():
                await asyncio.to_thread(os.rename, temporary, place)
        crashpoint("image.layer.renamed")
        return layer

    async def persist(self, layers: Iterable[Layer]) -> None:
        """Have layers that are about to get a row be on the disk, as the row will say. EngineError when they cannot be.

        One sync of the file system costs less than one of each file, and reaches names and digests' records as well.
        """
        if all(self.find(layer.uid) is not None for layer in layers):
            return
        try:
            await asyncio.to_thread(sync_file_system, self._layout.layers)
        except OSError as error:
            raise EngineError(f"layers could not be written to disk: {error.strerror}") from None
        crashpoint("image.layer.persisted")

    async def tar(self, layer: Layer, sink: int) -> None:
        """Write the layer's tar, as it came, to a descriptor. EngineError when the files were damaged since."""
        record = self._layout.layers / layer.directory / RECORD
        digest = await self._archiver.assemble(self.path(layer), record, sink)
        if digest != layer.diff_id:
            raise EngineError(f"layer {layer.uid} is damaged: its tar has digest {digest}, not {layer.diff_id}")

    async def remove(self, layers: Iterable[Layer]) -> None:
        """Remove the files of layers that have no row any more. Idempotent."""
        for layer in layers:
            async with self._lock(layer.uid):
                if self.find(layer.uid) is None and not self.is_pinned(layer.uid):
                    await self._remove(self._layout.layers / layer.directory)

    async def _remove(self, directory: Path) -> None:
        """Out of the way first, so that nobody ever takes half a layer for a whole one."""
        doomed = directory.with_name(f"{NEW}{secrets.token_hex(8)}")
        try:
            await asyncio.to_thread(os.rename, directory, doomed)
        except FileNotFoundError:
            return
        crashpoint("image.remove.doomed")
        await self._archiver.remove(doomed)

    def _lock(self, chain: str) -> asyncio.Lock:
        lock = self._locks.get(chain)
        if lock is None:
            lock = self._locks[chain] = asyncio.Lock()
        return lock

    async def collect(self) -> None:
        """Remove what a crash left: unfinished layers and those that no row knows. For the daemon's start."""
        self._layout.layers.mkdir(parents=True, exist_ok=True, mode=0o711)
        spread(self._layout.layers)
        known = {layer.directory for layer in self._store.layers}
        for name in os.listdir(self._layout.layers):
            if name not in known:
                with contextlib.suppress(EngineError):
                    await self._archiver.remove(self._layout.layers / name)
