"""The keys of the configuration and the variables that name them."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from claude_agent_http.settings.model import Settings

__all__ = [
    "CONFIG_VARIABLE",
    "CONTAINER_VARIABLE",
    "PREFIX",
    "SECTIONS",
    "fields",
    "is_list",
    "is_secret",
    "is_structure",
    "variables",
]

PREFIX = "CLAUDE_AGENT_"
CONFIG_VARIABLE = "CLAUDE_AGENT_CONFIG"
CONTAINER_VARIABLE = "CLAUDE_AGENT_CONTAINER"

_MORE_NAMES: Mapping[str, tuple[str, ...]] = {
    "api.max_sessions": ("CLAUDE_AGENT_MAX_SESSIONS",),
    "api.max_sessions_per_user": ("CLAUDE_AGENT_MAX_SESSIONS_PER_USER",),
    "api.max_concurrent_requests": ("CLAUDE_AGENT_MAX_CONCURRENT",),
    "api.memory_limit_mb": ("CLAUDE_AGENT_MEMORY_LIMIT_MB",),
    "api.idle_session_timeout": ("CLAUDE_AGENT_IDLE_SESSION_TIMEOUT",),
    "api.drain_seconds": ("CLAUDE_AGENT_DRAIN_SECONDS",),
    "api.prestart": ("CLAUDE_AGENT_PRESTART",),
    "api.replicas": ("CLAUDE_AGENT_REPLICAS",),
    "auth.mode": ("CLAUDE_AGENT_AUTH",),
    "auth.insecure": ("CLAUDE_AGENT_INSECURE",),
    "defaults.cli_path": ("CLAUDE_AGENT_CLI_PATH",),
    "defaults.model": ("ANTHROPIC_MODEL",),
    "isolation.mode": ("CLAUDE_AGENT_ISOLATION",),
    "model.api_key": ("ANTHROPIC_API_KEY",),
    "model.auth_token": ("ANTHROPIC_AUTH_TOKEN",),
    "model.base_url": ("ANTHROPIC_BASE_URL",),
}


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


SECTIONS: Mapping[str, type[BaseModel]] = _sections()


def fields() -> dict[str, FieldInfo]:
    """Every key, dotted (`api.port`), in the order of the model."""
    known: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            known |= {f"{name}.{key}": inner for key, inner in SECTIONS[name].model_fields.items()}
        else:
            known[name] = field
    return known


def variables(key: str) -> tuple[str, ...]:
    """The names of a key, the best known first; a secret's `<NAME>_FILE` are not among them."""
    return (*_MORE_NAMES.get(key, ()), PREFIX + key.replace(".", "_").upper())


def is_secret(key: str) -> bool:
    return _mentions(fields()[key].annotation, SecretStr)


def is_list(key: str) -> bool:
    """Whether a variable gives it as JSON or separated by commas."""
    return isinstance(fields()[key].default, tuple) and not is_structure(key)


def is_structure(key: str) -> bool:
    """Whether a variable gives it as JSON only; it may hold secrets anywhere."""
    return key in {"mcp_servers", "plugins", "gateway.prices"}


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(inner, wanted) for inner in get_args(annotation))
