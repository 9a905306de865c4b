"""Set-ups that `doctor` looks at, and what it finds in them."""

import os
import socket
from pathlib import Path

from claude_agent_http.commands.doctor.command import examine
from claude_agent_http.commands.doctor.finding import Finding

__all__ = ["V", "found", "script", "sound"]

V = "CLAUDE_AGENT_"


def sound(home: Path, cli: Path) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        f"{V}API_PORT": str(port),
        f"{V}METRICS_PORT": "0",
        f"{V}CLI_PATH": str(cli),
        f"{V}MAX_SESSIONS": "1",
        f"{V}MEMORY_LIMIT_MB": "400",
    }


def script(folder: Path, body: str) -> Path:
    cli = folder / "stand-in"
    cli.write_text(f"#!/bin/sh\n{body}\n")
    cli.chmod(0o755)
    return cli


def found(env: dict[str, str], cwd: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(env, cwd)}
