"""The machine behind the small ports: time, ids, memory, containers, and servers beside the main one."""

from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.container import in_container
from claude_agent_http.system.ids import RandomIds
from claude_agent_http.system.inner_server import InnerServer, InnerServerError
from claude_agent_http.system.listeners import CannotListenError, listeners
from claude_agent_http.system.loopback import LoopbackServer
from claude_agent_http.system.memory import MemorySampler
from claude_agent_http.system.mounts import Mount, Mounts, mounts, network_mount

__all__ = [
    "CannotListenError",
    "InnerServer",
    "InnerServerError",
    "LoopbackServer",
    "MemorySampler",
    "Mount",
    "Mounts",
    "RandomIds",
    "SystemClock",
    "in_container",
    "listeners",
    "mounts",
    "network_mount",
]
