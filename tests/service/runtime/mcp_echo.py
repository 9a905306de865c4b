"""An MCP server with one tool, which says its argument and an environment variable back. By stdio when run;
`app` serves it by HTTP to who sends the right header."""

import os
from typing import Any

from mcp.server.mcpserver import MCPServer
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HEADERS = {"Authorization": "Bearer s3cr3t"}


def make() -> MCPServer:
    server = MCPServer("echo")

    @server.tool()
    def say(text: str) -> str:
        return f"{text} {os.environ.get('ECHO_SECRET', '')}"

    return server


def app(kind: str) -> ASGIApp:
    inner = make().sse_app() if kind == "sse" else make().streamable_http_app()
    expected = HEADERS["Authorization"].encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != expected:
            await PlainTextResponse("who are you?", 403)(scope, receive, send)
        else:
            await inner(scope, receive, send)

    return guarded


def configured(kind: str, base: str, headers: dict[str, str] = HEADERS) -> dict[str, Any]:
    return {"type": kind, "url": base + ("/sse" if kind == "sse" else "/mcp"), "headers": headers}


if __name__ == "__main__":
    make().run()
