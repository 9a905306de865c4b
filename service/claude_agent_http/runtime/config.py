"""What an operator may choose about the runtimes: one frozen value, the same for every session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Isolation", "RuntimeConfig"]

_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "HEADERS")
_ASKING = (None, "default", "acceptEdits", "plan")
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the jails of all sessions have in common; see `launcher.parameters.Jail`. `filters`: with
    seccomp."""

    reads: Sequence[Path] = ()
    ports: Sequence[int] = (443,)
    most_tasks: int = 512
    memory_bytes: int = 2 * 1024**3
    file_bytes: int = 1024**3
    most_files: int = 1024
    most_watches: int = 16384
    filters: bool = True


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """`state_dir` holds a private folder a session, none of it needed after a restart. Times are seconds.

    `system_prompt` None is an empty prompt, as the SDK has it; `cli_path` None the CLI that the SDK bundles.
    `setting_sources` names whose settings and CLAUDE.md files are read ("user", "project", "local"): none by
    default, because a workspace may be written by anyone and its settings can run hooks.
    `mcp_servers` and `plugins` are as in the SDK: name -> server, and {"type": "local", "path"}.
    How the model is reached is told at each start by `ports.ModelAccess`;
    `extra_env` is added last and wins over everything else in the CLI's environment.
    `model_silence_seconds` (10 to 1800) bounds the wait for an answer's next byte, `model_timeout_seconds`
    the wait for its first, `model_retries` counts the attempts after a failed one.
    `isolation` None runs every agent with all the rights of the service.
    """

    state_dir: Path
    model: str | None = None
    system_prompt: str | None = None
    permission_mode: str | None = None
    allowed_tools: Sequence[str] = ()
    disallowed_tools: Sequence[str] = ()
    setting_sources: Sequence[str] = ()
    max_turns: int | None = None
    max_budget_usd: float | None = None
    mcp_servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: Sequence[Mapping[str, str]] = ()
    cli_path: Path | None = None
    extra_env: Mapping[str, str] = field(default_factory=dict)
    isolation: Isolation | None = None
    start_timeout: float = 60.0
    close_grace: float = 2.0
    gate_timeout: float = 60.0
    model_retries: int = 4
    model_timeout_seconds: float = 120.0
    model_silence_seconds: float = 90.0

    @property
    def asks(self) -> bool:
        """Whether the CLI, left to itself, asks about tools that no rule allows or denies."""
        return self.permission_mode in _ASKING

    def secrets(self, model_env: Mapping[str, str]) -> frozenset[str]:
        """Values that must never stand in a message: what the environment calls a key, token or secret, the
        passwords of URLs, and whatever an MCP server gets in its environment or headers."""
        named = {**model_env, **self.extra_env}
        secret = [value for name, value in named.items() if any(word in name.upper() for word in _SECRET)]
        secret += filter(None, map(_password, named.values()))
        for server in self.mcp_servers.values():
            secret += [*server.get("env", {}).values(), *server.get("headers", {}).values()]
        return frozenset(value for value in secret if len(value) >= _SHORTEST_SECRET)


def _password(value: str) -> str | None:
    try:
        return urlsplit(value).password
    except ValueError:
        return None
