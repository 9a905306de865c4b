"""The stores: constructors of everything that implements `ports.Store`."""

from pathlib import Path

from sqlalchemy import URL

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.ports import Clock, Store
from claude_agent_http.store import schema, sql
from claude_agent_http.store.database import START_SECONDS, Database
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.store.sqlite import SqliteDatabase, Synchronous

__all__ = [
    "NEWEST_REVISION",
    "current_revision",
    "memory_store",
    "migrate",
    "postgres_store",
    "postgres_url",
    "sqlite_store",
]

NEWEST_REVISION = schema.HEAD
"""Of the schema, as far as this version knows."""
_SQLITE = "sqlite:///"


def memory_store(clock: Clock) -> Store:
    """For tests and trials: everything is gone at the end of the process."""
    return MemoryStore(clock)


def sqlite_store(path: Path, clock: Clock, *, synchronous: Synchronous = "FULL") -> Store:
    """`synchronous`: FULL keeps what was acknowledged also over a power cut, NORMAL over a killed process."""
    return sql.SqlStore(SqliteDatabase(path, synchronous=synchronous), clock)


def postgres_store(url: str, clock: Clock, *, pool_size: int = 10) -> Store:
    """`url` as `postgresql://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/path`; one
    more connection than `pool_size` is kept. Raises StorageError for a bad URL, without repeating it."""
    return sql.SqlStore(_postgres(url, pool_size=pool_size), clock)


def postgres_url(
    *, host: str, database: str, username: str, password: str | None = None, port: int = 5432, **query: str
) -> str:
    """A URL of parts that need no quoting; `query` may hold sslmode, sslrootcert, application_name.

    `host` may be the folder of a UNIX socket.
    """
    name, folder = ("", {"host": host}) if host.startswith("/") else (host, {})
    url = URL.create("postgresql", username, password, name, port, database, folder | query)
    return url.render_as_string(hide_password=False)


async def migrate(url: str) -> tuple[str | None, str]:
    """Bring a database (`sqlite:///path` or `postgresql://...`) to this version's schema.

    (revision before, revision now), the first None for an empty database. Raises ServiceLockedError while a
    service uses it, StorageError when a newer version made it.
    """
    return await sql.migrate(_database(url))


async def current_revision(url: str, *, start_seconds: float = START_SECONDS) -> str | None:
    """The schema revision of a database, None for an empty one; also while a service uses it.

    `start_seconds`: how long to try while the server starts.
    """
    return await sql.current_revision(_database(url, start_seconds=start_seconds))


def _database(url: str, *, start_seconds: float = START_SECONDS) -> Database:
    if not url.startswith(_SQLITE):
        return _postgres(url, start_seconds=start_seconds)
    if not (path := url.removeprefix(_SQLITE)):
        raise StorageError("database URL: write sqlite:///relative/path or sqlite:////absolute/path")
    return SqliteDatabase(Path(path))


def _postgres(url: str, *, pool_size: int = 10, start_seconds: float = START_SECONDS) -> Database:
    # Imported here: the driver and SQLAlchemy's asyncio part would cost a SQLite service 6 MB.
    from claude_agent_http.store.postgres import PostgresDatabase  # noqa: PLC0415
    from claude_agent_http.store.postgres_address import PostgresAddress  # noqa: PLC0415

    return PostgresDatabase(PostgresAddress.parse(url), pool_size=pool_size, start_seconds=start_seconds)
