"""The one thread that writes: changes that come together are committed together."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Engine, select

from store.crashpoints import crashpoint
from store.database import WriteConnection, driver_errors
from store.errors import EngineError
from store.feed import Change
from store.kinds import KINDS
from store.objects import Event
from store.objects.meta import Object
from store.statements import Statements
from store.tables import COUNTERS, REVISION
from store.transaction import NameTakenError, Transaction
from store.view import View

_log = logging.getLogger(__name__)
_LARGEST_GROUP = 256
_PRUNE_EVERY = 500
_WEEK_NS = 7 * 24 * 3600 * 10**9

Memory = dict[type[Object], View[Any]]


class CommitError(EngineError):
    """The database could not take the change (disk full, connection lost …); it did not happen."""


@dataclass(eq=False)
class Job:
    """A change that waits for its commit, and what became of it."""

    change: Callable[[Transaction], Any]
    durable: bool
    future: asyncio.Future[Any]
    transaction: Transaction | None = None
    result: Any = None
    error: BaseException | None = None


@dataclass
class Group:
    """What one commit did: to be shown to readers, then answered to those who asked."""

    jobs: list[Job]
    changes: list[Change[Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    revision: int = 0
    written: int = 0
    seconds: float = 0.0
    committed_at: float = 0.0
    failed: bool = False


class Writer:
    """Runs change functions against its own memory, writes what they did, and hands each group to ``publish``.

    ``publish`` is called in the writer's thread. The writer's memory is the authority: the hot path reads no SQL.
    """

    def __init__(self, engine: Engine, publish: Callable[[Group], None], *, event_limit: int) -> None:
        self._engine = engine
        self._publish = publish
        self._error, self._refused = driver_errors(engine)
        self._statements = Statements(engine)
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._memory: Memory = {}
        self._connection: WriteConnection | None = None
        self._event_limit = event_limit
        self._unpruned = 0
        self._stale = False
        self.revision = 0

    def load(self) -> Memory:
        """Reads everything and returns it; call it before ``start``. Objects come in order of creation."""
        self.revision, self._memory = load(self._engine)
        self._unpruned = _PRUNE_EVERY
        return self._memory

    def start(self) -> None:
        """Lets the thread run."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues a change."""
        self._queue.put(job)

    def stop(self) -> None:
        """Writes what is queued, then ends; blocks."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            jobs: list[Job] = []
            job = self._queue.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) == _LARGEST_GROUP:
                    break
                try:
                    job = self._queue.get_nowait()
                except Empty:
                    break
            running = job is not None
            if jobs:
                self._publish(self._commit(jobs))
                self._prune()
        if self._connection is not None:
            self._connection.close()

    def _commit(self, jobs: list[Job]) -> Group:
        group = Group(jobs)
        started = time.monotonic()
        revision = self.revision
        try:
            if self._stale:
                group.changes.extend(self._reload())
                revision = self.revision
            self._write(jobs, durable=any(job.durable for job in jobs))
        except Exception as error:
            _log.error("the store could not commit: %s", error)
            self._abandon(jobs, error)
            self.revision = revision
            group.failed = True
        group.revision = self.revision
        for job in jobs:
            if job.transaction is not None and job.error is None and not job.transaction.empty:
                group.changes.extend(job.transaction.changes)
                group.events.extend(job.transaction.events)
                group.written += 1
        group.committed_at = time.monotonic()
        group.seconds = group.committed_at - started
        return group

    def _write(self, jobs: list[Job], *, durable: bool) -> None:
        connection: WriteConnection | None = None
        for job in jobs:
            transaction = job.transaction = Transaction(self._memory, self.revision)
            try:
                job.result = job.change(transaction)
            except Exception as error:
                transaction.undo()
                job.error = error
                continue
            if transaction.empty:
                continue
            if connection is None:
                connection = self._connect()
                connection.begin(durable=durable)
            if self._written(connection, job, transaction, alone=len(jobs) == 1):
                self.revision = transaction.revision
            elif len(jobs) == 1:
                return
        if connection is not None:
            self._statements.write_revision(connection, self.revision)
            crashpoint("store.commit.before")
            # From here on a failure does not tell whether the commit happened; only the database knows.
            self._stale = True
            connection.execute("COMMIT")
            self._stale = False
            crashpoint("store.commit.after")

    def _written(self, connection: WriteConnection, job: Job, transaction: Transaction, *, alone: bool) -> bool:
        # Each statement hands the interpreter's lock to and fro, so the usual group of one does without a savepoint.
        if not alone:
            connection.execute("SAVEPOINT change")
        try:
            for change in transaction.changes:
                self._statements.write(connection, change)
            self._statements.write_events(connection, transaction.events)
        except self._refused as error:
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO SAVEPOINT change")
            first = next(iter(transaction.changes))
            job.error = NameTakenError(first.kind, (first.after or first.before).name, "")  # type: ignore[union-attr]
            job.error.__cause__ = error
            transaction.undo()
            return False
        if not alone:
            connection.execute("RELEASE SAVEPOINT change")
        self._unpruned += len(tuple(transaction.events))
        return True

    def _abandon(self, jobs: list[Job], error: Exception) -> None:
        for job in reversed(jobs):
            if job.transaction is not None and job.error is None:
                job.transaction.undo()
            if job.error is None:
                job.error = CommitError(f"the store could not commit: {str(error).strip() or type(error).__name__}")
        # A new connection next time: the old one may be lost, or in a transaction that it cannot end.
        if self._connection is not None:
            try:
                self._connection.close()
            except self._error:
                _log.warning("closing the database connection failed", exc_info=True)
            self._connection = None

    def _connect(self) -> WriteConnection:
        if self._connection is None:
            self._connection = WriteConnection(self._engine)
        return self._connection

    def _reload(self) -> Iterator[Change[Any]]:
        revision, memory = load(self._engine)
        changes = []
        for kind, view in memory.items():
            known = self._memory[kind]
            for obj in list(known):
                if obj.uid not in view:
                    known.remove(obj.uid)
                    changes.append(Change(kind, obj.uid, obj, None, revision))
            for obj in view:
                before = known.get(obj.uid)
                if obj != before:
                    known.put(obj)
                    changes.append(Change(kind, obj.uid, before, obj, obj.meta.resource_version))
        self.revision = max(revision, self.revision)
        self._stale = False
        return iter(sorted(changes, key=lambda change: change.revision))

    def _prune(self) -> None:
        if self._unpruned < _PRUNE_EVERY:
            return
        self._unpruned = 0
        try:
            connection = self._connect()
            connection.begin(durable=False)
            self._statements.prune(connection, keep=self._event_limit, oldest=time.time_ns() - _WEEK_NS)
            connection.execute("COMMIT")
        except Exception:
            _log.warning("old events could not be removed", exc_info=True)
            self._abandon([], Exception())


def load(engine: Engine) -> tuple[int, Memory]:
    """The revision and all objects in the database, in order of creation."""
    memory: Memory = {}
    with engine.connect() as connection:
        revision = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == REVISION)).scalar_one()
        for kind in KINDS.values():
            view = memory[kind.type] = View(kind)
            order = kind.table.c.created_at, kind.table.c.resource_version
            for row in connection.execute(select(kind.table).order_by(*order)).mappings():
                view.put(kind.object(dict(row)))
    return revision, memory
