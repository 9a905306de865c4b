"""Where a request comes from, as far as addresses tell."""

from starlette.types import Scope

from claude_agent_http.domain.network import network_of

__all__ = ["client_address", "client_network"]


def client_address(scope: Scope) -> str:
    """Of the client, or of the proxy before it where that is not trusted; empty where nobody knows."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def client_network(scope: Scope) -> str:
    return network_of(client_address(scope))
