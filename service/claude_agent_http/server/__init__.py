"""uvicorn, with a drain and with limits for those who mean it ill."""

from claude_agent_http.server.draining import DrainingServer
from claude_agent_http.server.limits import ConnectionLimits

__all__ = ["ConnectionLimits", "DrainingServer"]
