"""`serve`: say what will run and where, then run it."""

import ipaddress
from pathlib import Path

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from claude_agent_http import __version__
from claude_agent_http.commands.terminal import EXIT_CONFIGURATION, complain, load, stdout, warn
from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.settings import (
    Given,
    MetricsSettings,
    SessionSettings,
    Settings,
    covered_url,
    insecurity,
    refusal,
)

__all__ = ["banner", "run_serve"]

_DEMO = "DEMO MODEL: answers are scripted, no real model is asked"
_REAL = (
    "for a real one set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN and ANTHROPIC_BASE_URL) and start again"
)
_CALLERS = {
    "none": "anyone on this machine",
    "api-keys": "who shows an API key",
    "oidc": "who shows a token of the issuer, or an API key",
}


def run_serve(*, host: str | None, port: str | None, config_file: Path | None) -> int:
    chosen = {"api.host": ("--host", host), "api.port": ("--port", port)}
    options = [Given(key, value, name) for key, (name, value) in chosen.items() if value is not None]
    loaded = load(config_file, options)
    if loaded is None:
        return EXIT_CONFIGURATION
    if (reason := refusal(loaded.settings)) is not None:
        complain(reason)
        return EXIT_CONFIGURATION
    _announce(loaded.settings)
    for warning in loaded.warnings:
        warn(warning)
    # Imported here so that a bad configuration is told, and a good one shown, before the slow part.
    from claude_agent_http.app import serve  # noqa: PLC0415

    try:
        return serve(loaded)
    except ClaudeAgentError as error:
        complain(str(error))
        return 1


def banner(settings: Settings) -> dict[str, str]:
    """What a starting service says of itself, label to text; no secrets."""
    api, session = settings.api, settings.session
    url = _url(api.host, api.port)
    storage = {
        "memory": "memory (lost at the end)",
        "sqlite": f"sqlite, {session.sqlite_path}",
        "postgresql": _postgres(session),
    }
    facts = {
        "url": url or f"a free port of {api.host}",
        "docs": f"{url}/docs" if url else "/docs",
        "model": f"{_DEMO}; {_REAL}" if settings.uses_demo_model else _model(settings),
        "storage": storage[session.storage],
        "users": str(settings.user.base_dir),
        "callers": _CALLERS[settings.auth.mode] if (warning := insecurity(settings)) is None else warning,
    }
    return facts | _metrics(settings.metrics)


def _announce(settings: Settings) -> None:
    console = stdout()
    facts = banner(settings)
    if not console.is_terminal:
        console.print(Text(f"claude-agent-http {__version__}"))
        for label, text in facts.items():
            console.print(Text(f"{label}: {text}"))
        return
    if settings.uses_demo_model:
        facts["model"] = "the demo model (see below)"
    table = Table.grid(padding=(0, 2))
    for label, text in facts.items():
        table.add_row(Text(label, "dim"), Text(text, "bold" if label == "url" else ""))
    console.print(Panel(table, title=f"claude-agent-http {__version__}", expand=False))
    if settings.uses_demo_model:
        console.print(Panel(Text(f"{_DEMO}\n{_REAL}"), style="bold black on yellow", expand=False))


def _url(host: str, port: int) -> str:
    """Empty for a port that only the running service will know."""
    if port == 0:
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://localhost:{port}"
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _metrics(metrics: MetricsSettings) -> dict[str, str]:
    if not metrics.enabled:
        return {}
    url = _url(metrics.host, metrics.port)
    return {"metrics": f"{url}/metrics" if url else f"a free port of {metrics.host}"}


def _postgres(session: SessionSettings) -> str:
    shown = f"postgresql, {session.pg_host}:{session.pg_port}/{session.pg_database}"
    host, port = session.pg_direct_host, session.pg_direct_port
    if host is None and port is None:
        return shown
    return f"{shown} (server at {host or session.pg_host}:{port or session.pg_port})"


def _model(settings: Settings) -> str:
    if not settings.has_model_access:
        return "none (every turn will fail)"
    name = settings.defaults.model or "the CLI's default"
    base = settings.model.base_url
    return f"{name} at {covered_url(base)}" if base else name
