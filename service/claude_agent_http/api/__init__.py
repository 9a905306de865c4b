"""HTTP: routes, request and response models, SSE, and errors as problem details."""

from claude_agent_http.api.application import create_api
from claude_agent_http.api.audit import AuditParts
from claude_agent_http.api.health import PROBES
from claude_agent_http.api.health_check import HealthCheck
from claude_agent_http.api.info import Health, IsolationInfo, ModelMode, ServiceInfo

__all__ = [
    "PROBES",
    "AuditParts",
    "Health",
    "HealthCheck",
    "IsolationInfo",
    "ModelMode",
    "ServiceInfo",
    "create_api",
]
