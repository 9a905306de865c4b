"""The schema as the code sees it. Migrations make it; a test holds the two together."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.audit import AuditResult, CallerKind
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionPhase, SessionStatus
from claude_agent_http.domain.usage import AMOUNTS
from claude_agent_http.store.columns import ExactText, Json, Name, UtcMicroseconds

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("id", ExactText, primary_key=True),
    Column("user_id", ExactText, nullable=False),
    Column("subdir", ExactText),
    Column("cwd", ExactText, nullable=False),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("last_active_at", UtcMicroseconds, nullable=False),
    Column("creation_digest", ExactText, nullable=False),
    Column("idempotency_key", ExactText),
    Column("status", Name(SessionStatus), nullable=False),
    Column("phase", Name(SessionPhase), nullable=False),
    Column("message_count", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("lease_holder", ExactText),
    Column("lease_epoch", BigInteger, nullable=False, server_default="0"),
    Column("lease_released", BigInteger, nullable=False, server_default="0"),
)
# Newest-first lists read these backwards, so both keys go the same way.
Index("ix_sessions_user_created", sessions.c.user_id, sessions.c.created_at, sessions.c.id)
Index("ix_sessions_created", sessions.c.created_at, sessions.c.id)
Index("ix_sessions_status", sessions.c.status)
_running = sessions.c.phase == SessionPhase.RUNNING
Index("ix_sessions_running", sessions.c.id, sqlite_where=_running, postgresql_where=_running)
_keyed = sessions.c.idempotency_key.is_not(None)
Index(
    "uq_sessions_idempotency_key",
    sessions.c.user_id,
    sessions.c.idempotency_key,
    unique=True,
    sqlite_where=_keyed,
    postgresql_where=_keyed,
)

_held = sessions.c.lease_holder.is_not(None)
Index("ix_sessions_held", sessions.c.lease_holder, sqlite_where=_held, postgresql_where=_held)

# Leases that were taken by force from a replica that lived then: it may still run the session's agent.
seized_leases = Table(
    "seized_leases",
    metadata,
    Column("session_id", ExactText, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("replica_id", ExactText, nullable=False),
)
Index("ix_seized_leases_replica", seized_leases.c.replica_id)

# Service processes that live, or lived until `expires_at` by the database's clock.
replicas = Table(
    "replicas",
    metadata,
    Column("id", ExactText, primary_key=True),
    Column("name", ExactText, nullable=False),
    Column("version", ExactText, nullable=False),
    Column("started_at", UtcMicroseconds, nullable=False),
    Column("expires_at", UtcMicroseconds, nullable=False),
)

# One row: the oldest schema revision whose code can work with this database.
compatibility = Table(
    "schema_compatibility", metadata, Column("oldest_revision", ExactText, primary_key=True)
)

events = Table(
    "events",
    metadata,
    Column("session_id", ExactText, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("id", ExactText, nullable=False),
    Column("type", Name(EventType, EventType.told), nullable=False),
    Column("turn_id", ExactText),
    Column("processed_at", UtcMicroseconds, nullable=False),
    # JSON, encoded before it waits for its batch: later changes by the caller do not reach it.
    Column("data", Text, nullable=False),
    UniqueConstraint("session_id", "id", name="uq_events_id"),
)

# Bytes of events and transcripts, as they were when the session's row had these values.
closed_sizes = Table(
    "closed_sizes",
    metadata,
    Column("session_id", ExactText, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("last_active_at", UtcMicroseconds, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)


def _amounts() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in AMOUNTS]


usage_days = Table(
    "usage_days",
    metadata,
    Column("user_id", ExactText, primary_key=True),
    # As YYYY-MM-DD, UTC.
    Column("day", ExactText, primary_key=True),
    Column("model", ExactText, primary_key=True),
    *_amounts(),
)
Index("ix_usage_days_day", usage_days.c.day)

usage_sessions = Table(
    "usage_sessions",
    metadata,
    Column("session_id", ExactText, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("model", ExactText, primary_key=True),
    *_amounts(),
)

# The last batch of every process that writes usage, so that a repeat of it is known.
usage_writers = Table(
    "usage_writers",
    metadata,
    Column("writer", ExactText, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("day", ExactText, nullable=False),
)

# No foreign key: the CLI writes its transcript under ids of its own before and after a session's row.
transcript_entries = Table(
    "transcript_entries",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("project_key", ExactText, nullable=False),
    Column("session_id", ExactText, nullable=False),
    Column("subpath", ExactText, nullable=False),
    Column("uuid", ExactText),
    Column("stored_at", UtcMicroseconds, nullable=False),
    Column("entry", Text, nullable=False),
    # An entry without a uuid is NULL here, which is never a repeat.
    UniqueConstraint("project_key", "session_id", "subpath", "uuid", name="uq_transcript_entries_uuid"),
)
Index(
    "ix_transcript_entries_key",
    transcript_entries.c.session_id,
    transcript_entries.c.project_key,
    transcript_entries.c.subpath,
    transcript_entries.c.position,
)

# Of a key only the digest is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", ExactText, primary_key=True),
    Column("name", ExactText, nullable=False),
    Column("digest", ExactText, nullable=False),
    Column("user_id", ExactText),
    Column("acts_for_any", Boolean, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("expires_at", UtcMicroseconds),
    Column("last_used_at", UtcMicroseconds),
    Column("revoked_at", UtcMicroseconds),
)
Index("ix_api_keys_created", api_keys.c.created_at, api_keys.c.id)
_owned = api_keys.c.user_id.is_not(None)
Index("ix_api_keys_user", api_keys.c.user_id, sqlite_where=_owned, postgresql_where=_owned)

# No foreign key: what was done to a session or a user is told when they are gone, too.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", ExactText, primary_key=True),
    Column("at", UtcMicroseconds, nullable=False),
    Column("caller", Name(CallerKind), nullable=False),
    Column("credential", ExactText),
    Column("user_id", ExactText),
    Column("method", ExactText, nullable=False),
    Column("route", ExactText),
    Column("session_id", ExactText),
    Column("key_id", ExactText),
    Column("status", Integer, nullable=False),
    Column("result", Name(AuditResult), nullable=False),
    Column("request_id", ExactText, nullable=False),
    Column("client", ExactText, nullable=False),
    Column("approval_id", ExactText),
    Column("decision", Name(Decision)),
)
Index("ix_audit_at", audit_entries.c.at)
Index("ix_audit_user", audit_entries.c.user_id, audit_entries.c.id)
Index("ix_audit_session", audit_entries.c.session_id, audit_entries.c.id)
