"""The configured database, for commands that look at it without serving."""

from claude_agent_http import store
from claude_agent_http.settings import SessionSettings
from claude_agent_http.storage import check_disk, database_url, direct_database_url

__all__ = ["look", "migrate"]

_LOOK_SECONDS = 2.0


async def look(session: SessionSettings) -> tuple[str | None, str]:
    """(schema revision of the database, newest one this version knows); nothing is changed.

    The first is None for a database that is empty. Raises StorageError, also for a newer revision that this
    version cannot use.
    """
    found = await store.current_revision(
        database_url(session), direct_url=direct_database_url(session), start_seconds=_LOOK_SECONDS
    )
    return found, store.NEWEST_REVISION


async def migrate(session: SessionSettings) -> tuple[str | None, str]:
    """(revision before, revision now). Raises StorageError, and ServiceLockedError while a service has the
    database for itself."""
    check_disk(session)
    return await store.migrate(database_url(session), direct_url=direct_database_url(session))
