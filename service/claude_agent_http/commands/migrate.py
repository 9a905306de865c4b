"""`migrate`: bring the configured database to this version's schema."""

import asyncio
from pathlib import Path

from rich.text import Text

from claude_agent_http.commands.storage import migrate
from claude_agent_http.commands.terminal import EXIT_CONFIGURATION, complain, load, stdout, warn
from claude_agent_http.domain.errors import StorageError

__all__ = ["run_migrate"]


def run_migrate(*, config_file: Path | None) -> int:
    loaded = load(config_file)
    if loaded is None:
        return EXIT_CONFIGURATION
    for warning in loaded.warnings:
        warn(warning)
    storage = loaded.settings.session.storage
    if storage == "memory":
        stdout().print(Text("memory storage: nothing to migrate"))
        return 0
    try:
        before, now = asyncio.run(migrate(loaded.settings.session))
    except StorageError as error:
        complain(str(error))
        return 1
    what = "already at" if before == now else f"migrated from {before or 'empty'} to"
    stdout().print(Text(f"{storage}: {what} {now}"))
    return 0
