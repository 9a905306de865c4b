"""The audit. Code of 0005 does without it.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", _text, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("credential", _text),
        sa.Column("user_id", _text),
        sa.Column("method", _text, nullable=False),
        sa.Column("route", _text),
        sa.Column("session_id", _text),
        sa.Column("key_id", _text),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("request_id", _text, nullable=False),
        sa.Column("client", _text, nullable=False),
    )
    op.create_index("ix_audit_at", "audit_entries", ["at"])
    op.create_index("ix_audit_user", "audit_entries", ["user_id", "id"])
    op.create_index("ix_audit_session", "audit_entries", ["session_id", "id"])
