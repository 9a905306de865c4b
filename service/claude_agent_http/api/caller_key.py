"""Whom a limit of requests counts."""

from starlette.types import Scope

from claude_agent_http.api.client_address import client_network
from claude_agent_http.domain.caller import Caller

__all__ = ["caller_key"]


def caller_key(scope: Scope) -> tuple[str, str] | None:
    """None for who is not limited: who acts for any user is a program that many users ask. A user is one,
    however many keys; where nobody is asked who they are, an address is the caller."""
    caller: Caller | None = scope.get("state", {}).get("caller")
    if caller is None:
        return None
    if caller.user_id is not None:
        return "user", caller.user_id
    if caller.credential is None:
        return "address", client_network(scope)
    return None if caller.acts_for_any else ("credential", caller.credential)
