"""Blobs on their way in: kept in files so that an interrupted download continues, and verified before use."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from controllers.images.registry.client import RegistryClient
from controllers.images.registry.failures import InterruptedDownloadError, UnreachableError
from controllers.images.registry.manifests import Descriptor
from controllers.layout import Layout
from store.crashpoints import crashpoint
from store.errors import EngineError

CHUNK = 1 << 20
ATTEMPTS = 5
DOWNLOADS_AT_ONCE = 3
KEPT_SECONDS = 7 * 24 * 3600.0

Announce = Callable[[str, int, int], None]


class _Partial:
    """A file that a blob is written to, with the digest of what it holds. All methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.file: BinaryIO = open(path, "a+b", buffering=0)  # noqa: SIM115 — as long as the download
        self._hash = hashlib.sha256()
        # A cancelled caller does not stop its thread, and must not close the file under it.
        self._busy = threading.Lock()
        self.file.seek(0)
        while chunk := self.file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        with self._busy:
            self.file.truncate(0)
            self._hash = hashlib.sha256()
            self.size = 0

    def write(self, data: bytes) -> None:
        """Add some bytes."""
        with self._busy:
            self._hash.update(data)
            view = memoryview(data)
            while view:
                view = view[self.file.write(view) :]
            self.size += len(data)

    def close(self) -> None:
        """Close the file when nobody writes any more."""
        with self._busy:
            self.file.close()

    @property
    def digest(self) -> str:
        """Of all bytes so far."""
        return "sha256:" + self._hash.hexdigest()


class Blobs:
    """Downloads blobs to files."""

    def __init__(self, layout: Layout, *, at_once: int = DOWNLOADS_AT_ONCE) -> None:
        self._directory = layout.downloads
        self._slots = asyncio.Semaphore(at_once)
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    async def start(self) -> None:
        """Remove downloads that nobody has continued for a week."""
        await asyncio.to_thread(self._forget_old, time.time() - KEPT_SECONDS)

    def _forget_old(self, limit: float) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in self._directory.iterdir():
            if file.stat().st_mtime < limit:
                file.unlink(missing_ok=True)

    @asynccontextmanager
    async def fetched(self, client: RegistryClient, blob: Descriptor, announce: Announce) -> AsyncIterator[Path]:
        """A file with the verified blob, for the time of the context. What a failure left of it is kept.

        ``announce`` hears dockerd's words for a layer's states with bytes done and to do. Raises EngineError.
        """
        lock = self._locks.setdefault(blob.digest, asyncio.Lock())
        self._users[blob.digest] = self._users.get(blob.digest, 0) + 1
        try:
            if self._slots.locked() or lock.locked():
                announce("Waiting", 0, 0)
            async with lock:
                async with self._slots:
                    path = await self._download(client, blob, announce)
                crashpoint("image.pull.downloaded")
                yield path
                await asyncio.to_thread(path.unlink, missing_ok=True)
        finally:
            self._users[blob.digest] -= 1
            if not self._users[blob.digest]:
                del self._users[blob.digest], self._locks[blob.digest]

    async def _download(self, client: RegistryClient, blob: Descriptor, announce: Announce) -> Path:
        path = self._directory / blob.digest.removeprefix("sha256:")
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True, mode=0o700)
        try:
            partial = await asyncio.to_thread(_Partial, path)
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror}") from None
        kept = partial.size > 0
        try:
            await self._complete(client, blob, partial, announce)
            if kept and (partial.digest != blob.digest or partial.size != blob.size):
                # What was there from before may have lost its content with the machine's power.
                await asyncio.to_thread(partial.restart)
                await self._complete(client, blob, partial, announce)
            announce("Verifying Checksum", 0, 0)
            if partial.digest != blob.digest or partial.size != blob.size:
                await asyncio.to_thread(path.unlink, missing_ok=True)
                raise EngineError(f"filesystem layer verification failed for digest {blob.digest}")
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror or error}") from None
        finally:
            partial.close()
        announce("Download complete", 0, 0)
        return path

    async def _complete(self, client: RegistryClient, blob: Descriptor, partial: _Partial, announce: Announce) -> None:
        failures = 0
        while partial.size < blob.size:
            before = partial.size
            try:
                await self._continue(client, blob, partial, announce)
                if partial.size >= blob.size:
                    return
                raise InterruptedDownloadError("unexpected EOF")
            except (InterruptedDownloadError, UnreachableError):
                # A connection that brought something on is worth as many tries again.
                failures = 1 if partial.size > before else failures + 1
                if failures >= ATTEMPTS:
                    raise
                for left in range(failures * 5 if failures > 1 else 1, 0, -1):
                    announce(f"Retrying in {left} second{'s' if left > 1 else ''}", 0, 0)
                    await asyncio.sleep(1)

    async def _continue(self, client: RegistryClient, blob: Descriptor, partial: _Partial, announce: Announce) -> None:
        async with client.blob(blob.digest, partial.size) as (start, chunks):
            if start != partial.size:
                await asyncio.to_thread(partial.restart)
            if start not in (0, partial.size):
                raise InterruptedDownloadError("the registry sent another range than was asked for")
            pending = bytearray()
            try:
                async for chunk in chunks:
                    pending += chunk
                    if partial.size + len(pending) > blob.size:
                        pending.clear()
                        await asyncio.to_thread(partial.restart)
                        raise EngineError(f"filesystem layer verification failed for digest {blob.digest}")
                    if len(pending) >= CHUNK:
                        data = bytes(pending)
                        pending.clear()
                        await asyncio.to_thread(partial.write, data)
                    announce("Downloading", partial.size + len(pending), blob.size)
            finally:
                # Also when the connection breaks or the client leaves: the next try goes on from here.
                await asyncio.to_thread(partial.write, bytes(pending))


async def read(path: Path, on_bytes: Callable[[int], None]) -> AsyncIterator[bytes]:
    """A file's content; ``on_bytes`` hears how many bytes were read so far."""
    done = 0
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while chunk := await asyncio.to_thread(os.read, descriptor, CHUNK):
            done += len(chunk)
            on_bytes(done)
            yield chunk
    finally:
        os.close(descriptor)
