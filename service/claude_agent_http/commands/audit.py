"""`audit`: read who did what, in the configured database."""

import asyncio
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from claude_agent_http.commands.storage import open_audit
from claude_agent_http.commands.terminal import EXIT_CONFIGURATION, complain, load, print_table, write_json
from claude_agent_http.domain.audit import AuditEntry, AuditFilter, AuditResult
from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.settings import SessionSettings

__all__ = ["run_audit"]

_PAGE = 1_000
_COLUMNS = ("at", "result", "status", "caller", "credential", "user", "request", "session", "key", "client")
_STYLES = {
    AuditResult.DONE: "green",
    AuditResult.DENIED: "bold yellow",
    AuditResult.REFUSED: "yellow",
    AuditResult.FAILED: "bold red",
}


def run_audit(*, wanted: AuditFilter, limit: int, as_json: bool, config_file: Path | None) -> int:
    """The newest `limit` entries that fit, newest first."""
    loaded = load(config_file)
    if loaded is None:
        return EXIT_CONFIGURATION
    try:
        found = asyncio.run(_found(loaded.settings.session, wanted, limit))
    except ClaudeAgentError as error:
        complain(str(error))
        return 1
    if as_json:
        write_json([_plain(entry) for entry in found])
    else:
        print_table(_COLUMNS, map(_row, found))
    return 0


async def _found(session: SessionSettings, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    async with open_audit(session) as audit:
        while len(found) < limit:
            asked = min(_PAGE, limit - len(found))
            page = await audit.page(wanted, limit=asked, before=found[-1].id if found else None)
            found += page
            if len(page) < asked:
                break
    return found


def _row(entry: AuditEntry) -> tuple[Text, ...]:
    result = Text(entry.result.value, _STYLES[entry.result])
    texts = (
        str(entry.status),
        entry.caller.value,
        entry.credential,
        entry.user_id,
        f"{entry.method} {entry.route or '-'}{f' ({entry.decision})' if entry.decision else ''}",
        entry.session_id,
        entry.key_id,
        entry.client,
    )
    at = Text(entry.at.strftime("%Y-%m-%d %H:%M:%S"))
    return (at, result, *(Text(_printable(text)) for text in texts))


def _printable(text: str | None) -> str:
    """Whoever asked chose some of it, and must not move the reader's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text) if text else "-"


def _plain(entry: AuditEntry) -> dict[str, Any]:
    """As `GET /api/v1/admin/audit` shows it."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)} | {"result": entry.result}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }
