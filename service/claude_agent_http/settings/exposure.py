"""Whether others than this machine reach a service that asks nobody who they are."""

from claude_agent_http.domain.address import is_loopback
from claude_agent_http.settings.model import Settings

__all__ = ["insecurity", "refusal"]


def refusal(settings: Settings) -> str | None:
    """Why the service must not be served like this, and both ways out."""
    if settings.auth.insecure or (found := _exposure(settings)) is None:
        return None
    return (
        f"auth.mode is none, and {found}: whoever reaches it could use every session and every file. Set "
        "CLAUDE_AGENT_AUTH=api-keys (or oidc) and make a key with `claude-agent-http keys create`, or, where "
        "nobody whom you do not trust can reach it, CLAUDE_AGENT_INSECURE=true. For yourself alone, "
        "CLAUDE_AGENT_API_HOST=127.0.0.1 does too"
    )


def insecurity(settings: Settings) -> str | None:
    """What is said at each start of a service that is served like this all the same."""
    if not settings.auth.insecure or (found := _exposure(settings)) is None:
        return None
    return (
        f"INSECURE: nobody is asked who they are, and {found}: whoever reaches it can use every session and "
        "every file; CLAUDE_AGENT_AUTH=api-keys closes it"
    )


def _exposure(settings: Settings) -> str | None:
    host = settings.api.host
    if settings.auth.mode != "none" or is_loopback(host):
        return None
    return f"api.host {host} lets others than this machine reach the service"
