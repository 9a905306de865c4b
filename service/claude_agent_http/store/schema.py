"""Bring a database to the schema of this code, forwards only."""

from sqlalchemy import Connection, inspect, text

HEAD = "0001"
"""The newest schema revision that this code knows."""


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """(revision before, revision now), the first None for an empty database.

    Runs in the caller's transaction. Raises StorageError when a newer version has made the database.
    """
    before = revision(connection)
    if before != HEAD:
        # Imported here: Alembic would cost every service 8 MB for what one start in a release needs.
        from claude_agent_http.store.migration import migrate  # noqa: PLC0415

        migrate(connection, before)
    return before, HEAD


def revision(connection: Connection) -> str | None:
    """The schema revision of the database; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
