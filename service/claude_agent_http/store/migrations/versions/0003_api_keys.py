"""API keys. Code of 0002 does without them.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_big = sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _text, primary_key=True),
        sa.Column("name", _text, nullable=False),
        sa.Column("digest", _text, nullable=False),
        sa.Column("user_id", _text),
        sa.Column("acts_for_any", sa.Boolean(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", _big, nullable=False),
        sa.Column("expires_at", _big),
        sa.Column("last_used_at", _big),
        sa.Column("revoked_at", _big),
    )
    op.create_index("ix_api_keys_created", "api_keys", ["created_at", "id"])
    owned = sa.text("user_id IS NOT NULL")
    op.create_index("ix_api_keys_user", "api_keys", ["user_id"], sqlite_where=owned, postgresql_where=owned)
