"""What is used of models: by user and day, by session, and the last batch of every writer.

Code of 0004 knows none of it and works beside this: what it lets agents use is not counted.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_AMOUNTS = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cost_micro_usd",
)


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("user_id", _text, primary_key=True),
        sa.Column("day", _text, primary_key=True),
        sa.Column("model", _text, primary_key=True),
        *_amounts(),
    )
    op.create_index("ix_usage_days_day", "usage_days", ["day"])
    op.create_table(
        "usage_sessions",
        sa.Column("session_id", _text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("model", _text, primary_key=True),
        *_amounts(),
    )
    op.create_table(
        "usage_writers",
        sa.Column("writer", _text, primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("day", _text, nullable=False),
    )


def _amounts() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in _AMOUNTS]
