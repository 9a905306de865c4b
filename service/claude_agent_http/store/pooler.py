"""What is different where a connection pooler such as PgBouncer stands in front of the server.

In transaction mode each transaction may run on another of its server connections. Whatever belongs to a
connection is lost there: named prepared statements, LISTEN, session-level locks, SET without LOCAL. Of
startup parameters it takes application_name and few others.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from claude_agent_http.domain.errors import StorageError

__all__ = ["NAMELESS_STATEMENTS", "refuse_pooler"]

# asyncpg then sends each statement's text along with its values, without a name, in one message. The cache
# of SQLAlchemy stays on: it remembers the types, which else cost a round trip before each execution.
NAMELESS_STATEMENTS: dict[str, Any] = {"statement_cache_size": 0}


_UNKNOWN = (
    "a connection pooler answers there; name the server itself by session.pg_direct_host and pg_direct_port "
    "(the same address again for a pooler in session mode)"
)


async def refuse_pooler(connection: AsyncConnection, name: str) -> None:
    """Raises StorageError about the database `name` unless the server itself took the connection: a pooler
    gives its clients a process id of its own making, in every mode."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != driver.get_server_pid():
        raise StorageError(f"{name}: {_UNKNOWN}")
