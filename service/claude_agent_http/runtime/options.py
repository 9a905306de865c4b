"""From configuration and session to the SDK's options and the CLI's environment: pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from claude_agent_sdk import CanUseTool, ClaudeAgentOptions, HookMatcher, SdkPluginConfig, SessionStore
from claude_agent_sdk.types import PermissionMode, SettingSource, SystemPromptFile

from claude_agent_http.domain.session import Session
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import SessionFolders, trampoline

__all__ = ["CERTIFICATES", "PROXIES", "Start", "cli_environment", "cli_options", "cli_settings"]

CERTIFICATES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
)
"""Variables that name what a CLI, or a tool of it, trusts."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
"""Variables with the URL of a proxy."""
_NO_PROXY = ("NO_PROXY", "no_proxy")
_LOOPBACK = "127.0.0.1"
_INHERITED = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "TZ", "TERM", "SHELL"),
        *CERTIFICATES,
        *PROXIES,
        *_NO_PROXY,
    }
)
# There only where the CLI can ask, and its questions have answers that an approval cannot give.
_UNANSWERABLE = ("AskUserQuestion",)
# The SDK keeps a line as a whole, and an agent can write one; what it may hold besides is in `lines.py`.
_MAX_LINE_BYTES = 16 * 1024 * 1024

Hook = Callable[[Any, str | None, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """What one start of a CLI adds to the configuration."""

    session: Session
    folders: SessionFolders
    model_env: Mapping[str, str]
    resumes: bool
    store: SessionStore
    on_tool: Hook
    on_stderr: Callable[[str], None]
    on_ask: CanUseTool | None = None


def cli_options(config: RuntimeConfig, start: Start) -> ClaudeAgentOptions:
    """Whatever is secret or long goes by 0600 file: every process of the host can read an argv."""
    session, folders = start.session, start.folders
    on_ask = start.on_ask if config.asks else None
    return ClaudeAgentOptions(
        cwd=session.cwd,
        cli_path=trampoline(config.state_dir),
        env={"CLAUDE_AGENT_LAUNCH": str(folders.launch_file), "CLAUDE_CONFIG_DIR": str(folders.config)},
        session_id=None if start.resumes else session.id,
        # Not `resume`: with a store the SDK would copy the service's own credentials into a temporary folder.
        extra_args={"resume": session.id} if start.resumes else {},
        session_store=start.store,
        session_store_flush="eager",
        model=config.model,
        system_prompt=_prompt(config, folders),
        permission_mode=cast("PermissionMode | None", config.permission_mode),
        allowed_tools=list(config.allowed_tools),
        disallowed_tools=[*config.disallowed_tools, *(() if on_ask is None else _UNANSWERABLE)],
        can_use_tool=on_ask,
        setting_sources=cast("list[SettingSource]", list(config.setting_sources)),
        settings=str(folders.settings_file),
        max_turns=config.max_turns,
        max_budget_usd=config.max_budget_usd,
        mcp_servers=folders.mcp_file if config.mcp_servers else {},
        strict_mcp_config=True,
        plugins=cast("list[SdkPluginConfig]", [dict(plugin) for plugin in config.plugins]),
        include_partial_messages=True,
        max_buffer_size=_MAX_LINE_BYTES,
        hooks={"PreToolUse": [_gate_matcher(config, start.on_tool)]},
        stderr=start.on_stderr,
    )


def cli_environment(
    config: RuntimeConfig,
    folders: SessionFolders,
    host: Mapping[str, str],
    model_env: Mapping[str, str],
    *,
    root: bool,
) -> dict[str, str]:
    """Everything the CLI is given, and nothing else of `host`, the service's own environment."""
    inherited = {name: value for name, value in host.items() if name in _INHERITED or name.startswith("LC_")}
    defaults = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SHELL": "/bin/sh", "TERM": "dumb"}
    private = {
        "HOME": str(folders.home),
        "CLAUDE_CONFIG_DIR": str(folders.config),
        "TMPDIR": str(folders.tmp),
        "CLAUDE_CODE_TMPDIR": str(folders.tmp),
    }
    sandbox = {"IS_SANDBOX": "1"} if root and config.permission_mode == "bypassPermissions" else {}
    ours = {**private, **_behaviour(config), **sandbox}
    return {**defaults, **inherited, **_past_the_proxy(inherited), **ours, **model_env, **config.extra_env}


def cli_settings() -> dict[str, Any]:
    # Without this WebFetch asks the vendor's host about every address before it fetches it.
    return {"skipWebFetchPreflight": True}


def _past_the_proxy(inherited: Mapping[str, str]) -> dict[str, str]:
    """The gateway is on this machine, and no proxy that leads out of it would find it."""
    if not any(name in inherited for name in (*PROXIES, *_NO_PROXY)):
        return {}
    return {name: ",".join(filter(None, (inherited.get(name), _LOOPBACK))) for name in _NO_PROXY}


def _prompt(config: RuntimeConfig, folders: SessionFolders) -> SystemPromptFile | None:
    return None if config.system_prompt is None else {"type": "file", "path": str(folders.prompt_file)}


def _behaviour(config: RuntimeConfig) -> dict[str, str]:
    return {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        # A background task would begin turns of its own, outside of every turn that the log knows.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_DISABLE_CRON": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(config.model_retries),
        "API_TIMEOUT_MS": _milliseconds(config.model_timeout_seconds),
        "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": _milliseconds(config.model_silence_seconds),
    }


def _gate_matcher(config: RuntimeConfig, hook: Hook) -> HookMatcher:
    # "block": a tool must not run when the gate fails or does not answer.
    return HookMatcher(matcher=None, hooks=[hook], timeout=config.gate_timeout, on_failure="block")


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
