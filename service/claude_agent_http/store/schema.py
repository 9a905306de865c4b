"""Bring a database to the schema of this code, forwards only.

Migrations expand before they contract: a revision leaves the code of the release before it working, so that
old and new replicas run side by side during a rolling upgrade, and says so in `schema_compatibility`.
"""

from sqlalchemy import Connection, inspect, select, text

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store.tables import compatibility

HEAD = "0008"
"""The newest schema revision that this code knows. Revisions sort by age."""


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """(revision before, revision now), the first None for an empty database.

    Runs in the caller's transaction. Raises StorageError when a newer version has made the database and does
    not say that this one may use it.
    """
    before = usable_revision(connection)
    if before is not None and before >= HEAD:
        return before, before
    # Imported here: Alembic would cost every service 8 MB for what one start in a release needs.
    from claude_agent_http.store.migration import migrate  # noqa: PLC0415

    migrate(connection, before)
    return before, HEAD


def usable_revision(connection: Connection) -> str | None:
    """The schema revision of the database; None when it is empty. Raises StorageError as `upgrade` does."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found > HEAD and not _is_compatible(connection):
        raise StorageError(
            f"the database has schema revision {found}, and this version of claude-agent-http knows none "
            f"after {HEAD}; run the newer version that made it, or restore a backup"
        )
    return found


def _is_compatible(connection: Connection) -> bool:
    if not inspect(connection).has_table(compatibility.name):
        return False
    oldest = connection.execute(select(compatibility.c.oldest_revision)).scalar()
    return oldest is not None and oldest <= HEAD
