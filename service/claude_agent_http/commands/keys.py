"""`keys`: give API keys out, list them, take one back; in the configured database."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.text import Text

from claude_agent_http.commands.storage import open_audit, open_keys
from claude_agent_http.commands.terminal import (
    EXIT_CONFIGURATION,
    complain,
    load,
    note,
    print_table,
    stdout,
    write_json,
)
from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.audit import AuditEntry, CallerKind
from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine import KeyRing
from claude_agent_http.ports import AuditLog
from claude_agent_http.settings import Settings
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["run_create", "run_list", "run_revoke"]

_PAGE = 1_000
_COLUMNS = ("id", "name", "for", "admin", "created", "expires", "last used", "state")
_CREATED, _REVOKED = 201, 204


@dataclass(frozen=True, slots=True)
class _Audit:
    """`log` is None where nothing is recorded."""

    log: AuditLog | None

    async def record(self, name: str, key: ApiKey, status: int) -> None:
        """What the command of that name did, with the status of the route that does the same."""
        entry = AuditEntry(
            id=RandomIds().audit_id(),
            at=SystemClock().now(),
            caller=CallerKind.CLI,
            credential=f"uid:{os.getuid()}",
            user_id=key.scope.user_id,
            method="CLI",
            route=f"keys {name}",
            session_id=None,
            key_id=key.id,
            status=status,
            request_id="",
            client=socket.gethostname(),
        )
        if self.log is not None:
            await self.log.add([entry])


_Work = Callable[[KeyRing, _Audit], Awaitable[None]]


def run_create(
    *,
    name: str,
    user: str | None,
    act_as: bool,
    admin: bool,
    days: int | None,
    as_json: bool,
    config_file: Path | None,
) -> int:
    async def create(keys: KeyRing, audit: _Audit) -> None:
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        issued = await keys.create(name, KeyScope(user, act_as, admin), expires_at)
        # Before it is shown: a key that the audit does not know is one that nobody has.
        await audit.record("create", issued.key, _CREATED)
        if as_json:
            write_json(_plain(issued.key) | {"key": issued.text})
            return
        stdout().file.write(f"{issued.text}\n")
        note(f"key {issued.key.id} ({name}); it is shown only now. Send it as X-Api-Key, or as Bearer token")

    return _run(config_file, create, changes=True)


def run_list(*, as_json: bool, config_file: Path | None) -> int:
    async def show(keys: KeyRing, _: _Audit) -> None:
        found = await _all(keys)
        if as_json:
            write_json([_plain(key) for key in found])
        else:
            rows = [tuple(map(Text, _row(key))) for key in found]
            print_table(_COLUMNS, rows, whole="id", spare="created")

    return _run(config_file, show, changes=False)


def run_revoke(*, key_id: str, config_file: Path | None) -> int:
    async def revoke(keys: KeyRing, audit: _Audit) -> None:
        key = await keys.revoke(key_id.removeprefix("cah_").partition("_")[0])
        await audit.record("revoke", key, _REVOKED)
        note(f"key {key.id} ({key.name}) is revoked; a running service stops taking it within 3 s")

    return _run(config_file, revoke, changes=True)


def _run(config_file: Path | None, work: _Work, *, changes: bool) -> int:
    loaded = load(config_file)
    if loaded is None:
        return EXIT_CONFIGURATION
    try:
        asyncio.run(_with_keys(loaded.settings, work, changes))
    except ClaudeAgentError as error:
        complain(str(error))
        return 1
    return 0


async def _with_keys(settings: Settings, work: _Work, changes: bool) -> None:
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(open_keys(settings.session))
        is_audited = changes and settings.is_audited
        log = await stack.enter_async_context(open_audit(settings.session)) if is_audited else None
        await work(KeyRing(keys, SystemClock(), RandomIds()), _Audit(log))


async def _all(keys: KeyRing) -> list[ApiKey]:
    found: list[ApiKey] = []
    while page := await keys.page(limit=_PAGE, after=found[-1].id if found else None):
        found += page
    return found


def _row(key: ApiKey) -> tuple[str, ...]:
    scope = key.scope
    whose = scope.user_id or ("any user" if scope.acts_for_any else "-")
    times = (key.created_at, key.expires_at, key.last_used_at)
    state = "open" if key.fault(datetime.now(UTC)) is None else "revoked" if key.revoked_at else "expired"
    return (key.id, key.name, whose, "yes" if scope.is_admin else "-", *map(_time, times), state)


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def _plain(key: ApiKey) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in key.shown().items()
    }
