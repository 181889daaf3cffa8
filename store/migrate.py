"""Bringing a database's schema up to date, and telling how old it is.

alembic is imported only when there is something to do: it costs a third of a second at start-up.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from store.database import DatabaseError, engine

HEAD = "0001"
"""The newest revision in ``migrations/versions``; they are numbered, so a greater one is from the future."""

_SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


class SchemaTooNewError(DatabaseError):
    """The database was written by a newer version."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database has schema {found}, newer than the {HEAD} that this wharfinger knows: run a newer "
            f"version, or take the schema down to {HEAD} with the version that wrote it (wharfinger migrate)"
        )
        self.found = found


def current(url: str) -> str | None:
    """The revision of the database's schema, None for an empty database. Raises ``DatabaseError``."""
    found = engine(url)
    try:
        return _current(found)
    finally:
        found.dispose()


def upgrade(url: str, to: str = HEAD) -> None:
    """Brings the schema up to a revision, in one transaction.

    Raises ``SchemaTooNewError`` if it is beyond ``HEAD`` already, ``DatabaseError`` if the database cannot be used.
    """
    _run(url, to, down=False)


def downgrade(url: str, to: str) -> None:
    """Takes the schema down to a revision (``base`` for nothing at all), in one transaction; data that only newer
    revisions know is lost. Raises as ``upgrade`` does."""
    _run(url, to, down=True)


def _run(url: str, to: str, *, down: bool) -> None:
    target = engine(url)
    try:
        found = _current(target)
        if found is not None and found > HEAD:
            raise SchemaTooNewError(found)
        if found == to or (not down and found is not None and found > to):
            return
        _alembic(target, to, down=down)
    finally:
        target.dispose()


def _current(target: Engine) -> str | None:
    try:
        with target.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return revision
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise DatabaseError(f"cannot use the database {target.url.render_as_string()}: {reason}") from error


def _alembic(target: Engine, to: str, *, down: bool) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with target.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, to)
