"""The database: reachable, and at which schema."""

import asyncio

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.commands.storage import look
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.settings import Settings

__all__ = ["check_database"]

_SECONDS = 15


def check_database(settings: Settings) -> Finding:
    session = settings.session
    if session.storage == "memory":
        return warn(
            "database",
            "memory: every session is lost at the end",
            "set session.storage to sqlite or postgresql",
        )
    if session.storage == "sqlite" and not session.sqlite_path.exists():
        return ok("database", f"{session.sqlite_path} will be made at the first start")
    try:
        revision, head = asyncio.run(_within_limit(settings))
    except StorageError as error:
        return fail("database", str(error), _advice(settings))
    if revision is not None and revision >= head:  # a newer one that this version may use
        return ok("database", f"{session.storage} answers; its schema is {revision}")
    state = f"schema {revision}" if revision else "no schema yet"
    return ok("database", f"{session.storage} answers; {state}, the next start makes it {head}")


async def _within_limit(settings: Settings) -> tuple[str | None, str]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await look(settings.session)
    except TimeoutError as error:
        raise StorageError(f"the database did not answer within {_SECONDS} s") from error


def _advice(settings: Settings) -> str:
    if settings.session.storage == "sqlite":
        return "check the file named by session.sqlite_path and its folder, or restore a backup"
    return (
        "check that the server runs (`pg_isready`), and CLAUDE_AGENT_SESSION_PG_HOST, _PG_PORT, "
        "_PG_DATABASE, _PG_USER and _PG_PASSWORD"
    )
