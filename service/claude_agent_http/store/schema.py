"""Bring a database to the schema of this code, forwards only."""

from typing import cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from claude_agent_http.domain.errors import StorageError

_SCRIPTS = "claude_agent_http.store:migrations"


def upgrade(connection: Connection) -> tuple[str | None, str]:
    """(revision before, revision now), the first None for an empty database.

    Runs in the caller's transaction. Raises StorageError when a newer version has made the database.
    """
    before, head = revision(connection), head_revision()
    if before != head:
        _check_known(before)
        command.upgrade(_config(connection), "head")
    return before, head


def revision(connection: Connection) -> str | None:
    """The schema revision of the database; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The newest schema revision that this code knows."""
    return cast("str", ScriptDirectory.from_config(_config()).get_current_head())


def _check_known(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(
            f"the database has schema revision {found}, which this version does not know; "
            "run the newer version of claude-agent-http that made it, or restore a backup"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    return config
