"""One frozen Settings, read once by a command: environment > config.yaml > default."""

from claude_agent_http.settings.check import hints
from claude_agent_http.settings.container import is_container
from claude_agent_http.settings.cover import COVER, covered_url
from claude_agent_http.settings.exposure import insecurity, refusal
from claude_agent_http.settings.given import Given
from claude_agent_http.settings.load import Loaded, load_settings
from claude_agent_http.settings.mcp import McpServer, PluginSettings, RemoteServer, StdioServer
from claude_agent_http.settings.model import (
    ApiSettings,
    AuditSettings,
    AuthSettings,
    DefaultsSettings,
    GatewaySettings,
    IsolationSettings,
    LimitsSettings,
    LoggingSettings,
    MetricsSettings,
    ModelSettings,
    RetentionSettings,
    SessionSettings,
    Settings,
    UserSettings,
)
from claude_agent_http.settings.problems import Problem, SettingsError
from claude_agent_http.settings.report import Row, report

__all__ = [
    "COVER",
    "ApiSettings",
    "AuditSettings",
    "AuthSettings",
    "DefaultsSettings",
    "GatewaySettings",
    "Given",
    "IsolationSettings",
    "LimitsSettings",
    "Loaded",
    "LoggingSettings",
    "McpServer",
    "MetricsSettings",
    "ModelSettings",
    "PluginSettings",
    "Problem",
    "RemoteServer",
    "RetentionSettings",
    "Row",
    "SessionSettings",
    "Settings",
    "SettingsError",
    "StdioServer",
    "UserSettings",
    "covered_url",
    "hints",
    "insecurity",
    "is_container",
    "load_settings",
    "refusal",
    "report",
]
