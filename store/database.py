"""Connections, and what differs between SQLite and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.sql.base import Executable


class DatabaseError(Exception):
    """The database cannot be used; the message says which and why."""


def parsed(url: str) -> URL:
    """The URL with the driver that we use: sqlite3 or psycopg.

    Takes ``sqlite:///path`` and ``postgresql://…`` (also with a driver named); raises ``DatabaseError`` for others.
    """
    try:
        found = make_url(url)
    except Exception as error:
        raise DatabaseError(f"invalid database URL: {error}") from None
    match found.get_backend_name():
        case "sqlite" if found.database and found.database != ":memory:":
            return found.set(drivername="sqlite")
        case "sqlite":
            raise DatabaseError("the database URL must name a file: sqlite:////var/lib/wharfinger/wharfinger.db")
        case "postgresql" | "postgres":
            return found.set(drivername="postgresql+psycopg")
        case other:
            raise DatabaseError(f"unsupported database {other!r}: use sqlite:///PATH or postgresql://HOST/NAME")


def engine(url: str) -> Engine:
    """An engine for reads and migrations. Transactions are real ones on both databases, also for table definitions."""
    made = create_engine(parsed(url))
    if made.dialect.name == "sqlite":
        _create_private(made.url.database or "")
        event.listen(made, "connect", _prepare_sqlite)
        event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return made


def _create_private(path: str) -> None:
    # Containers' environments are in it. SQLite gives its other files the mode of the first.
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        # Whatever is wrong, connecting says it better.
        return


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling commits around table definitions; with None it keeps out of the way.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


class WriteConnection:
    """The writer's connection: compiled SQL straight to the driver, because every layer between costs commits/s.

    Belongs to the thread that made it. All methods raise ``error`` (the driver's base class) on failure;
    ``refused`` is the driver's class for a broken constraint.
    """

    def __init__(self, engine: Engine) -> None:
        self._pooled = engine.raw_connection()
        driver = self._pooled.driver_connection
        assert driver is not None
        self._driver: Any = driver
        self._sqlite = engine.dialect.name == "sqlite"
        self._synchronous = True
        if not self._sqlite:
            self._driver.autocommit = True
        self._cursor = self._driver.cursor()

    def begin(self, *, durable: bool) -> None:
        """Opens the write transaction; only a durable one reaches the disk before its commit returns."""
        if self._sqlite:
            if durable != self._synchronous:
                self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._synchronous = durable
            self.execute("BEGIN IMMEDIATE")
        else:
            self.execute("BEGIN")
            if not durable:
                self.execute("SET LOCAL synchronous_commit = off")

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Runs one statement."""
        if parameters is None:
            self._cursor.execute(sql)
        else:
            self._cursor.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs one statement for each row of parameters."""
        if rows:
            self._cursor.executemany(sql, rows)

    def close(self) -> None:
        """Closes the connection for good; an open transaction is rolled back."""
        self._pooled.invalidate()


def driver_errors(engine: Engine) -> tuple[type[Exception], type[Exception]]:
    """The driver's base error and its error for a broken constraint."""
    dbapi: Any = engine.dialect.loaded_dbapi
    return dbapi.Error, dbapi.IntegrityError


class Compiler:
    """Statements to SQL text with named parameters, each compiled once."""

    def __init__(self, engine: Engine) -> None:
        self._dialect: Dialect = engine.dialect
        if engine.dialect.name == "sqlite":
            self._dialect = sqlite.dialect(paramstyle="named")

    def text(self, statement: Executable, columns: Sequence[str] | None = None) -> str:
        """The SQL; ``columns`` are those that an insert or update sets."""
        return str(statement.compile(dialect=self._dialect, column_keys=columns))  # type: ignore[attr-defined]
