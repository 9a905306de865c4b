"""What happens: create, send, run a turn, interrupt, hibernate, drain. Knows no HTTP, no SQL, no SDK."""

from claude_agent_http.engine.answer import Answer, answer
from claude_agent_http.engine.audit_trail import AuditTrail
from claude_agent_http.engine.budgets import Budgets
from claude_agent_http.engine.engine import Engine, EngineStats
from claude_agent_http.engine.erasure import Erased
from claude_agent_http.engine.key_ring import IssuedKey, KeyRing
from claude_agent_http.engine.ledger import Ledger
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.quota import DiskQuota
from claude_agent_http.engine.rates import Rate, TurnRates
from claude_agent_http.engine.sessions import NewSession
from claude_agent_http.engine.telemetry import NullTelemetry
from claude_agent_http.engine.turn import Turn

__all__ = [
    "Answer",
    "AuditTrail",
    "Budgets",
    "DiskQuota",
    "Engine",
    "EngineStats",
    "Erased",
    "IssuedKey",
    "KeyRing",
    "Ledger",
    "Limits",
    "NewSession",
    "NullTelemetry",
    "Rate",
    "Turn",
    "TurnRates",
    "answer",
]
