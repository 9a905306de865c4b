"""The stores: constructors of everything that implements `ports.Store`."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sqlalchemy import URL

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.ports import ApiKeys, AuditLog, Clock, Store
from claude_agent_http.store import schema, sql
from claude_agent_http.store.database import START_SECONDS, Database
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.store.sqlite import SqliteDatabase, Synchronous
from claude_agent_http.store.wakeups import NoWakeups

__all__ = [
    "NEWEST_REVISION",
    "api_keys",
    "audit_log",
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
    return sql.SqlStore(SqliteDatabase(path, synchronous=synchronous), clock, NoWakeups())


def postgres_store(url: str, clock: Clock, *, direct_url: str | None = None, pool_size: int = 10) -> Store:
    """`url` as `postgresql://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/path`; three
    more connections than `pool_size` are kept. `direct_url` leads to the server itself where `url` leads to
    a connection pooler. Raises StorageError for a bad URL, without repeating it."""
    # Imported here, as in `_postgres`.
    from claude_agent_http.store.notify import PostgresWakeups  # noqa: PLC0415
    from claude_agent_http.store.postgres_address import PostgresAddress  # noqa: PLC0415

    wakeups = PostgresWakeups(PostgresAddress.parse(direct_url or url))
    return sql.SqlStore(_postgres(url, direct_url, pool_size=pool_size), clock, wakeups)


def postgres_url(
    *, host: str, database: str, username: str, password: str | None = None, port: int = 5432, **query: str
) -> str:
    """A URL of parts that need no quoting; `query` may hold sslmode, sslrootcert, application_name.

    `host` may be the folder of a UNIX socket.
    """
    name, folder = ("", {"host": host}) if host.startswith("/") else (host, {})
    url = URL.create("postgresql", username, password, name, port, database, folder | query)
    return url.render_as_string(hide_password=False)


async def migrate(url: str, *, direct_url: str | None = None) -> tuple[str | None, str]:
    """Bring a database (`sqlite:///path` or `postgresql://...`) to this version's schema.

    (revision before, revision now), the first None for an empty database. The revision is a newer version's
    where that says that this one may use it. Raises ServiceLockedError while a service has the database for
    itself, StorageError when a newer version made it for itself alone.
    """
    return await sql.migrate(_database(url, direct_url))


async def current_revision(
    url: str, *, direct_url: str | None = None, start_seconds: float = START_SECONDS
) -> str | None:
    """The schema revision of a database, None for an empty one; also while a service uses it.

    `start_seconds`: how long to try while the server starts. Raises StorageError, also for a newer revision
    that this version cannot use.
    """
    return await sql.current_revision(_database(url, direct_url, start_seconds=start_seconds))


def api_keys(
    url: str, *, direct_url: str | None = None, prepare: bool = True
) -> AbstractAsyncContextManager[ApiKeys]:
    """The API keys of a database, for who is no service; one may use it meanwhile. `prepare`: it is brought
    to this version's schema first, as by `migrate`; else nothing is changed. Entering raises StorageError."""
    return sql.api_keys(lambda: _database(url, direct_url), prepare=prepare)


def audit_log(url: str, *, direct_url: str | None = None) -> AbstractAsyncContextManager[AuditLog]:
    """The audit of a database, for who is no service; one may use it meanwhile. Nothing is changed. Entering
    raises StorageError."""
    return sql.audit_log(lambda: _database(url, direct_url))


def _database(url: str, direct_url: str | None, *, start_seconds: float = START_SECONDS) -> Database:
    if not url.startswith(_SQLITE):
        return _postgres(url, direct_url, start_seconds=start_seconds)
    if not (path := url.removeprefix(_SQLITE)):
        raise StorageError("database URL: write sqlite:///relative/path or sqlite:////absolute/path")
    return SqliteDatabase(Path(path))


def _postgres(
    url: str, direct_url: str | None, *, pool_size: int = 10, start_seconds: float = START_SECONDS
) -> Database:
    # Imported here: the driver and SQLAlchemy's asyncio part would cost a SQLite service 6 MB.
    from claude_agent_http.store.postgres import PostgresDatabase  # noqa: PLC0415
    from claude_agent_http.store.postgres_address import PostgresAddress  # noqa: PLC0415

    direct = PostgresAddress.parse(direct_url) if direct_url else None
    return PostgresDatabase(
        PostgresAddress.parse(url), direct, pool_size=pool_size, start_seconds=start_seconds
    )
