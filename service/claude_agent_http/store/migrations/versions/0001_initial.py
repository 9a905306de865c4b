"""Sessions, events and transcripts.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_big = sa.BigInteger()


def upgrade() -> None:
    _sessions()
    _events()
    _transcript_entries()


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _text, primary_key=True),
        sa.Column("user_id", _text, nullable=False),
        sa.Column("subdir", _text),
        sa.Column("cwd", _text, nullable=False),
        sa.Column("created_at", _big, nullable=False),
        sa.Column("last_active_at", _big, nullable=False),
        sa.Column("creation_digest", _text, nullable=False),
        sa.Column("idempotency_key", _text),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("message_count", _big, nullable=False),
        sa.Column("last_seq", _big, nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
    )
    op.create_index("ix_sessions_user_created", "sessions", ["user_id", "created_at", "id"])
    op.create_index("ix_sessions_created", "sessions", ["created_at", "id"])
    op.create_index("ix_sessions_status", "sessions", ["status"])
    running = sa.text("phase = 'running'")
    op.create_index("ix_sessions_running", "sessions", ["id"], sqlite_where=running, postgresql_where=running)
    keyed = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "uq_sessions_idempotency_key",
        "sessions",
        ["user_id", "idempotency_key"],
        unique=True,
        sqlite_where=keyed,
        postgresql_where=keyed,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("session_id", _text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", _big, primary_key=True),
        sa.Column("id", _text, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("turn_id", _text),
        sa.Column("processed_at", _big, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.UniqueConstraint("session_id", "id", name="uq_events_id"),
    )


def _transcript_entries() -> None:
    op.create_table(
        "transcript_entries",
        sa.Column("position", _big.with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("project_key", _text, nullable=False),
        sa.Column("session_id", _text, nullable=False),
        sa.Column("subpath", _text, nullable=False),
        sa.Column("uuid", _text),
        sa.Column("stored_at", _big, nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.UniqueConstraint(
            "project_key", "session_id", "subpath", "uuid", name="uq_transcript_entries_uuid"
        ),
    )
    op.create_index(
        "ix_transcript_entries_key",
        "transcript_entries",
        ["session_id", "project_key", "subpath", "position"],
    )
