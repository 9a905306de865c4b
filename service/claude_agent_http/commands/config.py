"""`config`: every setting, its value and where it came from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from claude_agent_http.commands.terminal import EXIT_CONFIGURATION, load, stdout, warn
from claude_agent_http.settings import Loaded, report

__all__ = ["run_config"]


def run_config(*, as_json: bool, config_file: Path | None) -> int:
    loaded = load(config_file)
    if loaded is None:
        return EXIT_CONFIGURATION
    if as_json:
        stdout().file.write(_json(loaded) + "\n")
        return 0
    _print_table(loaded)
    for warning in loaded.warnings:
        warn(warning)
    return 0


def _json(loaded: Loaded) -> str:
    content = {
        "config_file": str(loaded.config_file) if loaded.config_file else None,
        "settings": [asdict(row) for row in report(loaded)],
        "warnings": list(loaded.warnings),
    }
    return json.dumps(content, indent=2)


def _print_table(loaded: Loaded) -> None:
    console = stdout()
    console.print(Text(f"configuration file: {loaded.config_file or 'none'}"))
    rows = [(row.key, _text(row.value), row.source) for row in report(loaded)]
    if not console.is_terminal:
        # Written past rich, which would turn tabs into spaces.
        console.file.writelines("\t".join(row) + "\n" for row in rows)
        return
    table = Table("setting", "value", "source")
    for key, value, source in rows:
        table.add_row(Text(key), Text(value), Text(source, "dim" if source == "default" else ""))
    console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value.replace("\n", "\\n") if isinstance(value, str) else json.dumps(value)
