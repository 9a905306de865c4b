"""The service's own relay to the model API: an agent gets a token, the credential stays here."""

from claude_agent_http.gateway.access import GatewayAccess
from claude_agent_http.gateway.fixed import FixedModelAccess
from claude_agent_http.gateway.gateway import Gateway, GatewayTimes
from claude_agent_http.gateway.prices import CLAUDE_PRICES, Price, Prices
from claude_agent_http.gateway.rules import Rules, why_refused
from claude_agent_http.gateway.secret_file import SecretFile
from claude_agent_http.gateway.upstream import Upstream, UpstreamSource

__all__ = [
    "CLAUDE_PRICES",
    "FixedModelAccess",
    "Gateway",
    "GatewayAccess",
    "GatewayTimes",
    "Price",
    "Prices",
    "Rules",
    "SecretFile",
    "Upstream",
    "UpstreamSource",
    "why_refused",
]
