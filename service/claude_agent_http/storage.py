"""The store that the settings choose."""

from claude_agent_http import store
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.ports import Store
from claude_agent_http.settings import SessionSettings
from claude_agent_http.system import Mounts, SystemClock, mounts, network_mount

__all__ = ["check_disk", "configured_store", "database_url", "direct_database_url"]


def configured_store(session: SessionSettings) -> Store:
    """Not open yet. Raises StorageError for what cannot be a database's address, or place."""
    check_disk(session)
    match session.storage:
        case "memory":
            return store.memory_store(SystemClock())
        case "sqlite":
            return store.sqlite_store(session.sqlite_path, SystemClock())
        case "postgresql":
            direct_url = direct_database_url(session)
            return store.postgres_store(database_url(session), SystemClock(), direct_url=direct_url)


def check_disk(session: SessionSettings, known: Mounts = mounts) -> None:
    """Raises StorageError for an SQLite file on a network file system."""
    if session.storage != "sqlite" or (mount := network_mount(session.sqlite_path, known)) is None:
        return
    raise StorageError(
        f"SQLite database {session.sqlite_path}: {mount.point} is a network file system ({mount.type}), on "
        "whose locks and shared memory SQLite cannot rely; choose a path on a local disk with "
        "session.sqlite_path, or set session.storage to postgresql"
    )


def database_url(session: SessionSettings) -> str:
    """Of SQLite or PostgreSQL; holds the password."""
    if session.storage == "sqlite":
        return f"sqlite:///{session.sqlite_path}"
    return _postgres_url(session, session.pg_host, session.pg_port)


def direct_database_url(session: SessionSettings) -> str | None:
    """Of the PostgreSQL server itself, where the settings name it beside `database_url`, which then is that
    of a connection pooler; else None."""
    if session.storage == "sqlite" or (session.pg_direct_host is None and session.pg_direct_port is None):
        return None
    host, port = session.pg_direct_host or session.pg_host, session.pg_direct_port or session.pg_port
    return _postgres_url(session, host, port)


def _postgres_url(session: SessionSettings, host: str, port: int) -> str:
    root = {"sslrootcert": str(session.pg_sslrootcert)} if session.pg_sslrootcert else {}
    return store.postgres_url(
        host=host,
        port=port,
        database=session.pg_database,
        username=session.pg_user,
        password=session.pg_password.get_secret_value() if session.pg_password else None,
        sslmode=session.pg_sslmode,
        **root,
    )
