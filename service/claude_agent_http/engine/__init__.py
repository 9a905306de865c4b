"""What happens: create, send, run a turn, interrupt, hibernate, drain. Knows no HTTP, no SQL, no SDK."""

from claude_agent_http.engine.answer import Answer, answer
from claude_agent_http.engine.engine import Engine, EngineStats
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.removal import Erased
from claude_agent_http.engine.sessions import NewSession
from claude_agent_http.engine.telemetry import NullTelemetry
from claude_agent_http.engine.turn import Turn

__all__ = [
    "Answer",
    "Engine",
    "EngineStats",
    "Erased",
    "Limits",
    "NewSession",
    "NullTelemetry",
    "Turn",
    "answer",
]
