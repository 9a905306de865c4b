"""uvicorn, with a drain and with limits for those who mean it ill."""

from claude_agent_http.server.draining import DrainingServer
from claude_agent_http.server.held import held_protocol
from claude_agent_http.server.holders import Holders
from claude_agent_http.server.limits import ConnectionLimits, part_of_descriptors

__all__ = ["ConnectionLimits", "DrainingServer", "Holders", "held_protocol", "part_of_descriptors"]
