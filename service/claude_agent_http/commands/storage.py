"""The configured database, for commands that look at it without serving."""

from contextlib import AbstractAsyncContextManager

from claude_agent_http import store
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.ports import ApiKeys, AuditLog
from claude_agent_http.settings import SessionSettings
from claude_agent_http.storage import check_disk, database_url, direct_database_url

__all__ = ["look", "migrate", "open_audit", "open_keys"]

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


def open_keys(session: SessionSettings, *, prepare: bool = True) -> AbstractAsyncContextManager[ApiKeys]:
    """The API keys of the configured database, also while a service uses it. `prepare`: the database is
    brought to this version's schema first; else nothing is changed.

    Raises StorageError, then and when entered.
    """
    if session.storage == "memory":
        raise StorageError(
            "session.storage is memory, where keys end with the service that made them; set it to sqlite or "
            "postgresql, put keys into files (auth.keys_dir), or ask the running service (POST "
            "/api/v1/admin/keys)"
        )
    check_disk(session)
    return store.api_keys(database_url(session), direct_url=direct_database_url(session), prepare=prepare)


def open_audit(session: SessionSettings) -> AbstractAsyncContextManager[AuditLog]:
    """The audit of the configured database, also while a service uses it; opening it changes nothing.

    Raises StorageError, then and when entered.
    """
    if session.storage == "memory":
        raise StorageError(
            "session.storage is memory, which only the running service knows: ask that (GET "
            "/api/v1/admin/audit)"
        )
    check_disk(session)
    return store.audit_log(database_url(session), direct_url=direct_database_url(session))
