"""Unlinking many files where each may wait for the disk."""

from __future__ import annotations

import os
import queue
import threading
import time

SLOW = 50e-6
PATIENCE = 8
BATCH = 32
MOST = 256
THREADS = 4
HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Unlinker:
    """Unlinks files; when that turns out to be slow, it lets go of them in threads.

    The names go at once in any case. But the unlink that is a file's last also frees its blocks, and may wait for the
    disk to do so (ext4 with ``discard`` and without a journal). So the files are held by descriptors meanwhile, and
    several threads close these, which then is what waits.
    """

    def __init__(self) -> None:
        self._slow = 0
        self._batch: list[int] = []
        self._work: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(MOST // BATCH)
        self._threads: list[threading.Thread] = []

    def unlink(self, path: bytes | str, *, at: int | None = None) -> None:
        """unlink(2), relative to the directory ``at`` if there is one. Raises what it raises."""
        if self._slow < PATIENCE:
            began = time.perf_counter()
            os.unlink(path, dir_fd=at)
            self._slow += time.perf_counter() - began > SLOW
            return
        held = os.open(path, HOLD, dir_fd=at)
        try:
            os.unlink(path, dir_fd=at)
        finally:
            self._batch.append(held)
        if len(self._batch) == BATCH:
            self._hand_over()

    def finish(self) -> None:
        """Wait until all files are gone."""
        if self._batch:
            self._hand_over()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _hand_over(self) -> None:
        if len(self._threads) < THREADS:
            thread = threading.Thread(target=self._run, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._room.acquire()
        self._work.put(self._batch)
        self._batch = []

    def _run(self) -> None:
        while (batch := self._work.get()) is not None:
            for descriptor in batch:
                os.close(descriptor)
            self._room.release()
