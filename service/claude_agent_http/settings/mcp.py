"""MCP servers and plugins, as `config.yaml` and JSON variables give them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from claude_agent_http.settings.values import FilePath, HttpUrl

__all__ = ["McpServer", "PluginSettings", "RemoteServer", "ServerName", "StdioServer"]


class StdioServer(BaseModel):
    """A server that is started as a process and spoken to by its stdin and stdout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["stdio"] = "stdio"
    command: Annotated[str, Field(min_length=1)]
    args: tuple[str, ...] = ()
    env: dict[str, SecretStr] = {}

    def plain(self) -> dict[str, Any]:
        """The shape of `.mcp.json` and the SDK, secrets in the clear."""
        return {"type": "stdio", "command": self.command, "args": list(self.args), "env": _clear(self.env)}


class RemoteServer(BaseModel):
    """A server that is reached by HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["sse", "http"]
    url: HttpUrl
    headers: dict[str, SecretStr] = {}

    def plain(self) -> dict[str, Any]:
        """The shape of `.mcp.json` and the SDK, secrets in the clear."""
        return {"type": self.type, "url": self.url, "headers": _clear(self.headers)}


class PluginSettings(BaseModel):
    """A plugin's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["local"] = "local"
    path: FilePath


def _clear(secrets: dict[str, SecretStr]) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def _with_type(value: Any) -> Any:
    # `.mcp.json` lets the type be missing for a command.
    if isinstance(value, dict) and "type" not in value and "command" in value:
        return {"type": "stdio", **value}
    return value


ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
McpServer = Annotated[
    Annotated[StdioServer | RemoteServer, Field(discriminator="type")], BeforeValidator(_with_type)
]
