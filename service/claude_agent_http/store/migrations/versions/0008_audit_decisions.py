"""What was decided about which approval, in the audit. Code of 0007 leaves it out.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("approval_id", _text))
    op.add_column("audit_entries", sa.Column("decision", sa.Text()))
