"""The files of one start: they tell launcher and CLI what must not stand on a command line. Blocking I/O."""

import os
from collections.abc import Mapping
from pathlib import Path

import claude_agent_sdk

from claude_agent_http.launcher.parameters import Launch, dump
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import ensure_trampoline, write_private
from claude_agent_http.runtime.isolation import jail_of, readable_path
from claude_agent_http.runtime.options import Start, cli_environment, cli_settings

__all__ = ["bundled_cli", "write_start"]


def write_start(
    config: RuntimeConfig,
    start: Start,
    heartbeat: Path,
    environ: Mapping[str, str],
) -> None:
    folders = start.folders
    cli = config.cli_path or bundled_cli()
    environment = cli_environment(config, folders, environ, start.model_env, root=os.geteuid() == 0)
    jail = jail_of(config, start, cli, environment)
    if jail is not None:
        environment["PATH"] = readable_path(environment["PATH"], jail.reads)
    ensure_trampoline(config.state_dir)
    launch = Launch(
        cli=str(cli),
        heartbeat=str(heartbeat),
        service=os.getpid(),
        pid_file=str(folders.pid_file),
        environment=environment,
        jail=jail,
    )
    write_private(folders.launch_file, dump(launch))
    write_private(folders.settings_file, cli_settings())
    if config.system_prompt is not None:
        write_private(folders.prompt_file, config.system_prompt)
    if config.mcp_servers:
        write_private(folders.mcp_file, {"mcpServers": dict(config.mcp_servers)})


def bundled_cli() -> Path:
    """The CLI inside the SDK's wheel; it may be missing on a platform without one."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
