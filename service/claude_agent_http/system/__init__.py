"""The machine behind the small ports: time, ids, memory."""

from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import RandomIds
from claude_agent_http.system.memory import MemorySampler

__all__ = ["MemorySampler", "RandomIds", "SystemClock"]
