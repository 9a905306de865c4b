"""Leases that were taken by force, until their holders have given them up.

Code of 0003 gives them up in `sessions.lease_released` alone, and does not wait for them itself.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "seized_leases",
        sa.Column("session_id", _text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", sa.BigInteger(), primary_key=True),
        sa.Column("replica_id", _text, nullable=False),
    )
    op.create_index("ix_seized_leases_replica", "seized_leases", ["replica_id"])
