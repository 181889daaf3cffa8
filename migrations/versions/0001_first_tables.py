"""The first tables: containers, networks, volumes, images, layers, leases, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
WITH_STATUS = ("containers", "networks", "volumes", "images")


def upgrade() -> None:
    for table in WITH_STATUS:
        _kind(table, sa.Column("spec", sa.Text(), nullable=False), sa.Column("status", sa.Text(), nullable=False))
    _kind("image_references", _text("image"))
    op.create_index("ix_image_references_image", "image_references", ["image"])
    _kind(
        "layers",
        _text("diff_id"),
        _text("parent"),
        _text("directory"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("tar_size", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_layers_parent", "layers", ["parent"])
    _kind(
        "address_leases",
        _text("network"),
        _text("address"),
        _text("owner"),
        sa.UniqueConstraint("network", "address", name="uq_address_leases_network_address"),
    )
    op.create_index("ix_address_leases_owner", "address_leases", ["owner"])
    _kind(
        "port_leases",
        _text("protocol"),
        _text("address"),
        sa.Column("port", sa.Integer(), nullable=False),
        _text("owner"),
        sa.UniqueConstraint("protocol", "address", "port", name="uq_port_leases_protocol_address_port"),
    )
    op.create_index("ix_port_leases_owner", "port_leases", ["owner"])
    op.create_table(
        "events",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": "revision", "value": 0}])


def downgrade() -> None:
    for table in ("counters", "events", "port_leases", "address_leases", "layers", "image_references", *WITH_STATUS):
        op.drop_table(table)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, NAME, nullable=False)


def _kind(table: str, *columns: sa.Column[str] | sa.Column[int] | sa.UniqueConstraint) -> None:
    op.create_table(
        table,
        _text("uid"),
        _text("name"),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("resource_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deletion_requested_at", sa.BigInteger()),
        sa.Column("finalizers", sa.Text(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("uid", name=f"pk_{table}"),
        sa.UniqueConstraint("name", name=f"uq_{table}_name"),
    )
