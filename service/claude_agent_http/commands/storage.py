"""The configured database, for commands that look at it without serving."""

from claude_agent_http import store
from claude_agent_http.settings import Settings
from claude_agent_http.store.database import Database
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.schema import HEAD
from claude_agent_http.store.sql import current_revision
from claude_agent_http.store.sqlite import SqliteDatabase

__all__ = ["look", "migrate"]

_LOOK_SECONDS = 2.0


async def look(settings: Settings) -> tuple[str | None, str]:
    """(schema revision of the database, newest one this version knows); nothing is changed.

    The first is None for a database that is empty. Raises StorageError.
    """
    return await current_revision(_database(settings)), HEAD


async def migrate(settings: Settings) -> tuple[str | None, str]:
    """(revision before, revision now). Raises StorageError, and ServiceLockedError while a service runs."""
    return await store.migrate(_url(settings))


def _database(settings: Settings) -> Database:
    # `store.current_revision` waits half a minute for a server that starts; a look does not.
    if settings.session.storage == "sqlite":
        return SqliteDatabase(settings.session.sqlite_path)
    return PostgresDatabase(PostgresAddress.parse(_url(settings)), start_seconds=_LOOK_SECONDS)


def _url(settings: Settings) -> str:
    session = settings.session
    if session.storage == "sqlite":
        return f"sqlite:///{session.sqlite_path}"
    return store.postgres_url(
        host=session.pg_host,
        port=session.pg_port,
        database=session.pg_database,
        username=session.pg_user,
        password=session.pg_password.get_secret_value() if session.pg_password else None,
    )
