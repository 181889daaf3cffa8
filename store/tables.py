"""The tables: one a kind, each with the same head.

What must be unique or is searched is a column with a constraint; the rest of ``spec`` and ``status`` is JSON text. All
of it runs on SQLite and on PostgreSQL. Changing anything here needs a migration beside it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# alembic autogenerate and the sort order of names must agree between the databases: names compare as bytes.
NAME = String().with_variant(String(collation="C"), "postgresql")


def _kind(name: str, *columns: Column[str] | Column[int] | UniqueConstraint | Index) -> Table:
    return Table(
        name,
        METADATA,
        Column("uid", NAME, primary_key=True),
        Column("name", NAME, nullable=False, unique=True),
        Column("labels", Text, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("resource_version", BigInteger, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("deletion_requested_at", BigInteger),
        Column("finalizers", Text, nullable=False),
        *columns,
    )


CONTAINERS = _kind("containers", Column("spec", Text, nullable=False), Column("status", Text, nullable=False))
NETWORKS = _kind("networks", Column("spec", Text, nullable=False), Column("status", Text, nullable=False))
VOLUMES = _kind("volumes", Column("spec", Text, nullable=False), Column("status", Text, nullable=False))
IMAGES = _kind("images", Column("spec", Text, nullable=False), Column("status", Text, nullable=False))
REFERENCES = _kind("image_references", Column("image", NAME, nullable=False, index=True))
LAYERS = _kind(
    "layers",
    Column("diff_id", NAME, nullable=False),
    Column("parent", NAME, nullable=False, index=True),
    Column("directory", NAME, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("tar_size", BigInteger, nullable=False),
)
ADDRESS_LEASES = _kind(
    "address_leases",
    Column("network", NAME, nullable=False),
    Column("address", NAME, nullable=False),
    Column("owner", NAME, nullable=False, index=True),
    UniqueConstraint("network", "address"),
)
PORT_LEASES = _kind(
    "port_leases",
    Column("protocol", NAME, nullable=False),
    Column("address", NAME, nullable=False),
    Column("port", Integer, nullable=False),
    Column("owner", NAME, nullable=False, index=True),
    UniqueConstraint("protocol", "address", "port"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("type", String, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("scope", String, nullable=False),
)

# The one growing number lives in one row: after a restart it must not fall back, even if the newest rows are gone.
COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
REVISION = "revision"
