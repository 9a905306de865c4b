"""Leases of sessions, the replicas that hold them, and which older code may work with the database.

Code of 0001 knows no leases and would write over another replica's work, so it may not run beside this.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_big = sa.BigInteger()


def upgrade() -> None:
    op.add_column("sessions", sa.Column("lease_holder", _text))
    op.add_column("sessions", sa.Column("lease_epoch", _big, nullable=False, server_default="0"))
    op.add_column("sessions", sa.Column("lease_released", _big, nullable=False, server_default="0"))
    held = sa.text("lease_holder IS NOT NULL")
    op.create_index(
        "ix_sessions_held", "sessions", ["lease_holder"], sqlite_where=held, postgresql_where=held
    )
    op.create_table(
        "replicas",
        sa.Column("id", _text, primary_key=True),
        sa.Column("name", _text, nullable=False),
        sa.Column("version", _text, nullable=False),
        sa.Column("started_at", _big, nullable=False),
        sa.Column("expires_at", _big, nullable=False),
    )
    compatibility = op.create_table(
        "schema_compatibility", sa.Column("oldest_revision", _text, primary_key=True)
    )
    op.bulk_insert(compatibility, [{"oldest_revision": "0002"}])
