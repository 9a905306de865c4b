"""The files of one start: they tell launcher and CLI what must not stand on a command line. Blocking I/O."""

import os
from collections.abc import Mapping
from pathlib import Path

import claude_agent_sdk

from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import ensure_trampoline, write_private
from claude_agent_http.runtime.options import Start, cli_environment, cli_settings

__all__ = ["bundled_cli", "write_start"]


def write_start(config: RuntimeConfig, start: Start, heartbeat: Path, environ: Mapping[str, str]) -> None:
    folders = start.folders
    cli = config.cli_path or bundled_cli()
    environment = cli_environment(config, folders, environ, root=os.geteuid() == 0)
    ensure_trampoline(config.state_dir)
    write_private(folders.launch_file, _launch_text(cli, heartbeat, folders.pid_file, environment))
    write_private(folders.settings_file, cli_settings())
    if config.system_prompt is not None:
        write_private(folders.prompt_file, config.system_prompt)
    if config.mcp_servers:
        write_private(folders.mcp_file, {"mcpServers": dict(config.mcp_servers)})


def bundled_cli() -> Path:
    """The CLI inside the SDK's wheel; it may be missing on a platform without one."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


def _launch_text(cli: Path, heartbeat: Path, pid_file: Path, environment: Mapping[str, str]) -> str:
    """As the launcher reads it: plain, because a JSON parser would cost each start milliseconds."""
    pairs = (f"{name}={value}" for name, value in environment.items())
    texts = (str(cli), str(heartbeat), str(os.getpid()), str(pid_file), *pairs)
    return "".join(f"{text}\0" for text in texts)
