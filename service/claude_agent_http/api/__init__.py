"""HTTP: routes, request and response models, SSE, and errors as problem details."""

from claude_agent_http.api.application import create_api
from claude_agent_http.api.health_check import HealthCheck
from claude_agent_http.api.info import Health, ModelMode, ServiceInfo

__all__ = ["Health", "HealthCheck", "ModelMode", "ServiceInfo", "create_api"]
