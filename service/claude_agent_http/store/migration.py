"""Alembic, for the starts that need it."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from claude_agent_http.domain.errors import StorageError

__all__ = ["migrate", "newest_script"]

_SCRIPTS = "claude_agent_http.store:migrations"


def migrate(connection: Connection, before: str | None) -> None:
    """Run every migration after the revision `before`, in the caller's transaction.

    Raises StorageError for a revision that is none of ours.
    """
    _check_known(before)
    command.upgrade(_config(connection), "head")


def newest_script() -> str | None:
    """The revision of the newest file in migrations/versions."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _check_known(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(
            f"the database has schema revision {found}, which no version of claude-agent-http made; "
            "choose another database, or restore a backup"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    return config
