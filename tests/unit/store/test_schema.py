"""Migrations: from nothing, back to nothing, and what comes out is what the code expects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from store import migrate
from store.database import DatabaseError, engine
from store.store import SchemaTooNewError, Store
from store.tables import METADATA

PROJECT = Path(__file__).resolve().parents[3]


def tables(url: str) -> set[str]:
    found = engine(url)
    names = set(inspect(found).get_table_names())
    found.dispose()
    return names - {"alembic_version"}


def test_an_empty_database_has_no_revision(url: str) -> None:
    assert migrate.current(url) is None


def test_the_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.HEAD
    found = engine(url)
    with found.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []
    found.dispose()
    assert tables(url) == set(METADATA.tables)


def test_each_migration_can_be_taken_back(url: str) -> None:
    migrate.upgrade(url)
    migrate.downgrade(url, "base")
    assert tables(url) == set()
    assert migrate.current(url) is None
    migrate.upgrade(url)
    assert tables(url) == set(METADATA.tables)


def test_upgrading_what_is_up_to_date_changes_nothing(url: str) -> None:
    migrate.upgrade(url)
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.HEAD


async def test_a_schema_from_the_future_is_refused_and_left_alone(url: str) -> None:
    migrate.upgrade(url)
    found = engine(url)
    with found.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    found.dispose()
    with pytest.raises(SchemaTooNewError, match="the database has schema 9999, newer than"):
        await Store.open(url)
    with pytest.raises(SchemaTooNewError):
        migrate.downgrade(url, "base")
    assert migrate.current(url) == "9999"


def test_a_migration_that_fails_leaves_the_schema_as_it_was(url: str) -> None:
    found = engine(url)
    with found.begin() as connection:
        # The last table that the first migration makes is there already.
        connection.execute(text("CREATE TABLE counters (name TEXT)"))
    found.dispose()
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(url)
    assert tables(url) == {"counters"}


def test_the_newest_script_is_the_head_of_the_code() -> None:
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_opening_an_up_to_date_database_does_not_load_alembic(url: str) -> None:
    migrate.upgrade(url)
    program = f"import sys; from store import migrate; migrate.upgrade({url!r}); sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sqlite://", "must name a file"),
        ("mysql://x/y", "unsupported database 'mysql'"),
        ("nonsense", "invalid database URL"),
        ("sqlite:////proc/nowhere/x.db", "cannot use the database"),
        ("postgresql://user:secret@/none?host=/nowhere", r"cannot use the database .*user:\*\*\*@"),
    ],
)
async def test_a_database_that_cannot_be_used_is_refused_with_the_reason(wrong: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message):
        await Store.open(wrong)


async def test_nobody_else_may_read_the_database(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/store.db")
    assert modes(tmp_path) == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 0o600)
    await store.close()


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
