"""Changing the schema of a Postgres that replicas work with: one process at a time, and nobody waits long.

Who waits for a table's lock makes everybody wait who comes after. So a change waits a moment only, then lets
the others go first, and tries again.
"""

import asyncio
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.store.database import Work

__all__ = ["change_schema"]

T = TypeVar("T")

# "claude-a" in ASCII: the same in every version, and in no other program by chance. Who looks at the schema
# takes it for a transaction; versions before leases held it for their whole life.
_SCHEMA_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=int.from_bytes(b"claude-a"))
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0

_TABLE_LOCK_SECONDS = 1.0
"""How long a statement of the change, and so every replica, may wait for a table's lock."""
_LIMIT_TABLE_LOCKS = text(f"SET LOCAL lock_timeout = {round(_TABLE_LOCK_SECONDS * 1000)}")
_FIRST_TRUCE_SECONDS = 1.0
_LONGEST_TRUCE_SECONDS = 5.0
_LOCK_NOT_AVAILABLE = "55P03"


async def change_schema(connection: AsyncConnection, work: Work[T], name: str, seconds: float) -> T:
    """Run the work in the connection's transaction, again from its start where a table was not to be had.

    It waits `seconds` for another process, and so long again for tables. Raises ServiceLockedError about the
    database `name` for the former, StorageError for the latter.
    """
    await _lock(connection, name, seconds)
    await connection.execute(_LIMIT_TABLE_LOCKS)
    deadline = asyncio.get_running_loop().time() + seconds
    truce = _FIRST_TRUCE_SECONDS
    while True:
        try:
            # A savepoint's end gives its table locks back, and not the one on the schema.
            async with connection.begin_nested():
                return await connection.run_sync(work)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            if asyncio.get_running_loop().time() + truce > deadline:
                raise StorageError(_tables_in_use(name, seconds)) from error
        await asyncio.sleep(truce)
        truce = min(truce * 2, _LONGEST_TRUCE_SECONDS)


async def _lock(connection: AsyncConnection, name: str, seconds: float) -> None:
    """Until the transaction ends; so it needs no session, which a pooler would not give."""
    deadline = asyncio.get_running_loop().time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while not (await connection.execute(_SCHEMA_LOCK)).scalar_one():
        if asyncio.get_running_loop().time() + pause > deadline:
            raise ServiceLockedError(
                f"{name}: a service of an older version, which shares it with nobody, still uses "
                "it, or another process changes its schema; stop that service, or wait for that process"
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _tables_in_use(name: str, seconds: float) -> str:
    return (
        f"{name}: its schema has to change, but a transaction that stays open (a backup, a report; see "
        f"pg_stat_activity) keeps a table in use; end it or wait for it, and try again (tried {seconds:g} s)"
    )
