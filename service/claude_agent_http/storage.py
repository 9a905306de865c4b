"""The store that the settings choose."""

from claude_agent_http import store
from claude_agent_http.ports import Store
from claude_agent_http.settings import SessionSettings
from claude_agent_http.system import SystemClock

__all__ = ["configured_store", "database_url"]


def configured_store(session: SessionSettings) -> Store:
    """Not open yet. Raises StorageError for what cannot be a database's address."""
    match session.storage:
        case "memory":
            return store.memory_store(SystemClock())
        case "sqlite":
            return store.sqlite_store(session.sqlite_path, SystemClock())
        case "postgresql":
            return store.postgres_store(database_url(session), SystemClock())


def database_url(session: SessionSettings) -> str:
    """Of SQLite or PostgreSQL; holds the password."""
    if session.storage == "sqlite":
        return f"sqlite:///{session.sqlite_path}"
    return store.postgres_url(
        host=session.pg_host,
        port=session.pg_port,
        database=session.pg_database,
        username=session.pg_user,
        password=session.pg_password.get_secret_value() if session.pg_password else None,
    )
